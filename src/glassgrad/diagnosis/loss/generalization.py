"""Does the network say the same of rows not seen before? Overfitting, underfitting, and what holds it back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from glassgrad.diagnosis.core.findings import Change, Fault
from glassgrad.diagnosis.core.judging import chance
from glassgrad.diagnosis.core.other_networks import dropping_out
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.core.uninformative_inputs import idle_columns
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
IDLE = 0.5
"""Where more than this share of the inputs say nothing of the target, leaving them out comes first."""

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


def overfitting(m: LossMeasurement, subject: Subject) -> list[Fault]:
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
    return [Fault("overfitting", "", evidence, RISE, source, strength, text + ".")]


def _apart_elsewhere(subject: Subject) -> float:
    """How far validation losses end above training losses on the seeds of trials, against ``APART`` and chance."""
    trials = subject.trials
    if not subject.clock.allows(trials.seconds({})):
        return 0.0
    found = []
    for outcome in trials.run([{}])[0]:
        if outcome is None or outcome.diverged:
            return 0.0
        held, constant = outcome.score("loss"), outcome.constant["loss"]
        found.append((held - outcome.training["loss"]) / max(constant - held, LEAST_GAP * abs(constant)))
    return float(np.mean(found)) / (APART + chance(np.asarray(found)))


def underfitting(m: LossMeasurement) -> list[Fault]:
    """Training rows that are not fitted, by a narrow network or one that a simple learner beats."""
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


def regularization(m: LossMeasurement) -> list[Fault]:
    """Weight decay or dropout that takes more away than training puts in."""
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


def regularization_cures(m: LossMeasurement, subject: Subject) -> list[Change]:
    """None of it, or much less."""
    free: dict[str, Any] = {}
    if m.shrinking >= SHRINKING:
        free["weight_decay"] = 0.0
    lighter = []
    if m.dropout >= DROPOUT:
        free["dropout"] = 0.0
        lighter.append(Change({"dropout": 0.1}, "Take dropout down to 0.1."))
    if "weight_decay" in free:
        decay = subject.settings.made.hyperparameters()["weight_decay"] / 30
        lighter.append(Change({"weight_decay": decay}, f"Take the weight decay down to {decay:.2g}."))
    named = " and ".join(name.replace("_", " ") for name in free)
    return [Change(free, f"Train without {named}."), *lighter]


def overfitting_cures(m: LossMeasurement, subject: Subject) -> list[Change]:
    """What keeps a network from learning its rows by heart."""
    found = []
    settings = subject.settings
    idle, known = idle_columns(subject.task.parts, subject.dataset), columns(subject.dataset)
    if IDLE * len(known) < len(idle) < len(known):
        text = f"Leave out {len(idle)} of the {len(known)} inputs, which alone say nothing of the target: "
        named = ", ".join(idle[:SHOWN]) + (" ..." if len(idle) > SHOWN else "")
        found.append(Change({"drop_inputs": list(idle)}, text + named + ".", {"drop_idle": True}))
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
