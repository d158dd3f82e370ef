"""The report of one run, which answers the five questions with figures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from glassgrad.common.errors import InputError
from glassgrad.diagnosis.core.baseline import constant_scores
from glassgrad.explain.explain import explain_derivative, telling_weight
from glassgrad.report import lens_pictures, neuron_pictures, run_pictures
from glassgrad.report.derivative_pictures import worked_derivative
from glassgrad.report.page import Block, Details, Page, Section, Table, Text
from glassgrad.report.questions import section
from glassgrad.report.run_pictures import Rows
from glassgrad.report.words import number, percent, plural, seconds
from glassgrad.training.metrics import metrics_rows
from glassgrad.training.run import Run

REPORT = "report.html"


def run_page(run: Run) -> Page:
    """The report page of ``run``. The run needs ``dataset``, ``task`` and ``start``; lenses add more figures.

    Raises InputError where Matplotlib is not installed.
    """
    rows = run_pictures.unseen_rows(run)
    constant = _constant(run)
    sections = [
        _neurons(run, rows),
        _learning_rate(run, constant),
        _initialization(run),
        _loss(run, rows, constant),
        _chain_rule(run, rows),
    ]
    return Page(
        title=str(run.dataset.name),
        lead=_lead(run, constant),
        sections=sections,
        facts=_facts(run),
        kicker="Training report",
        footer=_footer(run),
    )


# --- the head of the page ------------------------------------------------------------------------------------


def _constant(run: Run) -> dict[str, float]:
    """Scores of the best constant prediction for the training rows."""
    schema, (_, targets) = run.task.parts.schema, run.task.parts.train
    return constant_scores(run.model.loss, schema, targets)


def _best_part(run: Run) -> str:
    """The part whose metrics lead the report: test rows if there are any, else validation or training rows."""
    return next(part for part in ("test", "validation", "train") if part in run.metrics)


def _lead(run: Run, constant: Mapping[str, float]) -> str:
    """Two sentences: the size and training of the network, and its score beside that of a constant guess."""
    layers = sum(row["parameters"] > 0 for row in run.model.summary())
    network = f"A network of {plural(layers, 'layer')} and {plural(run.model.parameters, 'weight')}"
    if run.status == "diverged":
        reason = run.message or "it met NaN or Inf"
        return f"{network}. Training diverged: {reason}. This report shows the last finite weights."
    part = _best_part(run)
    metrics = run.metrics[part]
    kind = "training" if part == "train" else "unseen"
    scored_rows = f"on {plural(run.rows.get(part, 0), f'{kind} row')}"
    duration = f" in {seconds(run.seconds_training)}" if run.seconds_training else ""
    training = f"was trained for {plural(run.epochs, 'epoch')}{duration}"
    if "accuracy" in metrics:
        guess = constant.get("accuracy", math.nan)
        return (
            f"{network} {training}. It is right {percent(metrics['accuracy'])} of the time {scored_rows}; always "
            f"predicting the most frequent class would be right {percent(guess)} of the time."
        )
    if run.model.schema.outputs > 1:
        return (
            f"{network} {training}. Its R², averaged over {run.model.schema.outputs} targets, is "
            f"{number(metrics['r2'])} {scored_rows}; always predicting the mean has an R² of about 0."
        )
    return (
        f"{network} {training}. Its predictions are typically off by {number(metrics['rmse'])} {scored_rows}; always "
        f"predicting the mean would be off by {number(constant.get('rmse'))}."
    )


def _facts(run: Run) -> list[tuple[str, Any, str]]:
    facts: list[tuple[str, Any, str]] = []
    for part in ("test", "train"):
        metrics = run.metrics.get(part)
        if metrics is None:
            continue
        rows = plural(run.rows.get(part, 0), "row")
        if "accuracy" in metrics:
            facts.append((f"{part} accuracy", percent(metrics["accuracy"]), rows))
        elif run.model.schema.outputs > 1:
            facts.append((f"{part} R²", number(metrics["r2"]), f"{rows}, mean over the targets"))
        else:
            facts.append((f"{part} error", number(metrics["rmse"]), f"{rows}, root mean square"))
    best = "" if run.best_epoch is None else f"weights from epoch {run.best_epoch}"
    facts.append(("epochs", run.epochs, best))
    if run.seconds_training:  # 0 if the run was read from its folder
        facts.append(
            ("training", seconds(run.seconds_training), f"{plural(run.steps, 'step')} on {run.backend}")
        )
    else:
        facts.append(("steps", run.steps, f"batches of up to {plural(run.settings.batch_size, 'row')}"))
    return facts


def _footer(run: Run) -> str:
    provenance = run.model.provenance
    return f"Written by {provenance.get('program', 'glassgrad')} from {provenance.get('source', run.dataset.name)}."


# --- the five sections ---------------------------------------------------------------------------------------


def _neurons(run: Run, rows: Rows) -> Section:
    blocks: list[Block] = []
    layers = sum(row["parameters"] > 0 for row in run.model.summary())
    sentence = f"The network has {plural(_neuron_count(run), 'neuron')} in {plural(layers, 'layer')}."
    hidden = neuron_pictures.working_layers(run.model.network)[:-1]
    if run.lenses is not None and len(run.lenses) and set(hidden) & set(run.lenses.layers("active")):
        active = [layer for layer in run.lenses.layers("active") if layer in hidden]
        shares = {layer: float(run.lenses["active", layer][-1]) for layer in active}
        least = min(shares, key=lambda layer: shares[layer])
        sentence += (
            f" After training, {least} is the least active layer: {percent(shares[least])} of its neurons are active "
            "for an average row."
        )
        blocks += lens_pictures.activity(run.lenses, hidden)
    blocks += neuron_pictures.first_layer(run)
    blocks += neuron_pictures.one_row(run, rows)
    table = [
        [row["name"], row["type"], " × ".join(map(str, row["shape"])), row["parameters"]]
        for row in run.model.summary()
    ]
    blocks.append(Details("All layers", [Table(["layer", "type", "values per row", "weights"], table)]))
    return section("neurons", sentence, blocks)


def _neuron_count(run: Run) -> int:
    return sum(math.prod(row["shape"]) for row in run.model.summary() if row["parameters"])


def _learning_rate(run: Run, constant: Mapping[str, float]) -> Section:
    if not run.history:
        return section("learning_rate", "No epoch was trained: the weights are the initial ones.", [])
    first, last = run.history[0], run.history[-1]
    sentence = (
        f"In {plural(run.epochs, 'epoch')} the training loss went from {number(first['train_loss'])} to "
        f"{number(last['train_loss'])}."
    )
    if run.best_epoch is not None and run.epochs > 1:
        sentence += (
            f" The validation loss was lowest in epoch {run.best_epoch}; the weights of that epoch were kept."
        )
    blocks = run_pictures.loss_curves(run, constant["loss"])
    if run.lenses is not None:
        blocks += lens_pictures.update_ratios(run.lenses)
    return section("learning_rate", sentence, blocks)


def _initialization(run: Run) -> Section:
    blocks: list[Block] = []
    sentence = "Comparing the weights before and after training shows how much each layer changed."
    if run.lenses is not None:
        blocks += lens_pictures.signal_sizes(run.lenses, neuron_pictures.working_layers(run.model.network))
    blocks += run_pictures.weight_spreads(run)
    return section("initialization", sentence, blocks)


def _loss(run: Run, rows: Rows, constant: Mapping[str, float]) -> Section:
    part = _best_part(run)
    reached = run.metrics[part].get("loss")
    sentence = (
        f"The best constant guess has a loss of {number(constant['loss'])}; the network reaches {number(reached)} on "
        f"the {run_pictures.PART_ROWS[part]}."
    )
    blocks = run_pictures.against_a_guess(run, constant["loss"])
    try:
        blocks += run_pictures.against_the_truth(run, rows)
    except InputError as error:  # even finite weights may produce NaN or Inf for some row
        sentence += f" ({error})"
    blocks.append(
        Details(
            "All metrics", [Table(header, lines) for header, lines in metrics_rows(run.metrics, run.rows)]
        )
    )
    return section("loss", sentence, blocks)


def _chain_rule(run: Run, rows: Rows) -> Section:
    derivative_blocks = _worked_derivative(run, rows)
    if run.lenses is None or not len(run.lenses) or not run.lenses.layers("gradient_norm"):
        return section(
            "chain_rule",
            "The run was trained without lenses, so its gradients were not recorded.",
            derivative_blocks,
        )
    layers = run.lenses.layers("gradient_norm")
    sizes = {layer: float(np.mean(run.lenses["gradient_norm", layer][:3])) for layer in layers}
    first, last = layers[0], layers[-1]
    sentence = (
        f"In the first steps the gradient norm is {number(sizes[first])} in {first} and {number(sizes[last])} in "
        f"{last}."
        if len(layers) > 1
        else f"In the first steps the gradient norm is {number(sizes[first])}."
    )
    return section("chain_rule", sentence, [*lens_pictures.gradient_sizes(run.lenses), *derivative_blocks])


def _worked_derivative(run: Run, rows: Rows) -> list[Block]:
    """The derivative of one row's loss by the first-layer weight with the largest gradient, factor by factor."""
    try:
        weight = telling_weight(run.model, rows.features, targets=rows.targets)
        if weight is None:
            return []
        explanation = explain_derivative(
            run.model, rows.features, weight=weight, targets=rows.targets, paths=3
        )
    except InputError:  # even finite weights may produce NaN or Inf for some row
        return []
    lead = (
        f"The first {rows.name.removesuffix('s')} has a loss of {number(explanation.loss)}. Of all weights of the "
        f"first layer, {weight} has the largest effect on it: its derivative is {number(explanation.derivative)}. "
        "That is a sum over paths, and each path is a product."
    )
    return [Text(lead, heading="One derivative, factor by factor"), *worked_derivative(explanation)]
