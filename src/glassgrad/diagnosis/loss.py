"""Is the loss right? What it measures, how low it can go, and whether it says the same of rows not seen before.

Measured (see ``loss_measures``): the loss beside that of a constant guess and, at the start, of outputs that say
nothing; one batch fitted on its own; the way of the validation loss; classes, probabilities and parts.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from glassgrad.common.errors import GraphError, InputError
from glassgrad.diagnosis.calibration import temperature_trial
from glassgrad.diagnosis.findings import Change, Fault, Trial
from glassgrad.diagnosis.loss_measures import LEAST_GAP, LossMeasurement, measured
from glassgrad.diagnosis.subject import Subject
from glassgrad.diagnosis.two_parts import parts_trial
from glassgrad.diagnosis.wider import dropping_out, ending_in, widened

LEARNED = 0.9
"""A network that leaves this share of the constant predictor's mistakes, or variance, has learned next to nothing."""

SIGNAL = 3.0
"""A simple learner whose predictions go with the truth by less than three standard errors has found nothing."""

RISE = 0.05
"""Overfitting: the validation loss rises by this share of the way from the guess to its lowest point, while the
training loss falls (L. Prechelt, Early stopping - but when?, 1998)."""

APART = 0.1
"""... or the validation loss ends this share of the way above the training loss, and further than another choice of
so few rows may put it: rows differ by about as much as the constant predictor's loss."""

LEFT = 0.05
"""A network that leaves less than this of the constant predictor's mistakes has nothing to gain from more freedom."""

NARROW = 16
"""Layers of fewer units than this are suspected where the network does not even fit its training rows."""

FALLING = 0.06
"""A run whose last third won more than this share of all it won is too short to tell what the network can fit."""

BEHIND = 1.1
"""A network is behind where it leaves this many times what least squares on random features leaves."""

SHRINKING = 0.3
"""Decoupled weight decay shrinks a weight that no gradient holds by exp(-x) over the run, x = rate * decay * steps:
to three quarters at this threshold (I. Loshchilov and F. Hutter, Decoupled weight decay regularization, ICLR
2019)."""

DROPOUT = 0.3
"""Dropout of more than this is suspected: a half is usual in layers of thousands of units (N. Srivastava et
al., 2014)."""

RARE = 1 / 3
"""A class is rare that has less than this share of the rows of the most frequent one."""

RECALL = 0.6
"""Rare classes are neglected if they are recognized less than this many times as often as the frequent ones."""

MISCALIBRATED = 0.05
"""An expected calibration error beyond this, and beyond what chance gives, is worth a word."""

ALIKE = 0.6
"""Parts differ where a test row is told from a training row this often, and by four standard errors."""

HEAVY = 0.5
"""Targets have outliers if a hundredth of the rows carries this share of their variance: 0.08 of a normal
distribution."""

LABELS = 0.5
"""Numbers are labels if reading them so leaves less than this share of the network's wrong values."""

TWO_VALUES = "targets of two values"

SMOOTH = 0.3
"""Label smoothing is a tenth as a rule (C. Szegedy et al., 2016)."""

USUAL_OUTPUT = {"log_probabilities": "log_softmax"}
CROSS_ENTROPIES = ("categorical_cross_entropy", "binary_cross_entropy", "negative_log_likelihood")


def measure(subject: Subject) -> LossMeasurement:
    """See ``loss_measures``."""
    return measured(subject)


# --- judging -------------------------------------------------------------------------------------------------


def judge(measurement: LossMeasurement, subject: Subject) -> list[Fault]:
    """What may be wrong with the loss, its targets, and what it says of other rows."""
    m = measurement
    found: list[Fault] = []
    found += _mismatch(m, subject)
    found += _unsuitable(m, subject)
    found += _shuffled(m)
    found += _imbalance(m)
    found += _overfitting(m)
    found += _underfitting(m)
    found += _regularization(m)
    found += _harmless(m)
    return found


