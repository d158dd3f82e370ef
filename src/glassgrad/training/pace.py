"""How many steps go into one call of the compiled step."""

from __future__ import annotations

import math

SECONDS_PER_CALL = 0.1
"""Target duration of a call: short enough for Ctrl-C, long enough to amortize the Python around it."""

BYTES_PER_SECOND = 2e7
"""Weights and state are copied in and out of a call. A call lasts at least their size divided by this, so that the
copies take about 2 % of the time."""

FIRST_GUESS = 1e10
"""Floating-point operations per second: the speed assumed for the first call."""

STEPS_AT_ONCE = 8192
"""The most steps in a call of several whole epochs."""

GROWTH = 16
"""The largest factor by which the number of epochs per call grows from one call to the next."""


class Pace:
    """Chooses the length of each call from the duration of the calls before it.

    ``flops`` are the floating-point operations of a step, ``bytes_copied`` the size of weights and state.
    """

    def __init__(self, flops: float, bytes_copied: int, steps_per_epoch: int) -> None:
        self.seconds_per_call = max(SECONDS_PER_CALL, bytes_copied / BYTES_PER_SECOND)
        self.seconds_per_step = flops / FIRST_GUESS
        self.epochs_at_once = 1
        self._steps_per_epoch = steps_per_epoch

    def steps(self, remaining: int) -> int:
        """The length of the next call, in steps: ``remaining`` divided into equal calls of the target duration."""
        calls = max(1, math.ceil(remaining * self.seconds_per_step / self.seconds_per_call))
        return math.ceil(remaining / calls)

    def record(self, steps: int, seconds: float) -> None:
        """Update the estimate from a call of ``steps`` steps that took ``seconds``."""
        self.seconds_per_step = seconds / steps

    def record_epochs(self, epochs: int, seconds: float) -> None:
        """Choose ``epochs_at_once`` after ``epochs`` whole epochs that took ``seconds``: more if epochs are short."""
        if seconds < self.seconds_per_call / 2:
            growth = min(int(self.seconds_per_call / max(seconds, 1e-6)), GROWTH)
            self.epochs_at_once = max(1, min(growth * epochs, STEPS_AT_ONCE // self._steps_per_epoch))
