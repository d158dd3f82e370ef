"""Unusual settings of the optimizer, each with the fix that resets it.

A setting is unusual if it differs much from its default, or acts on most steps although it is meant for few. A trial
of the reset shows whether it matters.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from glassgrad.diagnosis.core.evidence import Intervention
from glassgrad.optim.optimizers import OPTIMIZERS
from glassgrad.optim.schedules import schedule
from glassgrad.training.lenses import Lenses
from glassgrad.training.settings import Settings

Floats = npt.NDArray[np.float64]

MEMORY = 2.0
"""A mean over past steps is unusual if its memory, 1 / (1 - beta), is this many times the default: 0.9 has 10 steps.
More memory pays off only with tuned schedules (I. Sutskever et al., On the importance of initialization
and momentum in deep learning, ICML 2013)."""

LONG_MEMORY = 4.0
"""Like ``MEMORY``, for means of squares, which are long by default: 0.999 has 1000 steps."""

FEW = 5.0
"""A mean of fewer squares than this is mostly noise, and shorter than the mean of gradients that it divides (Adam
needs beta1 < sqrt(beta2): Y. Zhang et al., Adam can converge without any modification, NeurIPS 2022)."""

LONGEST = 0.5
"""A memory longer than this share of the run never warms up."""

CLIPPED = 0.3
"""Clipping is meant for rare steps: a limit below this share of the median gradient norm clips nearly every step (R.
Pascanu, T. Mikolov and Y. Bengio, On the difficulty of training recurrent neural networks, ICML 2013, propose half to
ten times the average norm)."""

DAMPED = 0.1
"""An epsilon above this share of a typical gradient dominates the divisor, instead of only preventing division by
0."""

SPENT = 0.3
"""A schedule is unusual if its mean factor over the run is below this; cosine and one-cycle have one half."""

USUAL_MOMENTUM = 0.9


@dataclass(frozen=True)
class UnusualSetting:
    """An unusual setting: ``strength`` as in ``Suspicion``, the most promising of ``fixes`` first."""

    name: str
    value: Any
    usual: Any
    evidence: Mapping[str, Any]
    threshold: float
    source: str
    strength: float
    sentence: str
    fixes: tuple[Intervention, ...]


def unusual_settings(
    settings: Settings, lenses: Lenses | None, *, weights: int, steps: int, per_epoch: int
) -> list[UnusualSetting]:
    """All unusual settings, the strongest first.

    ``weights`` is the number of weights, ``steps`` the number of steps of the run, and ``per_epoch`` of an epoch.
    """
    typical = typical_gradient(lenses, weights)
    unusual = [
        *_memories(settings, steps),
        *_clipping(settings, typical),
        *_epsilon(settings, typical),
        *_schedule(settings, steps, per_epoch),
    ]
    return sorted(unusual, key=lambda setting: -setting.strength)


def factors(settings: Settings, steps: int, per_epoch: int) -> Floats:
    """The schedule's factors of the rate [steps], assuming that the validation loss falls in every epoch."""
    losses = [float(-epoch) for epoch in range(-(-steps // max(per_epoch, 1)) + 1)]
    return schedule(settings.schedule).factors(
        np.arange(steps), total_steps=max(steps, 1), steps_per_epoch=per_epoch, validation_losses=losses
    )


def _memories(settings: Settings, steps: int) -> Iterator[UnusualSetting]:
    """Momentum and betas with a memory far longer, or shorter, than usual."""
    optimizer = settings.resolved_optimizer
    for name in ("momentum", "beta1", "beta2", "decay"):
        value = optimizer.options().get(name)
        if not isinstance(value, float | int) or isinstance(value, bool):
            continue
        usual = USUAL_MOMENTUM if name == "momentum" else optimizer.default(name)
        if usual is None or math.isclose(value, usual):
            continue
        memory, usual_memory = 1 / (1 - value), 1 / (1 - usual)
        squares = name in ("beta2", "decay")
        allowed = LONG_MEMORY if squares else MEMORY
        ratio = memory / usual_memory
        strength = ratio / allowed
        if squares:
            # A long memory is harmless if the run is longer. A memory of a few steps is mostly noise.
            strength = max(strength if memory > LONGEST * steps else 0.0, FEW / memory)
        if strength <= 1:
            continue
        fixes = [_reset(settings, name, usual)]
        if name == "momentum":
            fixes.append(_reset(settings, name, 0.0))
        yield UnusualSetting(
            name,
            value,
            usual,
            {name: value, "usual": usual, "steps_remembered": memory, "steps": steps},
            FEW if memory < FEW else allowed,
            f"a memory of 1 / (1 - {name}) steps, {allowed:g} times the usual one"
            if ratio > 1
            else "a mean of so few squares is mostly noise",
            strength,
            f"With {name} {value:g}, each step averages over {memory:,.0f} steps; {usual_memory:,.0f} is usual.",
            tuple(fixes),
        )


def _clipping(settings: Settings, typical: tuple[float, float] | None) -> Iterator[UnusualSetting]:
    """Clipping limits that most gradients exceed."""
    if typical is None:
        return
    for name, size in zip(("clip_norm", "clip_value"), typical, strict=True):
        limit = getattr(settings, name)
        if limit is None or not size > 0:
            continue
        strength = CLIPPED * size / limit
        if strength <= 1:
            continue
        yield UnusualSetting(
            name,
            limit,
            None,
            {name: limit, "typical_gradient": size, "share": limit / size},
            CLIPPED,
            "clipping is meant for rare steps (Pascanu et al. 2013 propose half to ten times the average norm)",
            strength,
            f"{name} {limit:g} clips nearly every gradient: their typical size is {size:.3g}.",
            (Intervention({name: None}, f"Remove {name}."),),
        )


def _epsilon(settings: Settings, typical: tuple[float, float] | None) -> Iterator[UnusualSetting]:
    """An epsilon that is large compared to the typical gradient."""
    optimizer = settings.resolved_optimizer
    value, usual = optimizer.options().get("epsilon"), optimizer.default("epsilon")
    if value is None or usual is None or value <= 10 * usual or typical is None:
        return
    size = typical[1]
    strength = value / (DAMPED * size) if size > 0 else math.inf
    if strength > 1:
        yield UnusualSetting(
            "epsilon",
            value,
            usual,
            {"epsilon": value, "usual": usual, "typical_gradient": size},
            DAMPED,
            "epsilon only prevents division by 0 (Kingma and Ba 2015: 1e-8)",
            min(strength, 1e6),
            f"epsilon {value:g} is large compared to the gradients (typical size {size:.2g}): it shrinks the steps.",
            (_reset(settings, "epsilon", usual),),
        )


def _schedule(settings: Settings, steps: int, per_epoch: int) -> Iterator[UnusualSetting]:
    """A schedule with a low mean factor."""
    if steps <= 0:
        return
    rates = factors(settings, steps, per_epoch)
    mean = float(rates.mean())
    if mean < SPENT:
        yield UnusualSetting(
            "schedule",
            settings.schedule,
            Settings.schedule,
            {"mean_factor": mean, "last_factor": float(rates[-1]), "largest_factor": float(rates.max())},
            SPENT,
            "cosine and one-cycle have a mean of one half",
            min(SPENT / max(mean, 1e-9), 1e6),
            f"The schedule reduces the learning rate to {mean:.2g} times its value on average over the run, "
            f"and to {rates[-1]:.2g} times at the end.",
            tuple(
                Intervention({"schedule": usual}, f"Use the schedule {usual!r}.")
                for usual in dict.fromkeys((Settings.schedule, "constant"))
            ),
        )


def typical_gradient(lenses: Lenses | None, weights: int) -> tuple[float, float] | None:
    """The typical gradient in the first half of the run; None without lenses.

    It is the median norm of the gradient of all ``weights`` weights, and the root mean square per weight.
    """
    layers = lenses.layers("gradient_norm") if lenses is not None and len(lenses) else ()
    if lenses is None or not layers:
        return None
    squares = np.sum([lenses["gradient_norm", layer].astype(np.float64) ** 2 for layer in layers], axis=0)
    squares = squares[: max(len(squares) // 2, 1)]
    squares = squares[np.isfinite(squares)]
    if not len(squares):
        return None
    norm = float(np.sqrt(np.median(squares)))
    return norm, norm / math.sqrt(max(weights, 1))


def _reset(settings: Settings, name: str, value: float) -> Intervention:
    """The same optimizer with one number changed."""
    optimizer: Any = settings.resolved_optimizer
    sentence = f"Set {name} back to {value:g}." if value else f"Remove {name}."
    if name == "momentum":
        return Intervention({"momentum": value}, sentence)
    config = {**OPTIMIZERS.config(replace(optimizer, **{name: value}))}
    return Intervention({"optimizer": config, "learning_rate": optimizer.learning_rate}, sentence)
