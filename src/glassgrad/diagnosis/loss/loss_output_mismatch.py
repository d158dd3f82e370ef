"""A loss that does not fit the output activation or the targets."""

from __future__ import annotations

from typing import Any

import numpy as np

from glassgrad.diagnosis.core.evidence import Intervention, Suspicion
from glassgrad.diagnosis.core.kinds import Kind
from glassgrad.diagnosis.core.other_networks import ending_in
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.loss.measurement import LossMeasurement

LABELS = 0.5
"""Numbers are labels if a simple classifier makes less than this share of the network's mistakes."""

USUAL_OUTPUT = {"log_probabilities": "log_softmax"}


def judge(m: LossMeasurement, subject: Subject) -> list[Suspicion]:
    """Outputs that the loss does not accept, and targets of the wrong kind for it."""
    evidence = {
        "loss": m.loss,
        "output_activation": m.output,
        "loss_at_start": m.start,
        "expected_at_start": m.expected_start,
        "constant_loss": m.constant,
    }
    if m.reason is not None:
        source = "range of the output activation compared with what the loss accepts"
        text = f"The loss does not fit the outputs: {m.reason}."
        return [Suspicion("", evidence, None, source, 10.0, text)]
    if m.as_labels is not None and m.as_labels.simple < LABELS * m.as_labels.rounded:
        rounded, simple = m.as_labels.rounded, m.as_labels.simple
        numbers = evidence | {"wrong_when_rounded": rounded, "wrong_of_a_simple_classifier": simple}
        text = (
            f"The targets are labels, but the loss treats them as quantities: {rounded:.0%} of the rounded "
            f"predictions are wrong, and a simple classifier errs in {simple:.0%} of cases."
        )
        source = "mistakes of a simple classifier as a share of the network's"
        return [
            Suspicion(
                "targets",
                numbers,
                LABELS,
                source,
                rounded * LABELS / max(simple, 0.01),
                text,
            )
        ]
    if _many_classes(m, subject):
        numbers = evidence | {"classes": len(m.classes), "rows": int(m.counts.sum())}
        text = f"The targets are {len(m.classes):,} different numbers, but the loss treats each of them as a class."
        return [Suspicion("targets", numbers, None, "rows per class", 10.0, text)]
    expects = subject.run.model.loss.expects
    usual = USUAL_OUTPUT.get(expects, "identity")
    probabilities = subject.classification and expects == "values" and m.output in ("sigmoid", "softmax")
    if m.output != usual and not probabilities:
        text = f"The output activation is {m.output}, but loss {m.loss} needs {usual}."
        source = "what the loss accepts"
        return [Suspicion(subject.network.output, evidence, None, source, 10.0, text)]
    return []


def _many_classes(m: LossMeasurement, subject: Subject) -> bool:
    """Whether the classes are numbers with hardly any repetition, and so quantities."""
    labels = subject.task.parts.schema.classes or ()
    numbers = all(isinstance(label, int | float) and not isinstance(label, bool) for label in labels)
    return len(labels) > 20 and numbers and float(np.median(m.counts)) < 4


def prescribe(suspicion: Suspicion, m: LossMeasurement, subject: Subject) -> list[Intervention]:
    """Changes that make the loss fit the outputs and the targets."""
    if suspicion.where == "targets":
        task = "regression" if subject.classification else "classification"
        target_kind = "quantities" if task == "regression" else "classes"
        return [
            Intervention(ending_in(subject, "auto", task), f"Read the targets as {target_kind} ({task}).")
        ]
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
            "the output activation that suits the loss"
            if output == "auto"
            else f"the output activation {output}"
        )
    parts += [
        f"{name.replace('_', ' ')} {value}"
        for name, value in options.items()
        if name in ("scaling", "activation")
    ]
    if "network" in options and options["network"] is not None:
        parts.append("as many outputs as the loss needs")
    return f"Use {' and '.join(parts)}."


KIND = Kind(
    name="loss_output_mismatch",
    question="loss",
    meaning="the loss does not accept the outputs of the network, or is not made for this kind of target",
    judge=judge,
    prescribe=prescribe,
    mechanism=True,
    refused_for="loss",
    brings=("stuck", "flow", "wild", "unsuitable_loss"),
)
