"""Does the loss suit the last activation and the targets? What does not fit, and what would."""

from __future__ import annotations

from typing import Any

import numpy as np

from glassgrad.diagnosis.core.findings import Change, Fault
from glassgrad.diagnosis.core.other_networks import ending_in
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.loss.measurement import LEFT, LossMeasurement

HEAVY = 0.5
"""Targets have outliers if a hundredth of the rows carries this share of their variance: 0.08 of a normal
distribution."""

LABELS = 0.5
"""Numbers are labels if reading them so leaves less than this share of the network's wrong values."""

SMOOTH = 0.3
"""Label smoothing is a tenth as a rule (C. Szegedy et al., 2016)."""

TWO_VALUES = "targets of two values"

USUAL_OUTPUT = {"log_probabilities": "log_softmax"}
CROSS_ENTROPIES = ("categorical_cross_entropy", "binary_cross_entropy", "negative_log_likelihood")


def mismatch(m: LossMeasurement, subject: Subject) -> list[Fault]:
    """Outputs that the loss does not take, and targets of another kind than it is for."""
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


def unsuitable(m: LossMeasurement, subject: Subject) -> list[Fault]:
    """A loss that can be trained, and measures something else."""
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


def unsuitable_cures(fault: Fault, subject: Subject) -> list[Change]:
    """A loss that measures what matters."""
    if fault.where == TWO_VALUES:
        return [Change(ending_in(subject, "auto", "classification"), "Read the two values as classes.")]
    if fault.where == "targets":
        return [Change({"loss": "huber"}, "Use loss huber, in which outliers count by their size only.")]
    named = "a cross-entropy" if subject.classification else "the squared error"
    return [Change(ending_in(subject, "auto"), f"Use {named} as loss, on outputs that it takes.")]


def mismatch_cures(fault: Fault, subject: Subject) -> list[Change]:
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
