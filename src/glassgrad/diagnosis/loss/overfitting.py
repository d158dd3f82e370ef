"""A network that has memorized its training rows."""

from __future__ import annotations

import math

import numpy as np

from glassgrad.diagnosis.core.evidence import Intervention, Suspicion
from glassgrad.diagnosis.core.judging import LARGE_GAIN, chance
from glassgrad.diagnosis.core.kinds import Kind
from glassgrad.diagnosis.core.other_networks import with_dropout
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.core.uninformative_inputs import uninformative_columns
from glassgrad.diagnosis.core.variants import columns
from glassgrad.diagnosis.loss.measurement import LEARNED, LEAST_GAP, LEFT, LossMeasurement

RISE = 0.05
"""Overfitting: the validation loss rises by this share of the gap from the baseline to its lowest point, while the
training loss falls (L. Prechelt, Early stopping - but when?, 1998)."""

APART = 0.1
"""Overfitting: the validation loss ends this share of the gap above the training loss, plus the sampling error of the
validation rows. The losses of rows are assumed to vary by about the baseline's loss. If the sampling error exceeds
this share, runs on other splits decide."""

SHOWN = 4
MOST = 0.5
"""If more than this share of the inputs is uninformative, the first fix is to drop them."""


def judge(m: LossMeasurement, subject: Subject) -> list[Suspicion]:
    """A validation loss that rises, or ends far above the training loss."""
    gap = max(m.constant - m.best_share * m.constant, LEAST_GAP * abs(m.constant))
    by_chance = abs(m.constant) / math.sqrt(max(m.held_rows, 1)) / gap if gap > 0 else math.inf
    strength = max(m.rise / RISE if m.falls else 0.0, m.apart / (APART + by_chance))
    if strength < 1 and by_chance > APART:
        strength = max(strength, _apart_elsewhere(subject))
    is_solved = m.left[1] < LEFT / 2 and m.validation.get("loss", math.inf) < LEFT * m.constant
    if not strength >= 1 or m.left[0] >= LEARNED or is_solved:
        return []
    evidence = {
        "best_epoch": m.best + 1,
        "epochs": len(m.validation_curve),
        "rise": m.rise,
        "above_training": m.apart,
        "training_loss": float(m.train_curve[-1]),
        "validation_loss": float(m.validation_curve[-1]),
    }
    train_loss, validation_loss = m.train_curve[-1], m.validation_curve[-1]
    text = f"The loss is {train_loss:.3g} on training rows, but {validation_loss:.3g} on validation rows"
    if m.rise >= RISE:
        text += f", where it has been rising since epoch {m.best + 1}"
    source = "rise of the validation loss, as a share of the gap from the baseline to its lowest point"
    return [Suspicion("", evidence, RISE, source, strength, text + ".")]


def _apart_elsewhere(subject: Subject) -> float:
    """The distance of validation and training losses on the seeds of trials, relative to ``APART`` plus noise."""
    trials = subject.trials
    if not subject.clock.allows(trials.seconds({})):
        return 0.0
    distances = []
    for outcome in trials.run([{}])[0]:
        if outcome is None or outcome.diverged:
            return 0.0
        held, constant = outcome.score("loss"), outcome.constant["loss"]
        distances.append((held - outcome.training["loss"]) / max(constant - held, LEAST_GAP * abs(constant)))
    return float(np.mean(distances)) / (APART + chance(np.asarray(distances)))


def prescribe(suspicion: Suspicion, m: LossMeasurement, subject: Subject) -> list[Intervention]:
    """Changes that reduce overfitting."""
    fixes = []
    settings = subject.settings
    uninformative = uninformative_columns(subject.task.parts, subject.dataset)
    column_names = columns(subject.dataset)
    if MOST * len(column_names) < len(uninformative) < len(column_names):
        text = (
            f"Drop the {len(uninformative)} of {len(column_names)} inputs that are unrelated to the target: "
        )
        shown = ", ".join(uninformative[:SHOWN]) + (" ..." if len(uninformative) > SHOWN else "")
        fixes.append(
            Intervention(
                {"drop_inputs": list(uninformative)}, text + shown + ".", {"drop_uninformative": True}
            )
        )
    if settings.keep == "last" and m.rise >= RISE / 2:
        fixes.append(
            Intervention({"keep": "best"}, "Keep the weights of the epoch with the lowest validation loss.")
        )
    hyperparameters = settings.resolved_optimizer.hyperparameters()
    if "weight_decay" in hyperparameters and hyperparameters["learning_rate"] > 0:
        strong = float(
            f"{float(np.clip(3 / (hyperparameters['learning_rate'] * max(subject.steps[1], 1)), 1e-3, 30)):.1g}"
        )
        if strong > hyperparameters["weight_decay"]:
            fixes.append(Intervention({"weight_decay": strong}, f"Use a weight decay of {strong:g}."))
    dropout = with_dropout(subject)
    if dropout is not None:
        fixes.append(Intervention(dropout, "Add dropout of 0.3 after every hidden layer."))
    if settings.network is None and settings.layers:
        fewer = tuple(max(units // 4, 4) for units in settings.layers)
        fixes.append(Intervention({"layers": fewer}, f"Use smaller layers: {', '.join(map(str, fewer))}."))
    return fixes


KIND = Kind(
    name="overfitting",
    question="loss",
    meaning="the network memorizes its training rows and does worse on others",
    judge=judge,
    prescribe=prescribe,
    relief=True,
    gain=LARGE_GAIN,
    on_fewer_rows="undecidable",
)
