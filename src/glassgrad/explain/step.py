"""``StepView``: the effect on one weight of one optimizer step on a single row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from glassgrad.backends.base import Array
from glassgrad.backends.reference import evaluate
from glassgrad.common.errors import InputError
from glassgrad.common.layer_names import layer_of
from glassgrad.explain.links import fixed
from glassgrad.graph.node import Graph
from glassgrad.ops.op import make_input
from glassgrad.training.compiled import gradient_transformation
from glassgrad.training.settings import OF_OPTIMIZER, Settings, settings_of_document


@dataclass(frozen=True)
class Term:
    """One line of the arithmetic of a step: the quantity ``name`` has ``value``, computed by ``formula``."""

    name: str
    formula: str
    value: float


@dataclass(frozen=True)
class StepView:
    """One weight before and after the first step of a new optimizer, and the quantities of the step.

    ``raw_gradient`` is before clipping, ``gradient`` after it. ``slots_before`` and ``slots`` are the optimizer state
    of this weight before and after the step, such as the velocity, or the moments of Adam.
    """

    optimizer: str
    old: float
    raw_gradient: float
    gradient: float
    hyperparameters: Mapping[str, float]
    slots_before: Mapping[str, float]
    slots: Mapping[str, float]
    new: float
    decays: bool
    """Whether weight decay applies to this weight."""
    schedule: str | None
    """The schedule of the learning rate, or None for a constant one. The step has the rate before the schedule."""

    @property
    def change(self) -> float:
        """New minus old."""
        return self.new - self.old

    @property
    def terms(self) -> tuple[Term, ...]:
        """The arithmetic from the gradient to the new weight, line by line."""
        hyper, slots = self.hyperparameters, self.slots
        terms = [Term("w", "old weight", self.old), Term("g", "gradient", self.raw_gradient)]
        limits = [f"{key} {hyper[key]:g}" for key in ("clip_value", "clip_norm") if key in hyper]
        if limits:
            terms.append(Term("g", f"clipped by {' and '.join(limits)}", self.gradient))
        rate = hyper["learning_rate"]
        terms.append(Term("rate", "learning rate", rate))
        divisor = "g"
        for slot, value in slots.items():
            symbol, formula = _SLOTS.get(slot, (slot, "as the optimizer keeps it"))
            terms.append(
                Term(symbol, formula.format_map({key: f"{item:g}" for key, item in hyper.items()}), value)
            )
        if {"first_moment", "second_moment"} <= set(slots):
            m, s = (
                slots[slot] / (1 - hyper[beta])
                for slot, beta in (("first_moment", "beta1"), ("second_moment", "beta2"))
            )
            terms.append(Term("M", f"m / (1 - {hyper['beta1']:g}), for its start at 0", m))
            terms.append(Term("S", f"s / (1 - {hyper['beta2']:g}), for its start at 0", s))
            divisor = "M / (√S + ε)"
        elif {"mean_square", "sum_of_squares"} & set(slots):
            divisor = "g / (√s + ε)"
        elif "velocity" in slots:
            divisor = (
                "v"
                if abs(rate * slots["velocity"] - self._moved) <= 1e-9 * abs(self._moved)
                else f"(g + {hyper['momentum']:g} × v)"
            )
        is_built_in = not slots or set(slots) <= set(_SLOTS)
        terms.append(
            Term("step", f"rate × {divisor}" if is_built_in else "what the optimizer takes off", self._moved)
        )
        if self.decays:
            terms.append(Term("decay", f"rate × {hyper['weight_decay']:g} × w", self._decay))
        terms.append(Term("w", "new weight: w - step" + (" - decay" if self.decays else ""), self.new))
        return tuple(terms)

    @property
    def _decay(self) -> float:
        """The amount that weight decay subtracts."""
        hyper = self.hyperparameters
        return hyper["learning_rate"] * hyper["weight_decay"] * self.old if self.decays else 0.0

    @property
    def _moved(self) -> float:
        """The amount that the step subtracts, without weight decay."""
        return self.old - self._decay - self.new


_SLOTS: Mapping[str, tuple[str, str]] = {
    "velocity": ("v", "{momentum} × 0 + g"),
    "first_moment": ("m", "{beta1} × 0 + (1 - {beta1}) × g"),
    "second_moment": ("s", "{beta2} × 0 + (1 - {beta2}) × g²"),
    "mean_square": ("s", "{decay} × 0 + (1 - {decay}) × g²"),
    "sum_of_squares": ("s", "0 + g²"),
}


def step_view(
    training: Mapping[str, Any],
    weights: Mapping[str, Array],
    gradients: Mapping[str, Array],
    name: str,
    index: tuple[int, ...],
) -> StepView | None:
    """The first step of a new optimizer, computed by its update graph; None for a frozen layer.

    ``training`` is the entry of this name in the model file. Returns None if it has no settings, as for parts that
    are not registered. ``gradients`` are those of all weights on this row, since clipping by norm needs all.
    """
    settings = _settings(training)
    if settings is None:
        return None
    trained = {key: array for key, array in weights.items() if layer_of(key) not in settings.freeze}
    if name not in trained:
        return None
    optimizer, clipping = settings.resolved_optimizer, gradient_transformation(settings)
    hyper = optimizer.hyperparameters() | clipping.hyperparameters()
    fills = optimizer.slots()
    scalars = {key: fixed(np.asarray(value, np.float64)) for key, value in hyper.items()}
    params = {key: make_input(key, array.shape, "float64") for key, array in trained.items()}
    raw = {key: make_input(f"gradient/{key}", array.shape, "float64") for key, array in trained.items()}
    slots = {
        f"{slot}/{key}": fixed(np.full(array.shape, fill))
        for slot, fill in fills.items()
        for key, array in trained.items()
    }
    clipped = clipping.apply(raw, scalars)
    new, new_slots = optimizer.update(clipped, params, slots, scalars, fixed(np.asarray(0, np.uint32)))
    outputs = [new[name], clipped[name], *(new_slots[f"{slot}/{name}"] for slot in fills)]
    graph = Graph((*params.values(), *raw.values()), tuple(outputs))
    results = evaluate(graph, [*trained.values(), *(gradients[key] for key in trained)])
    return StepView(
        type(optimizer).__name__,
        float(weights[name][index]),
        float(gradients[name][index]),
        float(results[1][index]),
        dict(hyper),
        {slot: float(fill) for slot, fill in fills.items()},
        {slot: float(array[index]) for slot, array in zip(fills, results[2:], strict=True)},
        float(results[0][index]),
        "weight_decay" in hyper and weights[name].ndim >= 2,
        _schedule(training["settings"]),
    )


def _schedule(document: Mapping[str, Any]) -> str | None:
    """The name of the schedule in a document of settings; None for a constant one."""
    schedule = document.get("schedule")
    name = str(schedule["name"]) if isinstance(schedule, Mapping) else str(schedule or "constant")
    return None if name == "constant" else name


def _settings(training: Mapping[str, Any]) -> Settings | None:
    """The settings of the optimizer in a model file; None if there are none, or they are not valid here."""
    document = training.get("settings")
    if not isinstance(document, Mapping):
        return None
    names = ("optimizer", *OF_OPTIMIZER, "clip_norm", "clip_value", "freeze")
    try:
        return settings_of_document({key: document[key] for key in names if key in document})
    except InputError:
        return None
