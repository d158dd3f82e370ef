"""Is the loss right? What it measures, how low it can go, and whether it says the same of rows not seen before.

Measured (see ``loss_measures``): the loss beside that of a constant guess and, at the start, of outputs that say
nothing; one batch fitted on its own; the way of the validation loss; classes, probabilities and parts.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import numpy as np

from glassgrad.common.errors import GraphError, InputError
from glassgrad.diagnosis.core.association import signal_of_one_input
from glassgrad.diagnosis.core.findings import Change, Fault, Trial
from glassgrad.diagnosis.core.other_networks import widened
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.loss.generalization import (
    overfitting,
    overfitting_cures,
    regularization,
    regularization_cures,
    underfitting,
)
from glassgrad.diagnosis.loss.measurement import LEARNED, LossMeasurement, measured
from glassgrad.diagnosis.loss.suitability import mismatch, mismatch_cures, unsuitable, unsuitable_cures
from glassgrad.diagnosis.measures.calibration import temperature_trial
from glassgrad.diagnosis.measures.two_parts import parts_trial

SIGNAL = 3.0
"""A simple learner whose predictions go with the truth by less than three standard errors has found nothing."""

SIGNAL_ALONE = 4.0
"""... and a single input that explains the targets by so much more than the best one does of shuffled targets was not
shuffled: what is the best of many has a longer tail than what a learner says."""

RARE = 1 / 3
"""A class is rare that has less than this share of the rows of the most frequent one."""

RECALL = 0.6
"""Rare classes are neglected if they are recognized less than this many times as often as the frequent ones."""

MISCALIBRATED = 0.05
"""An expected calibration error beyond this, and beyond what chance gives, is worth a word."""

ALIKE = 0.6
"""Parts differ where a test row is told from a training row this often, and by four standard errors."""


def measure(subject: Subject) -> LossMeasurement:
    """See ``loss_measures``."""
    return measured(subject)


# --- judging -------------------------------------------------------------------------------------------------


def judge(measurement: LossMeasurement, subject: Subject) -> list[Fault]:
    """What may be wrong with the loss, its targets, and what it says of other rows."""
    m = measurement
    found: list[Fault] = []
    found += mismatch(m, subject)
    found += unsuitable(m, subject)
    found += _shuffled(m, subject)
    found += _imbalance(m)
    found += overfitting(m, subject)
    found += underfitting(m)
    found += regularization(m)
    found += _harmless(m)
    return found


def _shuffled(m: LossMeasurement, subject: Subject) -> list[Fault]:
    bar = min(LEARNED, 1 - 2.5 / math.sqrt(max(m.held_rows, 1)))  # few rows give the same by chance
    learned = m.left[1] < bar or (math.isfinite(m.best_share) and m.best_share < bar)
    if learned or m.simple.signal > SIGNAL:
        return []
    count = len(m.classes) if subject.classification else None
    alone = signal_of_one_input(*subject.train_rows, count)
    if alone > SIGNAL_ALONE:
        return []  # many inputs and few rows: it is there, though nobody finds it among the others
    evidence = {
        "validation_loss": m.validation.get("loss"),
        "constant_loss": m.constant,
        "left_validation": m.left[1],
        "signal_of_a_simple_learner": m.simple.signal,
        "signal_of_one_input": alone,
    }
    text = (
        "On rows that it was not trained on, the network does no better than a guess that looks at nothing, "
        "and neither "
        "does a simple learner."
    )
    source = "three standard errors of a correlation"
    return [
        Fault(
            "shuffled_labels", "targets", evidence, SIGNAL, source, SIGNAL / max(m.simple.signal, 1.0), text
        )
    ]


def _imbalance(m: LossMeasurement) -> list[Fault]:
    if len(m.counts) < 2 or m.reason is not None:
        return []
    rare = m.counts < RARE * m.counts.max()
    known = np.isfinite(m.recalls)
    if not (rare & known).any() or not (~rare & known).any():
        return []
    few, many = float(np.mean(m.recalls[rare & known])), float(np.mean(m.recalls[~rare & known]))
    if few >= RECALL * many:
        return []
    least = int(np.argmin(m.counts))
    evidence = {
        "largest_class": int(m.counts.max()),
        "smallest_class": int(m.counts.min()),
        "recall_of_rare_classes": few,
        "recall_of_frequent_classes": many,
    }
    text = (
        f"Rare classes, such as {m.classes[least]!r} with {m.counts[least] / m.counts.sum():.1%} of the rows, are "
        f"recognized in {few:.0%} of cases, and frequent ones in {many:.0%}."
    )
    source = "recall of rare classes as a share of that of frequent ones"
    strength = RECALL * many / max(few, 0.05)
    return [Fault("class_imbalance", "targets", evidence, RECALL, source, strength, text)]


def _harmless(m: LossMeasurement) -> list[Fault]:
    found = []
    c, parts = m.calibration, m.parts
    if c is not None and c.error > max(MISCALIBRATED, c.chance) and m.reason is None:
        sure = c.temperature > 1
        text = (
            f"The probabilities are {'surer' if sure else 'less sure'} than the network is right: they are off by "
            f"{c.error:.1%} on average."
        )
        evidence = {
            "expected_calibration_error": c.error,
            "by_chance": c.chance,
            "temperature": c.temperature,
        }
        source = "C. Guo et al., On calibration of modern neural networks, ICML 2017"
        found.append(
            Fault(
                "miscalibrated",
                "",
                evidence,
                MISCALIBRATED,
                source,
                c.error / max(MISCALIBRATED, c.chance),
                text,
            )
        )
    if parts is not None and parts.auc > max(ALIKE, 0.5 + 4 * parts.chance):
        evidence = {"auc": parts.auc, "largest_difference": float(np.abs(parts.differences).max())}
        text = (
            f"Test rows are drawn otherwise than training rows: a simple classifier tells them apart in "
            f"{parts.auc:.0%}."
        )
        source = "D. Lopez-Paz and M. Oquab, Revisiting classifier two-sample tests, ICLR 2017"
        strength = (parts.auc - 0.5) / (ALIKE - 0.5)
        found.append(Fault("different_parts", "test rows", evidence, ALIKE, source, strength, text))
    return found


# --- prescribing ---------------------------------------------------------------------------------------------


def prescribe(fault: Fault, measurement: LossMeasurement, subject: Subject) -> list[Change]:
    """The most promising changes first."""
    try:
        return _changes(fault, measurement, subject)
    except (InputError, GraphError):
        return []


def _changes(fault: Fault, m: LossMeasurement, subject: Subject) -> list[Change]:
    match fault.kind:
        case "loss_output_mismatch":
            return mismatch_cures(fault, subject)
        case "unsuitable_loss":
            return unsuitable_cures(fault, subject)
        case "class_imbalance":
            return [Change({"class_weight": "balanced"}, "Weigh the classes so that all count the same.")]
        case "overfitting":
            return overfitting_cures(m, subject)
        case "underfitting":
            return [Change(options, text) for options, text in widened(subject)]
        case "regularization_too_strong":
            return regularization_cures(m, subject)
    return []


def prove(fault: Fault, measurement: LossMeasurement, subject: Subject) -> Trial | None:
    """The experiments of the kinds that have no cure."""
    start = time.perf_counter()
    match fault.kind:
        case "shuffled_labels":
            needed = 2 * subject.trials.seconds({"layers": (64, 32), "epochs": 10})
            if not subject.clock.allows(needed, "training on shuffled targets"):
                return None
            return subject.trials.permutation()
        case "miscalibrated":
            features, targets = subject.validation_rows
            p = subject.run.model.loss.probabilities(
                subject.run.model.outputs_prepared(features).astype(np.float64)
            )
            return None if p is None else temperature_trial(p, targets, time.perf_counter() - start)
        case "different_parts":
            test = subject.task.parts.test
            if test is None:
                return None
            return parts_trial(subject.train_rows[0], test[0], time.perf_counter() - start)
    return None


# --- the answer ----------------------------------------------------------------------------------------------


def sentence(measurement: LossMeasurement, faults: Sequence[Fault]) -> str:
    """The answer for a beginner."""
    m = measurement
    confirmed = [fault for fault in faults if fault.verdict == "fault"]
    if confirmed:
        first = confirmed[0]
        if first.prescription is None or first.trial is None or first.trial.effect != "improves":
            if first.kind == "shuffled_labels":
                return (
                    first.sentence
                    + " A sound network learns shuffled targets just as well: there is nothing to learn."
                )
            return first.sentence
        before, after = first.trial.means
        was = f"from {before:.3g}" if math.isfinite(before) else "from nothing to compare with"
        named = first.trial.measure.replace("_", " ")
        return (
            f"{first.sentence} {first.prescription.sentence.rstrip('.')}: in trial that took the validation {named} "
            f"{was} to {after:.3g}."
        )
    reached = m.validation.get("loss", math.nan)
    if not math.isfinite(reached):
        return (
            f"A guess that looks at nothing has a loss of {m.constant:.3g}; the network gave no number to "
            f"compare with it."
        )
    left = m.left[1]
    share = (
        f", and leaves {left:.0%} of its mistakes"
        if "accuracy" in m.validation
        else f", and {left:.0%} of the variance is left"
    )
    if not math.isfinite(left):
        share = ""
    if left >= LEARNED:
        return (
            f"A guess that looks at nothing has a loss of {m.constant:.3g}, and the network {reached:.3g} on "
            f"rows that it "
            "was not trained on: it has learned next to nothing."
        )
    return (
        f"The loss is right for these targets: a guess that looks at nothing reaches {m.constant:.3g}, and "
        f"the network "
        f"{reached:.3g} on rows that it was not trained on{share}."
    )
