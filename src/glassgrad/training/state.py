"""The state of a training: the values that the compiled step reads and writes, and the records of every step."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from glassgrad.backends.base import Array
from glassgrad.common.frozen import frozen

Change = tuple[int, str, float]
"""A hyperparameter changed during training: the first step with the new value, the name, the value."""


@frozen
class State:
    """Weights, running statistics and optimizer slots after ``step`` steps.

    The arrays are never modified: every call of the compiled step returns new ones. So keeping a state needs no copy.
    """

    step: int
    weights: dict[str, Array]
    statistics: dict[str, Array]
    slots: dict[str, Array]


@frozen
class Best:
    """The epoch with the best value of the watched metric so far."""

    value: float
    epoch: int
    weights: dict[str, Array]
    statistics: dict[str, Array]


@frozen
class Snapshot:
    """The complete state of a training, which continues from it to the same bits with the same task and settings.

    ``epoch_end`` is the state at the end of the last completed epoch. ``losses`` and ``rates`` have one number per
    step. ``callbacks`` are the arrays of every callback, ``lenses`` the samples of the lenses (None without
    ``watch``). ``diverged`` says where the training met NaN or Inf.
    """

    state: State
    epoch_end: State
    best: Best | None
    history: list[dict[str, float | int]]
    losses: Array
    rates: Array
    changes: tuple[Change, ...]
    stopped: str | None
    seconds: float
    callbacks: tuple[Mapping[str, Array], ...] = ()
    lenses: Mapping[str, Array] | None = None
    diverged: str | None = None


class StepLog:
    """One number per step. Writing a step again replaces its number, so a call can be repeated."""

    def __init__(self, dtype: str) -> None:
        self._values = np.zeros(1024, dtype)

    def write(self, first: int, values: Array) -> None:
        """Set the numbers of the steps from ``first`` on."""
        end = first + len(values)
        if end > len(self._values):
            longer = np.zeros(max(end, 2 * len(self._values)), self._values.dtype)
            longer[: len(self._values)] = self._values
            self._values = longer
        self._values[first:end] = values

    def __getitem__(self, part: slice) -> Array:
        """The numbers of some steps, as a copy."""
        return self._values[part].copy()
