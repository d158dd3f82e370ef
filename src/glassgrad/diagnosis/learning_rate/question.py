"""Is the step right? The learning rate, the optimizer's other settings, the batch, and the length of the run.

Measured (see ``rate_measurement``): short runs at many rates, the largest stable step by bisection, what the
curvature allows, whole runs at rates around the given one on the seeds of the trials, and how the loss went. Whatever
is judged here shows on *training* rows: a step that is wrong keeps a network from fitting them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from glassgrad.diagnosis.core.findings import Change, Fault
from glassgrad.diagnosis.core.kinds import CAUSE_ORDER, GAIN, LARGE_GAIN
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.learning_rate.measurement import (
    FEWEST,
    HORIZON,
    USUAL_BATCH,
    LearningRate,
    measured_rate,
)

TOO_HIGH = GAIN
"""A rate is too high if a lower one wins this share of the way more on training rows: what its trial has to win."""

TOO_LOW = 0.8 * LARGE_GAIN
"""A rate is too low if a higher one wins this share more in as many steps; its trial has to win LARGE_GAIN."""

FAR_BELOW = 300
"""... and it lies by more than this factor below the largest stable step: rates a tenth to a hundredth of that are
the usual choice (Y. Bengio, Practical recommendations for gradient-based training of deep architectures, 2012)."""

FALLING = 0.1
"""A run is too short if its last third still won this share of the way: with ten times the epochs that can add up to
LARGE_GAIN, with less it hardly can."""

SHORT = 0.15
"""The same for a run of few epochs: this share more would be won by HORIZON steps."""

SWING = 0.02
"""A loss oscillates if in the second half it rises by this share of the way per epoch, over the epochs that fall too.
A loss that settles rises by a tenth of that."""

RISES = 0.25
"""At least this share of the epochs of the second half go up."""

STANDS = 0.01
"""A loss stands still if the last third of the run won less than this share of the way."""

FAR = 0.1
"""It stands far above what can be reached if this share of the way is left."""

FEW_STEPS = 6
"""A batch is large for the data if an epoch has no more than this many steps."""

LONGER = (10, 5, 3)
"""Times the epochs that a run which ended early is given, as many as there is time for."""

CLASSES = {
    "learning_rate_too_high": "too high",
    "learning_rate_too_low": "too low",
    "oscillation": "oscillation",
    "plateau": "plateau",
}


def measure(subject: Subject) -> LearningRate:
    """See ``rate_measurement``; and what class of step it looks like."""
    found = measured_rate(subject)
    kinds = [fault.kind for fault in _suspicions(found)]
    return replace(found, classification=next((CLASSES[kind] for kind in CLASSES if kind in kinds), "right"))


# --- judging -------------------------------------------------------------------------------------------------


def judge(measurement: LearningRate, subject: Subject) -> list[Fault]:
    """What may be wrong with the step, with the settings of the optimizer, and with the length of the run."""
    return _suspicions(measurement)


def _suspicions(m: LearningRate) -> list[Fault]:
    found = [*_rate_faults(m), *_odd_faults(m), *_batch_faults(m), *_length_faults(m), *_shape_faults(m)]
    return sorted(found, key=lambda fault: CAUSE_ORDER[fault.kind])


def _evidence(m: LearningRate) -> dict[str, Any]:
    """What is said of the rate in every fault of it."""
    found: dict[str, Any] = {
        "learning_rate": m.rate,
        "training_loss": m.pace.end,
        "constant_loss": m.constant,
    }
    if m.stable is not None:
        found["largest_stable_step"] = m.stable.rate
        found["largest_stable_step_interval"] = list(m.stable.interval)
    if "start" in m.curvature:
        found["curvature_bound"] = m.curvature["start"].bound
    if m.range is not None:
        found["best_rate_of_short_runs"] = m.range.best
        found["steps_of_short_runs"] = m.range.steps
    if m.ratios:
        found["update_to_weight"] = float(np.median(list(m.ratios.values())))
    return found


def _rate_faults(m: LearningRate) -> list[Fault]:
    found = []
    gain, rate = m.lower_gain()
    if gain >= TOO_HIGH or (m.diverged and m.batch >= FEWEST):
        said = f"The learning rate {m.rate:g} is too large: the steps jump over what they are to reach"
        if m.diverged:
            said = f"With the learning rate {m.rate:g} the training broke off: the numbers grew beyond all bounds"
        if m.stable is not None and m.rate > m.stable.interval[1]:
            said += f". It is {_times(m.rate / m.stable.rate)} the largest at which this network still learns"
        found.append(
            Fault(
                "learning_rate_too_high",
                "",
                _evidence(m) | {"better_rate": rate, "gain": gain, "diverged": m.diverged},
                TOO_HIGH,
                "share of the way from the constant guess to the best that a lower rate wins on training rows",
                max(gain / TOO_HIGH, 1.0) if not m.diverged else max(gain / TOO_HIGH, 10.0),
                f"{said}.",
            )
        )
    gain, rate = m.higher_gain()
    far = m.stable is None or m.rate * FAR_BELOW < m.stable.rate
    if not m.diverged and gain >= TOO_LOW and m.left >= TOO_LOW and far:
        below = ""
        if m.stable is not None and m.rate > 0:
            below = f"; even {_times(m.stable.rate / m.rate)} as much would not be too much"
        found.append(
            Fault(
                "learning_rate_too_low",
                "",
                _evidence(m) | {"better_rate": rate, "gain": gain},
                TOO_LOW,
                "share of the way from the constant guess to the best that a higher rate wins in as many steps",
                gain / TOO_LOW,
                f"With the learning rate {m.rate:g} the network hardly moves: {rate:g} gets much further in as many "
                f"steps{below}.",
            )
        )
    return found


def _odd_faults(m: LearningRate) -> list[Fault]:
    return [
        Fault(
            "wrong_optimizer_setting",
            odd.name,
            dict(odd.evidence),
            odd.threshold,
            odd.source,
            odd.strength,
            odd.sentence,
        )
        for odd in m.odd
    ]


def _batch_faults(m: LearningRate) -> list[Fault]:
    per_epoch = m.per_epoch
    evidence = {"batch_size": m.batch, "steps_per_epoch": per_epoch, "steps": m.steps[0]}
    left = m.left
    if m.batch < FEWEST and m.rows > USUAL_BATCH and (left >= GAIN or m.diverged):
        return [
            Fault(
                "batch_size",
                "",
                evidence,
                FEWEST,
                "the noise of a mean over n rows falls as 1 / sqrt(n)",
                FEWEST / m.batch,
                f"Each step follows {m.batch} row{'s' * (m.batch > 1)} only, so it is mostly chance.",
            )
        ]
    if per_epoch <= FEW_STEPS and m.batch > USUAL_BATCH and m.steps[0] < HORIZON and left >= GAIN:
        return [
            Fault(
                "batch_size",
                "",
                evidence,
                FEW_STEPS,
                "an epoch of so few steps wastes the rows that it reads",
                FEW_STEPS / per_epoch,
                f"A batch of {m.batch:,} rows leaves {per_epoch} step{'s' * (per_epoch > 1)} in an epoch, and "
                f"{m.steps[0]:,} in all.",
            )
        ]
    return []


def _length_faults(m: LearningRate) -> list[Fault]:
    if m.diverged:
        return []
    falling, short = m.pace.falling, _shortfall(m)
    strength = max(0.0 if math.isnan(falling) else falling / FALLING, short / SHORT)
    if m.epochs == 0:
        strength = 100.0
    jumps = m.pace.end > m.constant and m.lower_gain()[0] >= TOO_HIGH
    if strength < 1 or jumps or not m.pace.late:
        return []  # longer training would fit the training rows alone
    steps = m.steps[0]
    if steps >= HORIZON and m.higher_gain()[0] >= TOO_LOW:
        return []  # so many steps were enough for a higher rate
    return [
        Fault(
            "too_few_epochs",
            "",
            {"epochs": m.epochs, "steps": steps, "won_by_last_third": falling, "won_by_more_steps": short},
            FALLING,
            "share of the way from the constant guess to the best that the last third of the run still won",
            strength,
            f"The loss was still falling when the training ended after {steps:,} steps.",
        )
    ]


def _shortfall(m: LearningRate) -> float:
    """What HORIZON steps at the given rate win over those that the run had, as a share of the way."""
    if m.range is None or m.rate <= 0 or m.steps[0] >= m.range.steps:
        return 0.0
    curve = m.range.curve(m.rate)
    gap = m.constant - min(m.reach, float(curve[-1]))
    own = max(
        float(np.interp(m.steps[0], m.range.points, curve)), m.pace.end if math.isfinite(m.pace.end) else 0.0
    )
    return (own - float(curve[-1])) / gap if gap > 0 and math.isfinite(own) else 0.0


def _shape_faults(m: LearningRate) -> list[Fault]:
    found = []
    left = m.left
    if m.pace.swing >= SWING and m.pace.rises >= RISES and m.batch >= FEWEST and not m.diverged:
        found.append(
            Fault(
                "oscillation",
                "",
                _evidence(m) | {"swing": m.pace.swing, "rises": m.pace.rises},
                SWING,
                "mean rise per epoch in the second half, as a share of the way from the constant guess to the best",
                m.pace.swing / SWING,
                f"In the second half the loss rose in {m.pace.rises:.0%} of the epochs instead of settling.",
            )
        )
    still = abs(m.pace.falling) < STANDS and not m.pace.swing >= SWING
    if still and not m.diverged and (left >= FAR or m.pace.end >= (1 - FAR) * m.constant):
        found.append(
            Fault(
                "plateau",
                "",
                _evidence(m) | {"won_by_last_third": m.pace.falling, "left": left},
                FAR,
                "share of the way to the lowest loss known that is left while the loss stands still",
                max(left, FAR) / FAR,
                f"The loss stood still at {m.pace.end:.3g}, far above what the network can reach.",
            )
        )
    return found


def _times(factor: float) -> str:
    digits = max(1 - math.floor(math.log10(factor)), 0) if 0 < factor < math.inf else 0
    rounded = float(f"{factor:.2g}")
    return f"{rounded:,.{min(digits, 2)}f} times"


# --- prescribing ---------------------------------------------------------------------------------------------


def prescribe(fault: Fault, measurement: LearningRate, subject: Subject) -> list[Change]:
    """The most promising changes first."""
    m = measurement
    match fault.kind:
        case "learning_rate_too_high":
            return _rates(m, lower=True)
        case "learning_rate_too_low":
            return _rates(m, lower=False)
        case "wrong_optimizer_setting":
            return list(next((odd.changes for odd in m.odd if odd.name == fault.where), ()))
        case "batch_size":
            return [Change({"batch_size": USUAL_BATCH}, f"Use batches of {USUAL_BATCH} rows.")]
        case "too_few_epochs":
            return [_longer(m, subject)]
        case "oscillation":
            calm = Change({"schedule": "cosine"}, "Let the learning rate fall to 0 over the run (cosine).")
            flat = subject.settings.schedule == "constant"
            return [*_rates(m, lower=True)[:2], calm] if flat else _rates(m, lower=True)
        case "plateau":
            return _out_of_plateau(m, subject)
    return []


def _rates(m: LearningRate, lower: bool) -> list[Change]:
    """Rates on one side of the given one: what did best in whole runs, in short runs, and a tenth or tenfold."""
    wanted: list[float] = []
    if m.sweep is not None:
        scores = np.median(m.sweep.validation, axis=1)
        side = m.sweep.rates < 0.8 * m.rate if lower else m.sweep.rates > 1.25 * m.rate
        if np.isfinite(np.where(side, scores, np.inf)).any():
            wanted.append(float(m.sweep.rates[int(np.argmin(np.where(side, scores, np.inf)))]))
    if m.range is not None:
        scores = m.range.means
        side = m.range.rates < 0.8 * m.rate if lower else m.range.rates > 1.25 * m.rate
        if np.isfinite(np.where(side, scores, np.inf)).any():
            best = float(m.range.rates[int(np.argmin(np.where(side, scores, np.inf)))])
            wanted += [best, best / 10] if lower else [best, best / 3]
    if m.rate > 0:
        wanted.append(m.rate / 10 if lower else m.rate * 10)
    if (m.usual < m.rate) == lower:
        wanted.append(m.usual)
    found: list[float] = []
    for rate in wanted:
        right_side = rate < m.rate if lower else rate > m.rate
        if right_side and all(abs(math.log(rate / known)) > 0.3 for known in found):
            found.append(float(f"{rate:.3g}"))
    return [Change({"learning_rate": rate}, f"Set the learning rate to {rate:g}.") for rate in found]


def _longer(m: LearningRate, subject: Subject) -> Change:
    epochs = max(m.epochs, 1)
    if m.epochs == 0:
        return Change({"epochs": 30}, "Train for 30 epochs.")
    examined = subject.trials.settings.epochs
    for factor in LONGER:
        options = {"epochs": max(examined, 1) * factor}
        if subject.trials.seconds(options) <= 0.2 * subject.clock.budget:
            break
    return Change({"epochs": epochs * factor}, f"Train for {epochs * factor:,} epochs.")


def _out_of_plateau(m: LearningRate, subject: Subject) -> list[Change]:
    found = []
    if m.optimizer not in ("adam", "adamw"):
        found.append(
            Change({"optimizer": "adam", "learning_rate": 0.001}, "Use Adam with a learning rate of 0.001.")
        )
    first = m.lower_gain() > m.higher_gain()
    rates = [*_rates(m, lower=first)[:1], *_rates(m, lower=not first)[:1]]
    return [*found, *rates]


# --- the answer ----------------------------------------------------------------------------------------------


def sentence(measurement: LearningRate, faults: Sequence[Fault]) -> str:
    """The answer for a beginner; without ``faults``, nothing having been tried, what it looks like."""
    m = measurement
    if not faults and (looks := _suspicions(m)):
        return looks[0].sentence
    first = next((fault for fault in faults if fault.verdict == "fault"), None)
    if first is not None:
        return f"{first.sentence}{_cured(first)}"
    caused = next((fault for fault in faults if fault.confirmed and fault.because), None)
    if caused is not None:
        kind = str(caused.because).replace("_", " ")
        return f"{caused.sentence} That follows from another fault: {kind}."
    if m.range is not None and not m.range.means.min() < m.constant:
        return "No learning rate that was tried gets this network to learn, so it is not the step that holds it back."
    text = f"The learning rate {m.rate:g} is right for this network"
    if any(fault.kind.startswith("learning_rate") and fault.trial is None for fault in faults):
        text = f"There was no time to try another learning rate than {m.rate:g}, although another may well be better"
    if m.stable is not None and 0 < m.rate <= m.stable.rate:
        text += f": it could be {_times(m.stable.rate / m.rate)} as large before the network stops learning"
    elif m.stable is not None and m.rate > 0:
        text += f", although it is {_times(m.rate / m.stable.rate)} the largest at which every start learns"
    if m.sweep is not None and m.suggestion == m.rate:
        text += ", and no other rate in trial did better by more than tuning"
    return f"{text}."


def _cured(fault: Fault) -> str:
    """What the cure did in trial, in a sentence with a space before it."""
    trial = fault.trial
    if fault.prescription is None or trial is None or trial.effect != "improves":
        return ""
    before, after = trial.means
    what = "validation loss" if trial.measure == "loss" else f"validation {trial.measure.replace('_', ' ')}"
    start = f"took the {what} from {before:.3g} to {after:.3g}"
    if not math.isfinite(before):
        start = f"gave a {what} of {after:.3g}, where training broke off before"
    return f" {fault.prescription.sentence.rstrip('.')}: in trial that {start}."
