"""Sentences about an explanation, shared by the terminal and the page."""

from __future__ import annotations

import re

from glassgrad.explain.explanation import Explanation, Factor, Layer, Line
from glassgrad.explain.links import PREACTIVATION
from glassgrad.explain.step import StepView


def tight(name: str) -> str:
    """The name of a unit, without spaces and without the suffix for pre-activations."""
    bare = name.replace(f".{PREACTIVATION}", "")
    return re.sub(r"(?<=\d), (?=\d+[\],])", ",", bare)


def meaning_of(explanation: Explanation) -> str:
    """The meaning of the derivative in one sentence."""
    if not explanation.derivative:
        return f"The loss of this row does not depend on this {explanation.what} here."
    direction = "larger" if explanation.derivative > 0 else "smaller"
    return f"A slightly larger {explanation.what} makes the loss of this row slightly {direction}."


def zero_of(explanation: Explanation) -> str:
    """The reason why no path exists."""
    return f"No path leads from the loss to this {explanation.what}: {tight(str(explanation.zero))}."


def route(line: Line) -> list[str]:
    """The units that a path goes through, from the loss to the weight or input."""
    names = ["loss"]
    for factor in line.factors:
        name = tight(factor.source)
        if name != names[-1]:
            names.append(name)
    return names


def said_of(factor: Factor) -> str:
    """The meaning of a factor in a few words."""
    source, target = tight(factor.source), tight(factor.target)
    match factor.kind:
        case "loss":
            return "derivative of the loss by this output"
        case "weight":
            return f"weight from {source} to {target}"
        case "activation":
            return f"slope of the activation in {target}"
        case "same":
            return f"passes {source} on as {target}"
        case "value":
            return "value that the weight is multiplied by"
        case "end":
            return "derivative of the unit by the weight"
        case _:
            return f"from {source} to {target}" if not factor.symbol.startswith("d ") else ""


def kink_of() -> str:
    """The reason why a central difference cannot agree."""
    return (
        "The loss has a corner at this point: its slopes to both sides differ, and the central difference is their "
        "mean. The derivative shown is the one that the sweeps use by convention."
    )


def shown_layers(explanation: Explanation) -> list[Layer]:
    """The input and the layers, without pre-activations."""
    return [layer for layer in explanation.layers if not layer.name.endswith(f".{PREACTIVATION}")]


def step_note(step: StepView) -> str:
    """The kind of step that is shown."""
    note = (
        "The first step of a new optimizer, on this row alone. Training uses the mean gradient over a batch, and an "
        "optimizer with the state of earlier steps."
    )
    if step.schedule is not None:
        note += f" The rate is the one before the schedule ({step.schedule})."
    return note
