"""A network that knows its training rows by heart."""

from __future__ import annotations

import math

import numpy as np

from glassgrad.diagnosis.core.evidence import Intervention, Suspicion
from glassgrad.diagnosis.core.judging import LARGE_GAIN, chance
from glassgrad.diagnosis.core.kinds import Kind
from glassgrad.diagnosis.core.other_networks import dropping_out
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.core.uninformative_inputs import uninformative_columns
from glassgrad.diagnosis.core.variants import columns
from glassgrad.diagnosis.loss.measurement import LEARNED, LEAST_GAP, LEFT, LossMeasurement

RISE = 0.05
"""Overfitting: the validation loss rises by this share of the way from the guess to its lowest point, while the
training loss falls (L. Prechelt, Early stopping - but when?, 1998)."""

APART = 0.1
"""... or the validation loss ends this share of the way above the training loss, and further than another choice of
so few rows may put it: rows differ by about as much as the constant predictor's loss. Where they are so few that this
alone is as much, runs on other choices of them are asked."""

SHOWN = 4
MOST = 0.5
"""Where more than this share of the inputs say nothing of the target, leaving them out comes first."""


def judge(m: LossMeasurement, subject: Subject) -> list[Suspicion]:
    """Validation loss that rises, or ends far above the training loss."""
    won = max(m.constant - m.best_share * m.constant, LEAST_GAP * abs(m.constant))
    by_chance = abs(m.constant) / math.sqrt(max(m.held_rows, 1)) / won if won > 0 else math.inf
    strength = max(m.rise / RISE if m.falls else 0.0, m.apart / (APART + by_chance))
    if strength < 1 and by_chance > APART:
        strength = max(strength, _apart_elsewhere(subject))
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
    return [Suspicion("", evidence, RISE, source, strength, text + ".")]


def _apart_elsewhere(subject: Subject) -> float:
    """How far validation losses end above training losses on the seeds of trials, against ``APART`` and chance."""
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
    """What keeps a network from learning its rows by heart."""
    fixes = []
    settings = subject.settings
    uninformative, known = (
        uninformative_columns(subject.task.parts, subject.dataset),
        columns(subject.dataset),
    )
    if MOST * len(known) < len(uninformative) < len(known):
        text = f"Leave out {len(uninformative)} of the {len(known)} inputs, which alone say nothing of the target: "
        named = ", ".join(uninformative[:SHOWN]) + (" ..." if len(uninformative) > SHOWN else "")
        fixes.append(
            Intervention(
                {"drop_inputs": list(uninformative)}, text + named + ".", {"drop_uninformative": True}
            )
        )
    if settings.keep == "last" and m.rise >= RISE / 2:
        fixes.append(
            Intervention({"keep": "best"}, "Keep the weights of the epoch with the lowest validation loss.")
        )
    rate = settings.resolved_optimizer.hyperparameters()
    if "weight_decay" in rate and rate["learning_rate"] > 0:
        strong = float(
            f"{float(np.clip(3 / (rate['learning_rate'] * max(subject.steps[1], 1)), 1e-3, 30)):.1g}"
        )
        if strong > rate["weight_decay"]:
            fixes.append(Intervention({"weight_decay": strong}, f"Use a weight decay of {strong:g}."))
    dropping = dropping_out(subject)
    if dropping is not None:
        fixes.append(Intervention(dropping, "Add dropout of 0.3 after every hidden layer."))
    if settings.network is None and settings.layers:
        fewer = tuple(max(units // 4, 4) for units in settings.layers)
        fixes.append(Intervention({"layers": fewer}, f"Use smaller layers: {', '.join(map(str, fewer))}."))
    return fixes


KIND = Kind(
    name="overfitting",
    question="loss",
    meaning="the network knows its training rows by heart and does worse and worse on others",
    judge=judge,
    prescribe=prescribe,
    relief=True,
    gain=LARGE_GAIN,
    on_fewer_rows="undecidable",
)