def _mismatch(m: LossMeasurement, subject: Subject) -> list[Fault]:
    evidence = {
        "loss": m.loss,
        "output_activation": m.output,
        "loss_at_start": m.start,
        "expected_at_start": m.expected_start,
        "constant_loss": m.constant,
    }
    if m.reason is not None:
        source = "the range of the last activation against what the loss takes"
        text = f"Loss and output do not fit: {m.reason}."
        return [Fault("loss_output_mismatch", "", evidence, None, source, 10.0, text)]
    if m.as_labels is not None and m.as_labels.simple < LABELS * m.as_labels.own:
        own, simple = m.as_labels.own, m.as_labels.simple
        found = evidence | {"wrong_when_rounded": own, "wrong_of_a_simple_classifier": simple}
        text = (
            f"The targets are labels, but the loss treats them as quantities: rounded, {own:.0%} of the "
            f"predictions are "
            f"wrong, and a simple classifier errs in {simple:.0%}."
        )
        source = "share of wrong values that a simple classifier leaves"
        return [
            Fault(
                "loss_output_mismatch",
                "targets",
                found,
                LABELS,
                source,
                own * LABELS / max(simple, 0.01),
                text,
            )
        ]
    if _many_classes(m, subject):
        found = evidence | {"classes": len(m.classes), "rows": int(m.counts.sum())}
        text = f"The targets are {len(m.classes):,} different numbers, and the loss treats each of them as a class."
        return [Fault("loss_output_mismatch", "targets", found, None, "rows per class", 10.0, text)]
    expects = subject.run.model.loss.expects
    usual = USUAL_OUTPUT.get(expects, "identity")
    probabilities = subject.classification and expects == "values" and m.output in ("sigmoid", "softmax")
    if m.output != usual and not probabilities:
        text = f"The last layer ends in {m.output}, and loss {m.loss} takes any number: {usual} gives that."
        source = "what the loss takes"
        return [Fault("loss_output_mismatch", subject.network.output, evidence, None, source, 10.0, text)]
    return []


def _many_classes(m: LossMeasurement, subject: Subject) -> bool:
    """Numbers of which hardly two are equal are quantities."""
    labels = subject.task.parts.schema.classes or ()
    numbers = all(isinstance(label, int | float) and not isinstance(label, bool) for label in labels)
    return len(labels) > 20 and numbers and float(np.median(m.counts)) < 4


def _unsuitable(m: LossMeasurement, subject: Subject) -> list[Fault]:
    loss = subject.run.model.loss
    evidence: dict[str, Any] = {"loss": m.loss, "left_validation": m.left[1], "outlier_share": m.outliers}
    if m.reason is not None or m.left[1] < LEFT / 2:
        return []
    smoothing = getattr(loss, "label_smoothing", 0.0)
    if subject.classification:
        if m.loss not in CROSS_ENTROPIES or smoothing > SMOOTH:
            text = f"Loss {m.loss} does not measure how probable the right classes are; a cross-entropy does."
            if smoothing > SMOOTH:
                text = f"Label smoothing of {smoothing:g} asks the network to be unsure of what it knows."
            source = "maximum likelihood (C. Bishop, Pattern recognition and machine learning, 2006, 4.3)"
            return [Fault("unsuitable_loss", "", evidence, None, source, 1.0 + m.left[1], text)]
        return []
    if m.loss not in ("squared_error", "root_mean_squared_error") and loss.expects == "values":
        text = f"Loss {m.loss} aims at something else than the mean of the targets; the squared error aims at that."
        source = "the mean is what minimizes the squared error"
        return [Fault("unsuitable_loss", "", evidence, None, source, 1.0 + m.left[1], text)]
    if loss.expects == "log_rates" and not _counts(subject):
        text = f"Loss {m.loss} is for counts, and the targets are other numbers."
        return [Fault("unsuitable_loss", "", evidence, None, "whole numbers", 1.0 + m.left[1], text)]
    if m.as_labels is not None and m.as_labels.values == 2:
        text = (
            f"The targets are two values, and loss {m.loss} treats them as quantities; a cross-entropy asks how "
            "probable each of them is."
        )
        source = "maximum likelihood (C. Bishop, Pattern recognition and machine learning, 2006, 4.3)"
        return [Fault("unsuitable_loss", TWO_VALUES, evidence, None, source, 1.0 + m.left[1], text)]
    if m.outliers > HEAVY:
        text = (
            f"A hundredth of the rows carries {m.outliers:.0%} of the targets' variance: squares make "
            f"these few count most."
        )
        source = "P. Huber, Robust estimation of a location parameter, 1964"
        return [Fault("unsuitable_loss", "targets", evidence, HEAVY, source, m.outliers / HEAVY, text)]
    return []


