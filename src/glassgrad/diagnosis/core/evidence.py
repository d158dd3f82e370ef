"""What is suspected, what is tried against it, and what that did: suspicions, interventions and trials."""

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

    ``where`` is a layer, an input, or "" for the whole network. ``evidence`` holds the measured numbers,
    ``threshold`` the value that they passed (None if there is no number for it) and ``source`` where that value comes
    from. ``strength`` says how far the threshold was passed: 1 is just at the threshold.
    """

    where: str
    evidence: Mapping[str, Any]
    threshold: float | None
    source: str
    strength: float
    sentence: str = ""


@dataclass(frozen=True)
class Intervention:
    """A fix to try: options of ``train`` with their new values, and one sentence for people.

    Besides options of ``Settings``, ``options`` may hold the data actions of ``variants.DATA_ACTIONS``. ``rehearsal``
    holds the options that a trial uses instead, where ``options`` were chosen by looking at rows that the trial holds
    out.
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
    """One experiment: the same seeds before and after an intervention, scored on validation rows.

    ``before`` and ``after`` have one score per seed (Inf where the run diverged or is refused). ``constant`` is
    the score of the best constant prediction. ``gain`` is the change in units of the gap between the constant
    predictor and the better of both (positive: better), ``noise`` what the mean may differ by chance, in the same
    units. ``confirmed``: it did what its kind predicts. ``sides`` say in a few words what was done before and after.
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
