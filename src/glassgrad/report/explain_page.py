"""The page of one derivative: its chain rule, its checks, the values of every layer, and one optimizer step."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from glassgrad.explain.explanation import Explanation, Layer
from glassgrad.explain.step import StepView
from glassgrad.explain.wording import kink_of, meaning_of, shown_layers, step_note, tight
from glassgrad.report.derivative_pictures import worked_derivative
from glassgrad.report.figures import bars
from glassgrad.report.maps import image_grid
from glassgrad.report.neuron_pictures import MOST_BARS, images_of, is_image
from glassgrad.report.page import Block, Figure, Page, Section, Table, Text
from glassgrad.report.words import number, percent, plural


def explain_page(explanation: Explanation) -> Page:
    """The page that shows ``explanation``. Raises InputError where Matplotlib is not installed."""
    name = tight(explanation.name)
    sections = [_chain(explanation), _checks(explanation), _neurons(explanation)]
    if explanation.step is not None:
        sections.append(_step(explanation.step))
    outcome = (
        f"The target is {_value(explanation.target)}; the network predicts {_value(explanation.prediction)}"
    )
    best = max((p for _, p in explanation.probabilities), default=None)
    outcome += "." if best is None else f" with a probability of {percent(best)}."
    facts: list[tuple[str, object, str]] = [
        ("loss L", number(explanation.loss, 5), explanation.loss_name.replace("_", " ")),
        (explanation.what, number(explanation.value, 5), _value_note(explanation)),
        ("derivative", number(explanation.derivative, 5), f"dL/d {name}"),
    ]
    if explanation.unit is not None and explanation.per_unit is not None:
        product = f"{number(explanation.derivative)} × {number(explanation.unit.value)} (scaling)"
        facts.append((f"per unit of {name}", number(explanation.per_unit, 5), product))
    return Page(
        title=f"dL/d {name}",
        lead=f"Row {explanation.row} of {explanation.source}. {outcome} {meaning_of(explanation)}",
        sections=sections,
        facts=facts,
        kicker="One derivative, step by step",
        footer="All numbers are computed in float64, with the network in inference mode.",
    )


def _value(value: object) -> str:
    return number(value, 5) if isinstance(value, float) else str(value)


def _value_note(explanation: Explanation) -> str:
    """The name of the weight or input, or the value of the input before scaling."""
    if explanation.what == "weight" or explanation.given is None:
        return tight(explanation.name)
    return f"{_value(explanation.given)} before scaling"


def _chain(explanation: Explanation) -> Section:
    sentence = f"dL/d {tight(explanation.name)} is {number(explanation.derivative, 5)}"
    if explanation.paths:
        count = (
            f"{int(explanation.paths):,}" if explanation.paths < 1e15 else f"about {explanation.paths:.2g}"
        )
        sentence += (
            ": the product along a single path."
            if explanation.paths == 1
            else f": a sum over {count} paths, each of which is a product."
        )
    else:
        sentence += "."
    idea = (
        "The loss depends on the outputs, each output depends on the units before it, and so on. Along one path the "
        "local derivatives multiply; the products of all paths add up."
    )
    question = f"How does the loss depend on this {explanation.what}?"
    return Section("chain_rule", "Chain rule", question, sentence, worked_derivative(explanation), idea=idea)


def _checks(explanation: Explanation) -> Section:
    rows: list[list[object]] = [
        ["reverse sweep", f"{explanation.derivative:.12g}", "as training computes it"]
    ]
    if explanation.path_total is not None and explanation.paths_error is not None:
        rows.append(
            ["sum over all paths", f"{explanation.path_total:.12g}", f"{explanation.paths_error:.1e}"]
        )
    rows += [
        ["forward sweep", f"{explanation.forward:.12g}", f"{explanation.forward_error:.1e}"],
        ["central difference", f"{explanation.central:.12g}", f"{explanation.central_error:.1e}"],
    ]
    worst = max(explanation.forward_error, explanation.central_error, explanation.paths_error or 0.0)
    sentence = f"Other methods give the same derivative, within a relative error of {worst:.1e}."
    blocks: list[Block] = [Table(["method", "derivative", "relative error"], rows)]
    if explanation.kink:
        sentence = "The two sweeps agree. A central difference cannot, because the loss has a corner here."
        blocks.append(Text(kink_of()))
    return Section("checks", "Checks", "Is the derivative right?", sentence, blocks)


def _neurons(explanation: Explanation) -> Section:
    layers = shown_layers(explanation)
    blocks: list[Block] = []
    if is_image(layers[0].shape):
        blocks.append(_images(layers))
    if explanation.probabilities:
        top = sorted(explanation.probabilities, key=lambda item: -item[1])[:MOST_BARS]
        blocks.append(
            Figure(
                bars(
                    [label for label, _ in top],
                    {"probability": [p for _, p in top]},
                    title="Probabilities of the classes",
                    in_percent=True,
                    x_range=(0, 1.12),
                    roles=["series_1" if label == explanation.target else "muted" for label, _ in top],
                ),
                f"The correct class is {explanation.target}.",
                "The prediction",
            )
        )
    rows = [
        [
            layer.name,
            " × ".join(map(str, layer.shape)),
            *(float(item) for item in (layer.values.mean(), layer.values.min(), layer.values.max())),
            percent(float((layer.values == 0).mean())),
        ]
        for layer in layers
    ]
    blocks.append(
        Table(["layer", "shape", "mean", "smallest", "largest", "zeros"], rows, "The values of every layer")
    )
    sentence = f"The row passes through {plural(len(layers) - 1, 'layer')}."
    question = "What does each layer compute for this row?"
    return Section("neurons", "Neurons", question, sentence, blocks)


def _images(layers: list[Layer]) -> Figure:
    row = np.asarray(layers[0].values, np.float64).reshape(layers[0].shape)
    low, high = float(row.min()), float(row.max())
    is_color = row.ndim == 3 and row.shape[2] == 3
    input_pixels = (row - low) / ((high - low) or 1.0) if is_color else row.reshape(row.shape[:2])
    images, labels = [input_pixels], ["input"]
    for before, layer in pairwise(layers):
        if not np.array_equal(
            before.values.reshape(-1), layer.values.reshape(-1)
        ):  # skip flatten and the like
            for label, values in images_of(layer.name, np.asarray(layer.values, np.float64)):
                images.append(values)
                labels.append(label)
    svg = image_grid(
        images,
        labels,
        title="the row, layer by layer",
        signed=[False] + [True] * (len(images) - 1),
        together=False,
        smallest=96,
    )
    caption = "One pixel per neuron: orange is positive, blue is negative. At most four channels are shown."
    return Figure(svg, caption, "The row inside the network", wide=True)


def _step(step: StepView) -> Section:
    rows = [[term.name, number(term.value, 7), term.formula] for term in step.terms]
    sentence = f"The weight changes from {number(step.old, 5)} to {number(step.new, 5)}."
    question = f"What would one step of {step.optimizer} do to this weight?"
    return Section(
        "step", "Step", question, sentence, [Table(["", "value", "formula"], rows)], idea=step_note(step)
    )
