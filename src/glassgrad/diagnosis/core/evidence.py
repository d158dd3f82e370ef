"""Suspicions, the interventions tried against them, and the trials that show their effects."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from glassgrad.common.plain import plain

Effect = Literal["improves", "unchanged", "lowers", "proof"]
Better = Literal["lower", "higher"]


@dataclass(frozen=True)
class Suspicion:
    """A measured number that passed its threshold.

    ``where`` is a layer, an input, or "" for the whole network. ``evidence`` holds the measured numbers.
    ``threshold`` is the value that they passed (None if the threshold is not a number), and ``source`` says where it
    comes from. ``strength`` is the ratio of the measured number to its threshold: 1 is exactly at the threshold.
    ``sentence`` says what is wrong.
    """

    where: str
    evidence: Mapping[str, Any]
    threshold: float | None
    source: str
    strength: float
    sentence: str = ""


@dataclass(frozen=True)
class Intervention:
    """A fix to try: options of ``train`` with their new values, and one sentence that describes it.

    Besides options of ``Settings``, ``options`` may hold the data actions of ``variants.DATA_ACTIONS``. ``rehearsal``
    replaces ``options`` in a trial if ``options`` were chosen from rows that the trial holds out.
    """

    options: Mapping[str, Any]
    sentence: str
    rehearsal: Mapping[str, Any] | None = None

    @property
    def tried(self) -> Mapping[str, Any]:
        """The options that a trial uses."""
        return self.options if self.rehearsal is None else self.rehearsal

    def document(self) -> dict[str, Any]:
        """As plain values."""
        return {"changes": plain(self.options), "sentence": self.sentence}


@dataclass(frozen=True)
class Trial:
    """One experiment: training without and with an intervention, on the same seeds, scored on validation rows.

    ``before`` and ``after`` have one score per seed (Inf if the run diverged or was refused). ``constant`` is the
    score of the baseline, the best constant prediction. ``gain`` is the improvement in units of the gap between the
    baseline and the better side. ``noise`` is the difference that chance alone may cause, in the same units.
    ``confirmed`` says whether the trial had the predicted effect. ``sides`` describe ``before`` and ``after``.
    """

    seeds: tuple[int, ...]
    measure: str
    before: tuple[float, ...]
    after: tuple[float, ...]
    confirmed: bool
    seconds: float
    better: Better = "lower"
    effect: Effect = "improves"
    constant: float = math.nan
    gain: float = math.nan
    noise: float = math.nan
    sides: tuple[str, str] = ("without the fix", "with it")

    @property
    def means(self) -> tuple[float, float]:
        """The mean scores before and after."""
        return float(np.mean(self.before)), float(np.mean(self.after))

    def document(self) -> dict[str, Any]:
        """As plain values; a diverged run is null."""
        before, after = self.means
        return {
            key: plain(value)
            for key, value in {
                "seeds": self.seeds,
                "measure": self.measure,
                "better": self.better,
                "effect": self.effect,
                "before": self.before,
                "after": self.after,
                "before_mean": before,
                "after_mean": after,
                "constant": self.constant,
                "gain": self.gain,
                "noise": self.noise,
                "sides": self.sides,
                "confirmed": self.confirmed,
                "seconds": self.seconds,
            }.items()
        }
