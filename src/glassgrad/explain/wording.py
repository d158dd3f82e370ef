"""The sentences about an explanation, shared by the terminal and the page."""

from __future__ import annotations

import re

from glassgrad.explain.explanation import Explanation, Factor, Layer, Line
from glassgrad.explain.links import PREACTIVATION
from glassgrad.explain.step import StepView


def tight(name: str) -> str:
    """The name of a unit without spaces and without the suffix for pre-activations."""
    bare = name.replace(f".{PREACTIVATION}", "")
    return re.sub(r"(?<=\d), (?=\d+[\],])", ",", bare)


def meaning_of(explanation: Explanation) -> str:
    """The derivative in a sentence."""
    if not explanation.derivative:
        return f"The derivative is 0: to first order, this {explanation.what} does not change the loss of this row."
    way = "larger" if explanation.derivative > 0 else "smaller"
    return f"A slightly larger {explanation.what} makes the loss of this row slightly {way}."


def zero_of(explanation: Explanation) -> str:
    """Why there is no path."""
    return f"No path leads from the loss to this {explanation.what}: {tight(str(explanation.zero))}."


def route(line: Line) -> list[str]:
    """The units of a path, from the loss to the weight or input."""
    names = ["loss"]
    for factor in line.factors:
        name = tight(factor.source)
        if name != names[-1]:
            names.append(name)
    return names


def said_of(factor: Factor) -> str:
    """A short description of a factor."""
    source, target = tight(factor.source), tight(factor.target)
    match factor.kind:
        case "loss":
            return "derivative of the loss by this output"
        case "weight":
            return f"weight from {source} to {target}"
        case "activation":
            return f"slope of the activation in {target}"
        case "same":
            return f"passes {source} unchanged to {target}"
        case "value":
            return "value that the weight is multiplied by"
        case "end":
            return "derivative of the unit by the weight"
        case _:
            return f"from {source} to {target}" if not factor.symbol.startswith("d ") else ""


def kink_of() -> str:
    """The reason why the central difference does not agree."""
    return (
        "The loss has a kink at this point: the slopes on its two sides differ, and the central difference is their "
        "mean. The derivative shown is the one-sided value that both sweeps use by convention."
    )


def shown_layers(explanation: Explanation) -> list[Layer]:
    """The input and the output of each layer, without pre-activations."""
    return [layer for layer in explanation.layers if not layer.name.endswith(f".{PREACTIVATION}")]


def step_note(step: StepView) -> str:
    """The assumptions of the step that is shown."""
    note = (
        "A first step with a new optimizer state, on this row alone. Training uses the mean gradient over a batch "
        "and the optimizer state of the earlier steps."
    )
    if step.schedule is not None:
        note += f" The rate does not include the schedule ({step.schedule})."
    return note
