"""Batches that are too large for the data, or too small for a stable gradient."""

from __future__ import annotations

from glassgrad.diagnosis.core.evidence import Intervention, Suspicion
from glassgrad.diagnosis.core.judging import GAIN
from glassgrad.diagnosis.core.kinds import Kind
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.learning_rate.measurement import FEWEST, HORIZON, USUAL_BATCH, LearningRate

FEW_STEPS = 6
"""A batch is too large for the data if an epoch has at most this many steps."""


def judge(m: LearningRate, subject: Subject) -> list[Suspicion]:
    """Batches of too few rows, or epochs of too few steps, if the loss can still improve."""
    per_epoch = m.per_epoch
    evidence = {"batch_size": m.batch, "steps_per_epoch": per_epoch, "steps": m.steps[0]}
    left = m.left
    if m.batch < FEWEST and m.rows > USUAL_BATCH and (left >= GAIN or m.diverged):
        return [
            Suspicion(
                "",
                evidence,
                FEWEST,
                "the noise of a mean over n rows falls as 1 / sqrt(n)",
                FEWEST / m.batch,
                f"Each step uses only {m.batch} row{'s' * (m.batch > 1)}, so its gradient is mostly noise.",
            )
        ]
    if per_epoch <= FEW_STEPS and m.batch > USUAL_BATCH and m.steps[0] < HORIZON and left >= GAIN:
        return [
            Suspicion(
                "",
                evidence,
                FEW_STEPS,
                "an epoch of so few steps makes little use of its rows",
                FEW_STEPS / per_epoch,
                f"With a batch of {m.batch:,} rows, an epoch has only {per_epoch} step{'s' * (per_epoch > 1)}, and "
                f"the whole run {m.steps[0]:,}.",
            )
        ]
    return []


def prescribe(suspicion: Suspicion, m: LearningRate, subject: Subject) -> list[Intervention]:
    """The usual batch size."""
    return [Intervention({"batch_size": USUAL_BATCH}, f"Use batches of {USUAL_BATCH} rows.")]


KIND = Kind(
    name="batch_size",
    question="learning_rate",
    meaning="an epoch has too few steps, or a step too few rows",
    judge=judge,
    prescribe=prescribe,
    on_fewer_rows="undecidable",
    brings=("plateau", "underfitting", "too_few_epochs", "oscillation", "overfitting"),
)
