"""The page of one derivative: the chain rule, what checks it, the values of every layer, and the step."""

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


def explain_page(found: Explanation) -> Page:
    """The page of ``found``. Raises InputError where Matplotlib is not installed."""
    name = tight(found.name)
    sections = [_chain(found), _checks(found), _neurons(found)]
    if found.step is not None:
        sections.append(_step(found.step))
    said = f"The target is {_value(found.target)}, and the network says {_value(found.prediction)}"
    best = max((p for _, p in found.probabilities), default=None)
    said += "." if best is None else f", with a probability of {percent(best)}."
    facts: list[tuple[str, object, str]] = [
        ("loss L", number(found.loss, 5), found.loss_name.replace("_", " ")),
        (found.what, number(found.value, 5), _given(found)),
        ("derivative", number(found.derivative, 5), f"dL/d {name}"),
    ]
    if found.unit is not None and found.per_unit is not None:
        product = f"{number(found.derivative)} × {number(found.unit.value)}, for the scaling"
        facts.append((f"per unit of {name}", number(found.per_unit, 5), product))
    return Page(
        title=f"dL/d {name}",
        lead=f"Row {found.row} of {found.source}. {said} {meaning_of(found)}",
        sections=sections,
        facts=facts,
        kicker="The chain rule at work",
        footer="All numbers are computed in float64, with the network as it is in use.",
    )


def _value(value: object) -> str:
    return number(value, 5) if isinstance(value, float) else str(value)


def _given(found: Explanation) -> str:
    if found.what == "weight":
        return tight(found.name)
    return tight(found.name) if found.given is None else f"{_value(found.given)} before it was scaled"


def _chain(found: Explanation) -> Section:
    sentence = f"dL/d {tight(found.name)} is {number(found.derivative, 5)}"
    if found.paths:
        ways = f"{int(found.paths):,}" if found.paths < 1e15 else f"about {found.paths:.2g}"
        sentence += (
            ": one path, a product." if found.paths == 1 else f": the sum over {ways} paths, each a product."
        )
    else:
        sentence += "."
    idea = (
        "The loss answers to the outputs, each output to the units before it, and so on back. Along one path these "
        "answers multiply; over all paths the products add up."
    )
    question = f"How does the loss answer to this {found.what}?"
    return Section("chain_rule", "Chain rule", question, sentence, worked_derivative(found), idea=idea)


def _checks(found: Explanation) -> Section:
    rows: list[list[object]] = [["reverse sweep", f"{found.derivative:.12g}", "as training computes it"]]
    if found.path_total is not None and found.paths_error is not None:
        rows.append(["sum over all paths", f"{found.path_total:.12g}", f"{found.paths_error:.1e}"])
    rows += [
        ["forward sweep", f"{found.forward:.12g}", f"{found.forward_error:.1e}"],
        ["central difference", f"{found.central:.12g}", f"{found.central_error:.1e}"],
    ]
    worst = max(found.forward_error, found.central_error, found.paths_error or 0.0)
    sentence = f"Computed in other ways it is the same, to a relative {worst:.1e}."
    blocks: list[Block] = [Table(["by", "derivative", "relative error"], rows)]
    if found.kink:
        sentence = "The two sweeps agree; a central difference cannot, for the loss has a corner here."
        blocks.append(Text(kink_of()))
    return Section("checks", "Checks", "Is the number right?", sentence, blocks)


def _neurons(found: Explanation) -> Section:
    layers = shown_layers(found)
    blocks: list[Block] = []
    if is_image(layers[0].shape):
        blocks.append(_images(layers))
    if found.probabilities:
        top = sorted(found.probabilities, key=lambda item: -item[1])[:MOST_BARS]
        blocks.append(
            Figure(
                bars(
                    [label for label, _ in top],
                    {"probability": [p for _, p in top]},
                    title="Probabilities of the classes",
                    in_percent=True,
                    x_range=(0, 1.12),
                    roles=["series_1" if label == found.target else "muted" for label, _ in top],
                ),
                f"The right answer is {found.target}.",
                "What the network says",
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
        Table(["layer", "values", "mean", "least", "largest", "zeros"], rows, "The values of every layer")
    )
    sentence = f"The row goes through {plural(len(layers) - 1, 'layer')}."
    question = "What does each layer make of this row?"
    return Section("neurons", "Neurons", question, sentence, blocks)


def _images(layers: list[Layer]) -> Figure:
    row = np.asarray(layers[0].values, np.float64).reshape(layers[0].shape)
    low, high = float(row.min()), float(row.max())
    photo = row.ndim == 3 and row.shape[2] == 3
    first = (row - low) / ((high - low) or 1.0) if photo else row.reshape(row.shape[:2])
    images, labels = [first], ["the row"]
    for before, layer in pairwise(layers):
        if not np.array_equal(before.values.reshape(-1), layer.values.reshape(-1)):  # not the same once more
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
    caption = (
        "One pixel for each neuron, orange above zero and blue below; of images, the first four channels."
    )
    return Figure(svg, caption, "The row on its way through the network", wide=True)


def _step(step: StepView) -> Section:
    rows = [[term.name, number(term.value, 7), term.formula] for term in step.terms]
    sentence = f"The weight goes from {number(step.old, 5)} to {number(step.new, 5)}."
    question = f"What would one step of {step.optimizer} do to this weight?"
    return Section(
        "step", "Step", question, sentence, [Table(["", "value", "is"], rows)], idea=step_note(step)
    )
