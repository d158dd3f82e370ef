"""What is said about an explanation, in the terminal and on a page alike."""

from __future__ import annotations

import re

from glassgrad.explain.explanation import Explanation, Factor, Layer, Line
from glassgrad.explain.links import PREACTIVATION
from glassgrad.explain.step import StepView


def tight(name: str) -> str:
    """The name of a unit, without spaces and without saying that it is its pre-activation."""
    bare = name.replace(f".{PREACTIVATION}", "")
    return re.sub(r"(?<=\d), (?=\d+[\],])", ",", bare)


def meaning_of(found: Explanation) -> str:
    """The derivative in a sentence."""
    if not found.derivative:
        return f"The loss of this row does not answer to this {found.what} at all."
    way = "larger" if found.derivative > 0 else "smaller"
    return f"A slightly larger {found.what} makes the loss of this row slightly {way}."


def zero_of(found: Explanation) -> str:
    """Why there is no path."""
    return f"No path leads from the loss to this {found.what}: {tight(str(found.zero))}."


def route(line: Line) -> list[str]:
    """The units that a path goes through, from the loss to the weight or input."""
    names = ["loss"]
    for factor in line.factors:
        name = tight(factor.source)
        if name != names[-1]:
            names.append(name)
    return names


def said_of(factor: Factor) -> str:
    """What a factor is, in a few words."""
    source, target = tight(factor.source), tight(factor.target)
    match factor.kind:
        case "loss":
            return "how the loss answers to this output"
        case "weight":
            return f"weight from {source} to {target}"
        case "activation":
            return f"slope of the activation in {target}"
        case "same":
            return f"hands {source} on as {target}"
        case "value":
            return "what the weight is multiplied by"
        case "end":
            return "how the unit answers to the weight"
        case _:
            return f"from {source} to {target}" if not factor.symbol.startswith("d ") else ""


def kink_of() -> str:
    """Why a central difference cannot agree."""
    return (
        "The loss has a corner at this very point: its slopes to both sides differ, and the central difference is "
        "their mean. The derivative is the one that the sweeps agree on by convention."
    )


def shown_layers(found: Explanation) -> list[Layer]:
    """The input, and what each layer makes of it."""
    return [layer for layer in found.layers if not layer.name.endswith(f".{PREACTIVATION}")]


def step_note(step: StepView) -> str:
    """What kind of a step is shown."""
    said = (
        "A first step, by a fresh optimizer, on this row alone: training takes the mean gradient over a batch, and "
        "an optimizer that remembers its steps."
    )
    if step.schedule is not None:
        said += f" The rate is that before the schedule ({step.schedule})."
    return said
