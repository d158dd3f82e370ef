"""The step's view: what one step of the optimizer on this row alone would do to one weight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from glassgrad.backends.base import Array
from glassgrad.backends.reference import evaluate
from glassgrad.common.errors import InputError
from glassgrad.explain.links import fixed
from glassgrad.graph.node import Graph
from glassgrad.ops.op import make_input
from glassgrad.training.compiled import seam
from glassgrad.training.settings import Settings


@dataclass(frozen=True)
class StepView:
    """One weight before and after a first step of the optimizer, with all that goes into it.

    ``gradient`` is after clipping; ``slots`` are what the optimizer then keeps for this weight (they began at
    ``slots_before``): velocity, or Adam's m and v.
    """

    optimizer: str
    old: float
    raw_gradient: float
    gradient: float
    hyperparameters: Mapping[str, float]
    slots_before: Mapping[str, float]
    slots: Mapping[str, float]
    new: float

    @property
    def change(self) -> float:
        """New minus old."""
        return self.new - self.old


def step_view(
    training: Mapping[str, Any],
    weights: Mapping[str, Array],
    gradients: Mapping[str, Array],
    name: str,
    index: tuple[int, ...],
) -> StepView | None:
    """The first step from a fresh optimizer, by the optimizer's own update graph; None for a frozen layer.

    ``training`` is what the model file says of its training; without settings (parts that are not registered)
    there is no step to show. ``gradients`` are those of all weights on this row: clipping looks at all.
    """
    settings = _settings(training)
    if settings is None:
        return None
    trained = {key: array for key, array in weights.items() if key.rsplit(".", 1)[0] not in settings.freeze}
    if name not in trained:
        return None
    made, clipping = settings.made, seam(settings)
    hyper = made.hyperparameters() | clipping.hyperparameters()
    fills = made.slots()
    scalars = {key: fixed(np.asarray(value, np.float64)) for key, value in hyper.items()}
    params = {key: make_input(key, array.shape, "float64") for key, array in trained.items()}
    raw = {key: make_input(f"gradient/{key}", array.shape, "float64") for key, array in trained.items()}
    slots = {
        f"{slot}/{key}": fixed(np.full(array.shape, fill))
        for slot, fill in fills.items()
        for key, array in trained.items()
    }
    clipped = clipping.apply(raw, scalars)
    new, kept = made.update(clipped, params, slots, scalars, fixed(np.asarray(0, np.uint32)))
    wanted = [new[name], clipped[name], *(kept[f"{slot}/{name}"] for slot in fills)]
    graph = Graph((*params.values(), *raw.values()), tuple(wanted))
    found = evaluate(graph, [*trained.values(), *(gradients[key] for key in trained)])
    return StepView(
        type(made).__name__,
        float(weights[name][index]),
        float(gradients[name][index]),
        float(found[1][index]),
        dict(hyper),
        {slot: float(fill) for slot, fill in fills.items()},
        {slot: float(array[index]) for slot, array in zip(fills, found[2:], strict=True)},
        float(found[0][index]),
    )


def _settings(training: Mapping[str, Any]) -> Settings | None:
    document = training.get("settings")
    if not isinstance(document, Mapping):
        return None
    wanted = ("optimizer", "learning_rate", "momentum", "weight_decay", "clip_norm", "clip_value", "freeze")
    given = {key: document[key] for key in wanted if key in document}
    if given.get("freeze"):
        given["freeze"] = tuple(given["freeze"])
    try:
        return Settings(**given)
    except InputError:
        return None
