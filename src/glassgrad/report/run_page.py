"""The report of one run: the five questions, answered in pictures."""

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
    """The page of ``run``, which needs ``dataset``, ``task`` and ``start``; lenses add what they saw.

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
    """Scores of the best guess that looks at no inputs, on the training rows."""
    schema, (_, targets) = run.task.parts.schema, run.task.parts.train
    return constant_scores(run.model.loss, schema, targets)


def _best_part(run: Run) -> str:
    """The part whose metrics count most: rows that training did not see."""
    return next(part for part in ("test", "validation", "train") if part in run.metrics)


def _lead(run: Run, constant: Mapping[str, float]) -> str:
    """What the network learned, in two sentences."""
    layers = sum(row["parameters"] > 0 for row in run.model.summary())
    network = f"A network of {plural(layers, 'layer')} and {plural(run.model.parameters, 'weight')}"
    if run.status == "diverged":
        reason = run.message or "it met NaN or Inf"
        return f"{network}. Its training broke off: {reason}. What follows shows its last good weights."
    part = _best_part(run)
    found = run.metrics[part]
    seen = "trained on" if part == "train" else "not trained on"
    unseen = f"on {plural(run.rows.get(part, 0), 'row')} that it was {seen}"
    took = f" in {seconds(run.seconds_training)}" if run.seconds_training else ""
    trained = f"was trained for {plural(run.epochs, 'epoch')}{took}"
    if "accuracy" in found:
        guess = constant.get("accuracy", math.nan)
        return (
            f"{network} {trained}. It is right {percent(found['accuracy'])} of the time {unseen}; always naming the "
            f"most frequent class would be right {percent(guess)} of the time."
        )
    if run.model.schema.outputs > 1:
        return (
            f"{network} {trained}. Its R², averaged over {run.model.schema.outputs} targets, is "
            f"{number(found['r2'])} {unseen}; always guessing the mean has an R² of about 0."
        )
    return (
        f"{network} {trained}. Its predictions are typically off by {number(found['rmse'])} {unseen}; always "
        f"guessing the mean would be off by {number(constant.get('rmse'))}."
    )


def _facts(run: Run) -> list[tuple[str, Any, str]]:
    facts: list[tuple[str, Any, str]] = []
    for part in ("test", "train"):
        found = run.metrics.get(part)
        if found is None:
            continue
        rows = plural(run.rows.get(part, 0), "row")
        if "accuracy" in found:
            facts.append((f"{part} accuracy", percent(found["accuracy"]), rows))
        elif run.model.schema.outputs > 1:
            facts.append((f"{part} R²", number(found["r2"]), f"{rows}, mean of the targets"))
        else:
            facts.append((f"{part} error", number(found["rmse"]), f"{rows}, root mean square"))
    best = "" if run.best_epoch is None else f"weights of epoch {run.best_epoch}"
    facts.append(("epochs", run.epochs, best))
    if run.seconds_training:  # not known of a run that was read from its folder
        facts.append(
            ("training", seconds(run.seconds_training), f"{plural(run.steps, 'step')} on {run.backend}")
        )
    else:
        facts.append(("steps", run.steps, f"of up to {plural(run.settings.batch_size, 'row')}"))
    return facts


def _footer(run: Run) -> str:
    provenance = run.model.provenance
    return (
        f"Made by {provenance.get('program', 'glassgrad')} from {provenance.get('source', run.dataset.name)}."
    )


# --- the five sections ---------------------------------------------------------------------------------------


def _neurons(run: Run, rows: Rows) -> Section:
    blocks: list[Block] = []
    layers = sum(row["parameters"] > 0 for row in run.model.summary())
    sentence = f"The network has {plural(_neurons_of(run), 'neuron')} in {plural(layers, 'layer')}."
    hidden = neuron_pictures.working_layers(run.model.network)[:-1]
    if run.lenses is not None and len(run.lenses) and set(hidden) & set(run.lenses.layers("active")):
        active = [layer for layer in run.lenses.layers("active") if layer in hidden]
        shares = {layer: float(run.lenses["active", layer][-1]) for layer in active}
        least = min(shares, key=lambda layer: shares[layer])
        sentence += (
            f" At the end the quietest layer is {least}, where {percent(shares[least])} of the neurons are active "
            "for a row."
        )
        blocks += lens_pictures.activity(run.lenses, hidden)
    blocks += neuron_pictures.first_layer(run)
    blocks += neuron_pictures.one_row(run, rows)
    table = [
        [row["name"], row["type"], " × ".join(map(str, row["shape"])), row["parameters"]]
        for row in run.model.summary()
    ]
    blocks.append(Details("All layers", [Table(["layer", "type", "values for a row", "weights"], table)]))
    return section("neurons", sentence, blocks)


def _neurons_of(run: Run) -> int:
    return sum(math.prod(row["shape"]) for row in run.model.summary() if row["parameters"])


def _learning_rate(run: Run, constant: Mapping[str, float]) -> Section:
    if not run.history:
        return section("learning_rate", "There was no epoch: the weights are those of the start.", [])
    first, last = run.history[0], run.history[-1]
    sentence = (
        f"In {plural(run.epochs, 'epoch')} the training loss went from {number(first['train_loss'])} to "
        f"{number(last['train_loss'])}."
    )
    if run.best_epoch is not None and run.epochs > 1:
        sentence += f" The validation loss was lowest in epoch {run.best_epoch}, and its weights were kept."
    blocks = run_pictures.loss_curves(run, constant["loss"])
    if run.lenses is not None:
        blocks += lens_pictures.update_ratios(run.lenses)
    return section("learning_rate", sentence, blocks)


def _initialization(run: Run) -> Section:
    blocks: list[Block] = []
    sentence = "The weights at the start beside those at the end show how far each layer had to go."
    if run.lenses is not None:
        blocks += lens_pictures.signal_sizes(run.lenses, neuron_pictures.working_layers(run.model.network))
    blocks += run_pictures.weight_spreads(run)
    return section("initialization", sentence, blocks)


def _loss(run: Run, rows: Rows, constant: Mapping[str, float]) -> Section:
    part = _best_part(run)
    found = run.metrics[part].get("loss")
    sentence = (
        f"The best guess that looks at nothing has a loss of {number(constant['loss'])}; the network reaches "
        f"{number(found)} on the {part} part."
    )
    blocks = run_pictures.against_a_guess(run, constant["loss"])
    try:
        blocks += run_pictures.against_the_truth(run, rows)
    except InputError as error:  # the last good weights may still give no number for some row
        sentence += f" ({error})"
    blocks.append(
        Details(
            "All measures", [Table(header, lines) for header, lines in metrics_rows(run.metrics, run.rows)]
        )
    )
    return section("loss", sentence, blocks)


def _chain_rule(run: Run, rows: Rows) -> Section:
    worked = _worked_derivative(run, rows)
    if run.lenses is None or not len(run.lenses) or not run.lenses.layers("gradient_norm"):
        return section(
            "chain_rule", "No lenses were on, so the gradients of this run were not recorded.", worked
        )
    layers = run.lenses.layers("gradient_norm")
    sizes = {layer: float(np.mean(run.lenses["gradient_norm", layer][:3])) for layer in layers}
    first, last = layers[0], layers[-1]
    sentence = (
        f"In the first steps the gradient of {first} is {number(sizes[first])}, "
        f"and that of {last} {number(sizes[last])}."
        if len(layers) > 1
        else f"In the first steps the gradient is {number(sizes[first])}."
    )
    return section("chain_rule", sentence, [*lens_pictures.gradient_sizes(run.lenses), *worked])


def _worked_derivative(run: Run, rows: Rows) -> list[Block]:
    """The chain rule at work on one row: the weight of the first layer that its loss answers to most."""
    try:
        weight = telling_weight(run.model, rows.features, targets=rows.targets)
        if weight is None:
            return []
        found = explain_derivative(run.model, rows.features, weight=weight, targets=rows.targets, paths=3)
    except InputError:  # the last good weights may still give no number for some row
        return []
    lead = (
        f"The first {rows.part} row has a loss of {number(found.loss)}. Of all weights of the first layer it answers "
        f"most to {weight}, by {number(found.derivative)}: that is a sum over paths, each of them a product."
    )
    return [Text(lead, heading="One derivative, factor by factor"), *worked_derivative(found)]