def _counts(subject: Subject) -> bool:
    targets = subject.train_rows[1]
    return bool(np.allclose(targets, np.round(targets)))


def _shuffled(m: LossMeasurement) -> list[Fault]:
    bar = min(LEARNED, 1 - 2.5 / math.sqrt(max(m.held_rows, 1)))  # few rows give the same by chance
    learned = m.left[1] < bar or (math.isfinite(m.best_share) and m.best_share < bar)
    if learned or m.simple.signal > SIGNAL:
        return []
    evidence = {
        "validation_loss": m.validation.get("loss"),
        "constant_loss": m.constant,
        "left_validation": m.left[1],
        "signal_of_a_simple_learner": m.simple.signal,
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


def _overfitting(m: LossMeasurement) -> list[Fault]:
    won = max(m.constant - m.best_share * m.constant, LEAST_GAP * abs(m.constant))
    chance = abs(m.constant) / math.sqrt(max(m.held_rows, 1)) / won if won > 0 else math.inf
    strength = max(m.rise / RISE if m.falls else 0.0, m.apart / (APART + chance))
    nothing_left = m.left[1] < LEFT / 2 and m.validation.get("loss", math.inf) < LEFT * m.constant
    if not strength >= 1 or m.left[0] >= LEARNED or nothing_left:
        return []
    evidence = {
        "best_epoch": m.best + 1,
        "epochs": len(m.validation_curve),
        "rise": m.rise,
        "above_training": m.apart,
        "training_loss": float(m.train_curve[-1]),
        "validation_loss": float(m.validation_curve[-1]),
    }
    text = (
        f"On its training rows the network reaches a loss of {m.train_curve[-1]:.3g}, on others "
        f"{m.validation_curve[-1]:.3g}"
    )
    if m.rise >= RISE:
        text += f", and that has been rising since epoch {m.best + 1}"
    source = "rise of the validation loss, as a share of the way from the constant guess to its lowest point"
    return [Fault("overfitting", "", evidence, RISE, source, strength, text + ".")]


def _underfitting(m: LossMeasurement) -> list[Fault]:
    left, others = m.left
    if m.reason is not None or not left > LEFT:
        return []
    narrow = m.narrowest is None or m.narrowest < NARROW
    behind = others > BEHIND * m.simple.left and m.simple.left < LEARNED and left > 0.7 * others
    unfitted = m.batch is not None and m.batch.left > LEFT
    if not (narrow or behind) or not m.falling < FALLING:
        return []  # or too early to tell
    strength = float(np.clip(others / max(m.simple.left, 0.01) / BEHIND, 1.0, 10.0)) * (
        2.0 if unfitted else 1.0
    )
    evidence = {
        "left_training": left,
        "left_validation": others,
        "left_by_a_simple_learner": m.simple.left,
        "narrowest_layer": m.narrowest,
        "one_batch_left": None if m.batch is None else m.batch.left,
    }
    text = f"Even on its training rows the network leaves {left:.0%} of what a constant guess gets wrong"
    if narrow:
        has = (
            "it has no hidden layer"
            if m.narrowest is None
            else f"its narrowest layer has {m.narrowest} units"
        )
        text += f", and {has}"
    source = "least squares on random features, on the same rows (W. Schmidt et al., 1992)"
    return [Fault("underfitting", "", evidence, BEHIND, source, strength, text + ".")]


def _regularization(m: LossMeasurement) -> list[Fault]:
    decays, drops = m.shrinking / SHRINKING, m.dropout / DROPOUT
    if max(decays, drops) < 1 or not m.left[1] > LEFT / 2 or (m.apart > APART and m.left[0] < LEFT):
        return []
    evidence = {
        "weight_decay_over_the_run": m.shrinking,
        "dropout": m.dropout,
        "left_training": m.left[0],
        "left_validation": m.left[1],
    }
    what = []
    if decays >= 1:
        what.append(
            f"weight decay alone would shrink the weights to {math.exp(-m.shrinking):.1%} in this run"
        )
    if drops >= 1:
        what.append(f"dropout takes {m.dropout:.0%} of the units away in every step")
    text = (
        f"{' and '.join(what)}, while {m.left[0]:.0%} of the mistakes of a constant guess are left on "
        f"training rows."
    )
    source = "rate * decay * steps"
    return [
        Fault(
            "regularization_too_strong",
            "",
            evidence,
            SHRINKING if decays >= drops else DROPOUT,
            source,
            max(decays, drops),
            text[0].upper() + text[1:],
        )
    ]


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
    settings = subject.settings
    match fault.kind:
        case "loss_output_mismatch":
            return _fitting(fault, subject)
        case "unsuitable_loss":
            if fault.where == TWO_VALUES:
                return [
                    Change(ending_in(subject, "auto", "classification"), "Read the two values as classes.")
                ]
            if fault.where == "targets":
                return [
                    Change({"loss": "huber"}, "Use loss huber, in which outliers count by their size only.")
                ]
            named = "a cross-entropy" if subject.classification else "the squared error"
            return [Change(ending_in(subject, "auto"), f"Use {named} as loss, on outputs that it takes.")]
        case "class_imbalance":
            return [Change({"class_weight": "balanced"}, "Weigh the classes so that all count the same.")]
        case "overfitting":
            return _calmer(m, subject)
        case "underfitting":
            return [Change(options, text) for options, text in widened(subject)]
        case "regularization_too_strong":
            free: dict[str, Any] = {}
            if m.shrinking >= SHRINKING:
                free["weight_decay"] = 0.0
            lighter = []
            if m.dropout >= DROPOUT:
                free["dropout"] = 0.0
                lighter.append(Change({"dropout": 0.1}, "Take dropout down to 0.1."))
            if "weight_decay" in free:
                decay = settings.made.hyperparameters()["weight_decay"] / 30
                lighter.append(Change({"weight_decay": decay}, f"Take the weight decay down to {decay:.2g}."))
            named = " and ".join(name.replace("_", " ") for name in free)
            return [Change(free, f"Train without {named}."), *lighter]
    return []


def _fitting(fault: Fault, subject: Subject) -> list[Change]:
    """What makes loss, output and targets fit."""
    if fault.where == "targets":
        task = "regression" if subject.classification else "classification"
        named = "quantities" if task == "regression" else "classes"
        return [Change(ending_in(subject, "auto", task), f"Read the targets as {named} ({task}).")]
    found: list[dict[str, Any]] = []
    if subject.refusal is not None:
        found = [dict(options) for options in subject.refusal.cures or (subject.refusal.stand_in,)]
    expects = subject.run.model.loss.expects
    given = subject.settings.network is not None
    found.append({"output_activation": USUAL_OUTPUT.get(expects, "identity") if given else "auto"})
    found.append(ending_in(subject, "auto"))
    kept = [options for number, options in enumerate(found) if options and options not in found[:number]]
    return [Change(options, _said(options)) for options in kept]


def _said(options: dict[str, Any]) -> str:
    parts = []
    if "loss" in options:
        parts.append(
            "the loss that suits the targets" if options["loss"] == "auto" else f"loss {options['loss']}"
        )
    if "output_activation" in options:
        output = options["output_activation"]
        parts.append(
            "outputs that the loss takes" if output == "auto" else f"{output} as the last activation"
        )
    parts += [
        f"{name.replace('_', ' ')} {value}"
        for name, value in options.items()
        if name in ("scaling", "activation")
    ]
    if "network" in options and options["network"] is not None:
        parts.append("as many outputs as it needs")
    return f"Use {' and '.join(parts)}."


def _calmer(m: LossMeasurement, subject: Subject) -> list[Change]:
    """What keeps a network from learning its rows by heart."""
    found = []
    settings = subject.settings
    if settings.keep == "last" and m.rise >= RISE / 2:
        found.append(
            Change({"keep": "best"}, "Keep the weights of the epoch with the lowest validation loss.")
        )
    rate = settings.made.hyperparameters()
    if "weight_decay" in rate and rate["learning_rate"] > 0:
        strong = float(
            f"{float(np.clip(3 / (rate['learning_rate'] * max(subject.steps[1], 1)), 1e-3, 30)):.1g}"
        )
        if strong > rate["weight_decay"]:
            found.append(Change({"weight_decay": strong}, f"Use a weight decay of {strong:g}."))
    dropping = dropping_out(subject)
    if dropping is not None:
        found.append(Change(dropping, "Add dropout of 0.3 after every hidden layer."))
    if settings.network is None and settings.layers:
        fewer = tuple(max(units // 4, 4) for units in settings.layers)
        found.append(Change({"layers": fewer}, f"Use smaller layers: {', '.join(map(str, fewer))}."))
    return found


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
