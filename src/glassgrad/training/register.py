"""``register``: gives a user-defined part a name for configurations, files and the command line."""

from __future__ import annotations

import dataclasses
from typing import Any

from glassgrad.common.errors import InputError, unknown_name
from glassgrad.init.initializers import INITIALIZERS
from glassgrad.losses.table import LOSSES
from glassgrad.nn.activations import ACTIVATIONS
from glassgrad.nn.layer import LAYERS
from glassgrad.optim.optimizers import OPTIMIZERS
from glassgrad.optim.schedules import SCHEDULES

REGISTRIES: dict[str, Any] = {
    registry.kind: registry for registry in (ACTIVATIONS, INITIALIZERS, LAYERS, LOSSES, OPTIMIZERS, SCHEDULES)
}


def register(kind: str, name: str, cls: type[Any]) -> None:
    """Register ``cls`` (a frozen dataclass derived from the base of its kind) under ``name``.

    ``kind`` is "activation", "initializer", "layer", "loss", "optimizer" or "schedule". A model file that uses the
    part can be loaded after the same registration; the file itself never names a class. Raises InputError for an
    unknown kind, a class of another kind, a class that is not a dataclass, and a name that is not an identifier or is
    already registered.
    """
    if kind not in REGISTRIES:
        raise unknown_name("kind", kind, REGISTRIES)
    registry = REGISTRIES[kind]
    if not (isinstance(cls, type) and issubclass(cls, registry.base)):
        raise InputError(f"a {kind} derives from {registry.base.__name__}; {cls!r} does not")
    if not dataclasses.is_dataclass(cls):
        raise InputError(f"{cls.__name__} is not a dataclass; put @dataclass(frozen=True) before it")
    if not name.isidentifier():
        raise InputError(f"{name!r} cannot name a {kind}; use letters, digits and '_'")
    registry.add(name, cls)
