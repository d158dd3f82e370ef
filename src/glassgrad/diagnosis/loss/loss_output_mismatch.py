"""A loss that does not fit the last activation, or the targets."""

from __future__ import annotations

from typing import Any

import numpy as np

from glassgrad.diagnosis.core.evidence import Intervention, Suspicion
from glassgrad.diagnosis.core.kinds import Kind
from glassgrad.diagnosis.core.other_networks import ending_in
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.loss.measurement import LossMeasurement

LABELS = 0.5
"""Numbers are labels if reading them so leaves less than this share of the network's wrong values."""

USUAL_OUTPUT = {"log_probabilities": "log_softmax"}


def judge(m: LossMeasurement, subject: Subject) -> list[Suspicion]:
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
        return [Suspicion("", evidence, None, source, 10.0, text)]
    if m.as_labels is not None and m.as_labels.simple < LABELS * m.as_labels.own:
        own, simple = m.as_labels.own, m.as_labels.simple
        numbers = evidence | {"wrong_when_rounded": own, "wrong_of_a_simple_classifier": simple}
        text = (
            f"The targets are labels, but the loss treats them as quantities: rounded, {own:.0%} of the "
            f"predictions are "
            f"wrong, and a simple classifier errs in {simple:.0%}."
        )
        source = "share of wrong values that a simple classifier leaves"
        return [
            Suspicion(
                "targets",
                numbers,
                LABELS,
                source,
                own * LABELS / max(simple, 0.01),
                text,
            )
        ]
    if _many_classes(m, subject):
        numbers = evidence | {"classes": len(m.classes), "rows": int(m.counts.sum())}
        text = f"The targets are {len(m.classes):,} different numbers, and the loss treats each of them as a class."
        return [Suspicion("targets", numbers, None, "rows per class", 10.0, text)]
    expects = subject.run.model.loss.expects
    usual = USUAL_OUTPUT.get(expects, "identity")
    probabilities = subject.classification and expects == "values" and m.output in ("sigmoid", "softmax")
    if m.output != usual and not probabilities:
        text = f"The last layer ends in {m.output}, and loss {m.loss} takes any number: {usual} gives that."
        source = "what the loss takes"
        return [Suspicion(subject.network.output, evidence, None, source, 10.0, text)]
    return []


def _many_classes(m: LossMeasurement, subject: Subject) -> bool:
    """Numbers of which hardly two are equal are quantities."""
    labels = subject.task.parts.schema.classes or ()
    numbers = all(isinstance(label, int | float) and not isinstance(label, bool) for label in labels)
    return len(labels) > 20 and numbers and float(np.median(m.counts)) < 4


def prescribe(suspicion: Suspicion, m: LossMeasurement, subject: Subject) -> list[Intervention]:
    """What makes loss, output and targets fit."""
    if suspicion.where == "targets":
        task = "regression" if subject.classification else "classification"
        named = "quantities" if task == "regression" else "classes"
        return [Intervention(ending_in(subject, "auto", task), f"Read the targets as {named} ({task}).")]
    candidates: list[dict[str, Any]] = []
    if subject.refusal is not None:
        candidates = [dict(options) for options in subject.refusal.fixes or (subject.refusal.stand_in,)]
    expects = subject.run.model.loss.expects
    layer_by_layer = subject.settings.network is not None
    candidates.append(
        {"output_activation": USUAL_OUTPUT.get(expects, "identity") if layer_by_layer else "auto"}
    )
    candidates.append(ending_in(subject, "auto"))
    distinct = [
        options for number, options in enumerate(candidates) if options and options not in candidates[:number]
    ]
    return [Intervention(options, _sentence(options)) for options in distinct]


def _sentence(options: dict[str, Any]) -> str:
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


KIND = Kind(
    name="loss_output_mismatch",
    question="loss",
    meaning="the last activation does not give what the loss takes, or the loss is not for this kind of target",
    judge=judge,
    prescribe=prescribe,
    mechanism=True,
    refused_for="loss",
    brings=("stuck", "flow", "wild", "unsuitable_loss"),
)
