"""The results of ``explain_derivative`` as plain typed values."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from glassgrad.backends.base import Array
from glassgrad.common.frozen import frozen
from glassgrad.explain.step import StepView


@dataclass(frozen=True)
class Factor:
    """One factor of a path: the derivative ``value`` of ``target`` by ``source``, with its ``symbol`` in a formula.

    ``target`` and ``source`` are names of units or values. ``kind`` is "loss", "weight", "activation", "same" (layers
    that pass a value on unchanged), "layer" (the local derivative of any other layer), "value" (the value that a
    weight is multiplied by), "end" (any other derivative by the weight itself) or "scale" (preprocessing).
    """

    kind: str
    symbol: str
    value: float
    target: str
    source: str


@dataclass(frozen=True)
class Line:
    """One path: its units from the output backward, its factors, and their product."""

    units: tuple[tuple[str, int], ...]
    """The place and the index (in C order) of each unit."""
    factors: tuple[Factor, ...]
    product: float


@frozen
class Layer:
    """The values of one place (the input, a layer, or a pre-activation) for the row."""

    name: str
    shape: tuple[int, ...]
    values: Array


@frozen
class Explanation:
    """The derivative of one row's loss by one weight or input.

    ``derivative`` comes from the reverse sweep over the whole graph, ``forward`` from a forward sweep, ``central``
    from a central difference; the last two have relative errors. If ``kink`` is true, the loss has a corner at this
    point, so no central difference can agree. ``lines`` are the strongest of ``paths`` paths, whose sum is
    ``path_total``. Both are None if paths were not searched, and ``omitted`` is the reason. ``zero`` is the reason if
    no path exists. ``given`` is the raw value of an input in the source, and ``unit`` the factor from the derivative
    by the preprocessed input to the derivative by the raw value. ``probabilities`` are (label, probability) pairs.
    """

    source: str
    row: int
    what: str
    name: str
    value: float
    given: Any
    target: Any
    prediction: Any
    probabilities: tuple[tuple[Any, float], ...]
    loss: float
    loss_name: str
    derivative: float
    forward: float
    central: float
    forward_error: float
    central_error: float
    kink: bool
    lines: tuple[Line, ...]
    paths: int | None
    path_total: float | None
    paths_error: float | None
    omitted: str | None
    zero: str | None
    unit: Factor | None
    layers: tuple[Layer, ...]
    step: StepView | None

    @property
    def shown(self) -> float:
        """The sum of the paths in ``lines``."""
        return float(sum(line.product for line in self.lines))

    @property
    def remainder(self) -> float:
        """The sum of the paths that are not in ``lines``."""
        return self.derivative - self.shown

    def share(self, part: float) -> float | None:
        """``part`` divided by the derivative; None if the derivative is 0."""
        return part / self.derivative if self.derivative else None

    @property
    def per_unit(self) -> float | None:
        """The derivative by the raw value of the input; None if it equals ``derivative``."""
        return None if self.unit is None else self.derivative * self.unit.value

    def document(self) -> dict[str, Any]:
        """The explanation as plain JSON values."""
        step = self.step
        return {
            "source": self.source,
            "row": self.row,
            "target": self.target,
            "prediction": self.prediction,
            "probabilities": [
                {"class": label, "probability": probability} for label, probability in self.probabilities
            ],
            "loss": self.loss,
            "loss_name": self.loss_name,
            "of": {"kind": self.what, "name": self.name, "value": self.value, "given": self.given},
            "derivative": self.derivative,
            "per_unit": self.per_unit,
            "checks": {
                "forward_sweep": self.forward,
                "forward_sweep_error": self.forward_error,
                "central_difference": self.central,
                "central_difference_error": self.central_error,
                "kink": self.kink,
                "sum_of_all_paths": self.path_total,
                "sum_of_all_paths_error": self.paths_error,
            },
            "paths": {
                "count": self.paths,
                "omitted": self.omitted,
                "zero": self.zero,
                "shown": [
                    {
                        "units": [{"layer": name, "unit": number} for name, number in line.units],
                        "factors": [asdict(factor) for factor in line.factors],
                        "product": line.product,
                        "share": self.share(line.product),
                    }
                    for line in self.lines
                ],
                "sum_shown": self.shown,
                "remainder": self.remainder,
            },
            "layers": [
                {"name": layer.name, "shape": list(layer.shape), "values": np.asarray(layer.values).tolist()}
                for layer in self.layers
            ],
            "step": None
            if step is None
            else {
                "optimizer": step.optimizer,
                "old": step.old,
                "gradient": step.raw_gradient,
                "clipped_gradient": step.gradient,
                "schedule": step.schedule,
                "hyperparameters": dict(step.hyperparameters),
                "terms": [asdict(term) for term in step.terms],
                "slots_before": dict(step.slots_before),
                "slots_after": dict(step.slots),
                "new": step.new,
                "change": step.change,
            },
        }
