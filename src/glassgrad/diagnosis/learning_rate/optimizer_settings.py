"""Settings of the optimizer that stand out, and the way back to what is usual: for each one the fix to try.

The principle is one for all: what differs from its default by much, or acts on most steps although it is meant for
few, is put back, and the trial says whether it mattered.
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
"""A mean over past steps is unusual from twice as many steps of memory as by default on, 1 / (1 - beta): 0.9 has 10
steps. Heavier memory pays off with tuned schedules only (I. Sutskever et al., On the importance of initialization
and momentum in deep learning, ICML 2013)."""

LONG_MEMORY = 4.0
"""The same for means of squares, which are meant to be long: 0.999 remembers 1000 steps."""

FEW = 5.0
"""A mean of fewer squares than this is mostly chance, and shorter than the mean of gradients that it divides (Adam
needs beta1 < sqrt(beta2): Y. Zhang et al., Adam can converge without any modification, NeurIPS 2022)."""

LONGEST = 0.5
"""A memory of more than this share of the run never gets past its beginning."""

CLIPPED = 0.3
"""Clipping is meant for rare steps: a limit below this share of the median gradient cuts nearly every one of them
(R. Pascanu, T. Mikolov and Y. Bengio, On the difficulty of training recurrent neural networks, ICML 2013, propose
half to ten times the average norm)."""

DAMPED = 0.1
"""An epsilon beyond this share of a typical gradient no more guards against division by 0: it is the divisor."""

SPENT = 0.3
"""A schedule whose mean factor over the run is below this spends most steps at a small part of the rate: cosine and
one-cycle have one half."""

USUAL_MOMENTUM = 0.9


@dataclass(frozen=True)
class Odd:
    """A setting that stands out: ``strength`` as in ``Fault``, the most promising of ``fixes`` first."""

    name: str
    value: Any
    usual: Any
    evidence: Mapping[str, Any]
    threshold: float
    source: str
    strength: float
    sentence: str
    fixes: tuple[Intervention, ...]


def odd_settings(
    settings: Settings, lenses: Lenses | None, *, weights: int, steps: int, per_epoch: int
) -> list[Odd]:
    """What stands out, the strongest first.

    ``weights`` is the number of weights, ``steps`` that of the steps of the run, ``per_epoch`` of an epoch.
    """
    typical = typical_gradient(lenses, weights)
    found = [
        *_memories(settings, steps),
        *_clipping(settings, typical),
        *_epsilon(settings, typical),
        *_schedule(settings, steps, per_epoch),
    ]
    return sorted(found, key=lambda odd: -odd.strength)


def factors(settings: Settings, steps: int, per_epoch: int) -> Floats:
    """What the schedule multiplies the rate by, step by step; as if the validation loss always fell."""
    losses = [float(-epoch) for epoch in range(-(-steps // max(per_epoch, 1)) + 1)]
    return schedule(settings.schedule).factors(
        np.arange(steps), total_steps=max(steps, 1), steps_per_epoch=per_epoch, validation_losses=losses
    )


def _memories(settings: Settings, steps: int) -> Iterator[Odd]:
    """Momentum and betas that remember far longer, or shorter, than usual."""
    made = settings.resolved_optimizer
    for name in ("momentum", "beta1", "beta2", "decay"):
        value = made.options().get(name)
        if not isinstance(value, float | int) or isinstance(value, bool):
            continue
        usual = USUAL_MOMENTUM if name == "momentum" else made.default(name)
        if usual is None or math.isclose(value, usual):
            continue
        memory, known = 1 / (1 - value), 1 / (1 - usual)
        squares = name in ("beta2", "decay")
        allowed = LONG_MEMORY if squares else MEMORY
        ratio = memory / known
        strength = ratio / allowed
        if (
            squares
        ):  # a long memory is harmless as long as the run is longer; one of a few steps is mostly noise
            strength = max(strength if memory > LONGEST * steps else 0.0, FEW / memory)
        if strength <= 1:
            continue
        fixes = [_put_back(settings, name, usual)]
        if name == "momentum":
            fixes.append(_put_back(settings, name, 0.0))
        yield Odd(
            name,
            value,
            usual,
            {name: value, "usual": usual, "steps_remembered": memory, "steps": steps},
            FEW if memory < FEW else allowed,
            f"a memory of 1 / (1 - {name}) steps, {allowed:g} times the usual one"
            if ratio > 1
            else "a mean of so few squares is mostly chance",
            strength,
            f"With {name} {value:g} each step is a mean over {memory:,.0f} steps; usual is {known:,.0f}.",
            tuple(fixes),
        )


def _clipping(settings: Settings, typical: tuple[float, float] | None) -> Iterator[Odd]:
    """Limits that most gradients meet."""
    if typical is None:
        return
    for name, size in zip(("clip_norm", "clip_value"), typical, strict=True):
        limit = getattr(settings, name)
        if limit is None or not size > 0:
            continue
        strength = CLIPPED * size / limit
        if strength <= 1:
            continue
        yield Odd(
            name,
            limit,
            None,
            {name: limit, "typical_gradient": size, "share": limit / size},
            CLIPPED,
            "clipping is meant for rare steps (Pascanu et al. 2013 propose half to ten times the average norm)",
            strength,
            f"{name} {limit:g} cuts nearly every gradient: they are of size {size:.3g}.",
            (Intervention({name: None}, f"Leave {name} out."),),
        )


def _epsilon(settings: Settings, typical: tuple[float, float] | None) -> Iterator[Odd]:
    """An epsilon that is as large as what it is added to."""
    optimizer = settings.resolved_optimizer
    value, usual = optimizer.options().get("epsilon"), optimizer.default("epsilon")
    if value is None or usual is None or value <= 10 * usual or typical is None:
        return
    size = typical[1]
    strength = value / (DAMPED * size) if size > 0 else math.inf
    if strength > 1:
        yield Odd(
            "epsilon",
            value,
            usual,
            {"epsilon": value, "usual": usual, "typical_gradient": size},
            DAMPED,
            "epsilon only guards against division by 0 (Kingma and Ba 2015: 1e-8)",
            min(strength, 1e6),
            f"epsilon {value:g} outweighs the gradients of size {size:.2g} that it is added to, so steps shrink.",
            (_put_back(settings, "epsilon", usual),),
        )


def _schedule(settings: Settings, steps: int, per_epoch: int) -> Iterator[Odd]:
    """A schedule that leaves little of the rate."""
    if steps <= 0:
        return
    rates = factors(settings, steps, per_epoch)
    mean = float(rates.mean())
    if mean < SPENT:
        yield Odd(
            "schedule",
            settings.schedule,
            Settings.schedule,
            {"mean_factor": mean, "last_factor": float(rates[-1]), "largest_factor": float(rates.max())},
            SPENT,
            "cosine and one-cycle have a mean of one half",
            min(SPENT / max(mean, 1e-9), 1e6),
            f"Over the run the schedule leaves {mean:.2g} of the learning rate on average, "
            f"and {rates[-1]:.2g} at the end.",
            tuple(
                Intervention({"schedule": usual}, f"Use the schedule {usual!r}.")
                for usual in dict.fromkeys((Settings.schedule, "constant"))
            ),
        )


def typical_gradient(lenses: Lenses | None, weights: int) -> tuple[float, float] | None:
    """The median norm of the gradient by all weights in the first half of the run, and the same for one weight of
    ``weights``; None without lenses."""
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


def _put_back(settings: Settings, name: str, value: float) -> Intervention:
    """The optimizer as it is, but for one number."""
    made: Any = settings.resolved_optimizer
    sentence = f"Put {name} back to {value:g}." if value else f"Leave {name} out."
    if name == "momentum":
        return Intervention({"momentum": value}, sentence)
    whole = {**OPTIMIZERS.config(replace(made, **{name: value}))}
    return Intervention({"optimizer": whole, "learning_rate": made.learning_rate}, sentence)
