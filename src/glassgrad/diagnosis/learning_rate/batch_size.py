"""Batches that are too large for the data, or too small for a mean."""

from __future__ import annotations

from glassgrad.diagnosis.core.evidence import Intervention, Suspicion
from glassgrad.diagnosis.core.judging import GAIN
from glassgrad.diagnosis.core.kinds import Kind
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.learning_rate.measurement import FEWEST, HORIZON, USUAL_BATCH, LearningRate

FEW_STEPS = 6
"""A batch is large for the data if an epoch has no more than this many steps."""


def judge(m: LearningRate, subject: Subject) -> list[Suspicion]:
    """Steps that follow too few rows, or epochs of too few steps, where something is left to win."""
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
                f"Each step follows {m.batch} row{'s' * (m.batch > 1)} only, so it is mostly chance.",
            )
        ]
    if per_epoch <= FEW_STEPS and m.batch > USUAL_BATCH and m.steps[0] < HORIZON and left >= GAIN:
        return [
            Suspicion(
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


def prescribe(suspicion: Suspicion, m: LearningRate, subject: Subject) -> list[Intervention]:
    """The usual batch."""
    return [Intervention({"batch_size": USUAL_BATCH}, f"Use batches of {USUAL_BATCH} rows.")]


KIND = Kind(
    name="batch_size",
    question="learning_rate",
    meaning="there are too few steps in an epoch, or too few rows in a step",
    judge=judge,
    prescribe=prescribe,
    on_fewer_rows="undecidable",
    brings=("plateau", "underfitting", "too_few_epochs", "oscillation", "overfitting"),
)
