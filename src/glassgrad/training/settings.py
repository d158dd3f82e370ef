"""Every option of a training run, checked before anything is done."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from glassgrad.common.errors import InputError, unknown_name
from glassgrad.data.schema import SCALINGS
from glassgrad.graph.node import DType
from glassgrad.nn.activations import ACTIVATIONS, activation
from glassgrad.nn.initializers import INITIALIZERS, initializer
from glassgrad.nn.losses import LOSSES, loss
from glassgrad.nn.network import Network
from glassgrad.optim.optimizers import OPTIMIZERS, Optimizer, optimizer
from glassgrad.optim.schedules import SCHEDULES, needs_validation, schedule
from glassgrad.training.backends import BACKENDS, DEFAULT

KEEPS = ("best", "last")


@dataclass(frozen=True)
class Settings:
    """The options of ``train``; raises InputError for one that cannot be meant.

    ``layers`` are the units of the hidden layers, unless ``network`` (an object, or a document as in a
    ``--network`` file) gives all layers. ``activation``, ``init``, ``loss``, ``optimizer`` and ``schedule``
    are names, names with arguments (``leaky_relu(0.2)``), or tables. ``clip_norm`` bounds the global norm of
    the gradients, ``clip_value`` each element. ``validation`` and ``test`` are shares of the rows: the test
    part is taken first, the validation part from what is left. ``force`` trains combinations that cannot be
    meant. ``watch`` looks inside while training (see ``Run.lenses``); it changes no result.
    """

    layers: tuple[int, ...] = (64, 32)
    activation: Any = "relu"
    init: Any = "he_normal"
    output_activation: Any = "auto"
    loss: Any = "auto"
    optimizer: Any = "adam"
    learning_rate: float = 0.002
    momentum: float = 0.0
    weight_decay: float = 0.0
    clip_norm: float | None = None
    clip_value: float | None = None
    schedule: Any = "cosine"
    scaling: str = "standard"
    network: Network | Mapping[str, Any] | None = None
    init_from: str | None = None
    init_layers: tuple[str, ...] | None = None
    freeze: tuple[str, ...] = ()
    force: bool = False
    watch: bool = False
    batch_size: int = 32
    epochs: int = 30
    keep: str = "best"
    validation: float = 0.1
    test: float = 0.2
    seed: int = 0
    backend: str = DEFAULT
    dtype: DType = "float32"
    made: Optimizer = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check every option."""
        for item in dataclasses.fields(self):
            if item.init:
                object.__setattr__(self, item.name, _plain(item.name, getattr(self, item.name)))
        for number, units in enumerate(self.layers, start=1):
            _whole(f"layers: entry {number}", units, 1, 1_000_000)
        for registry, value in (
            (ACTIVATIONS, self.activation),
            (INITIALIZERS, self.init),
            (SCHEDULES, self.schedule),
        ):
            registry.make(value)
        if self.output_activation != "auto":
            ACTIVATIONS.make(self.output_activation)
        if self.loss != "auto":
            LOSSES.make(self.loss)
        _number("learning_rate", self.learning_rate, 0)
        _number("momentum", self.momentum, 0, below=1)
        _number("weight_decay", self.weight_decay, 0)
        for name in ("clip_norm", "clip_value"):
            if getattr(self, name) is not None:
                _number(name, getattr(self, name), 0, open_start=True)
        _number("validation", self.validation, 0, below=1)
        _number("test", self.test, 0, below=1)
        _whole("batch_size", self.batch_size, 1, 2**31 - 1)
        _whole("epochs", self.epochs, 0, 2**31 - 1)
        _whole("seed", self.seed, 0, 2**63 - 1)
        _one_of("keep", self.keep, KEEPS)
        _one_of("scaling", self.scaling, SCALINGS)
        _one_of("dtype", self.dtype, ("float32", "float64"))
        if isinstance(self.backend, str):
            _one_of("backend", self.backend, BACKENDS)
        if needs_validation(schedule(self.schedule)) and self.validation == 0:
            raise InputError("the schedule looks at the validation loss; give validation a share above 0")
        if self.init_layers is not None and self.init_from is None:
            raise InputError("init_layers says what to take from a model; name the model with init_from")
        object.__setattr__(self, "made", self._optimizer())

    def _optimizer(self) -> Optimizer:
        """The optimizer with the options that are given on their own."""
        part = optimizer(self.optimizer)
        fields = {item.name for item in dataclasses.fields(part)}
        changes: dict[str, float] = {}
        for name, default in _OF_OPTIMIZER.items():
            given = getattr(self, name)
            explicit = isinstance(self.optimizer, str) and "(" not in self.optimizer
            if given == default and not (name == "learning_rate" and explicit):
                continue
            if name not in fields:
                takers = [key for key in OPTIMIZERS if _takes(key, name)]
                raise InputError(
                    f"{name} {given} is not an option of {OPTIMIZERS.config(part)['name']!r}; "
                    f"use it with {' or '.join(takers)}, or leave it out"
                )
            changes[name] = given
        return dataclasses.replace(part, **changes) if changes else part

    def to_document(self) -> dict[str, Any]:
        """The options as plain values; raises InputError for a part that is not registered."""
        document: dict[str, Any] = {}
        for item in dataclasses.fields(self):
            # The optimizer as it was made: by itself its name says nothing of the options given on their own.
            value = self.made if item.name == "optimizer" else getattr(self, item.name)
            if item.name == "made":
                continue
            if item.name in _MAKERS and value != "auto":
                value = _MAKERS[item.name](value)
            if isinstance(value, Network):
                value = value.to_document()
            document[item.name] = list(value) if isinstance(value, tuple) else value
        if not isinstance(document["backend"], str):
            document["backend"] = document["backend"].name
        return document


_OF_OPTIMIZER = {"learning_rate": 0.002, "momentum": 0.0, "weight_decay": 0.0}
_MAKERS = {
    "activation": lambda value: ACTIVATIONS.config(activation(value)),
    "output_activation": lambda value: ACTIVATIONS.config(activation(value)),
    "init": lambda value: INITIALIZERS.config(initializer(value)),
    "loss": lambda value: LOSSES.config(loss(value)),
    "optimizer": lambda value: OPTIMIZERS.config(optimizer(value)),
    "schedule": lambda value: SCHEDULES.config(schedule(value)),
}


def make_settings(options: Mapping[str, Any]) -> Settings:
    """``Settings`` from keyword options; raises InputError for one that does not exist."""
    _check_names(options)
    return Settings(**options)


def changed_settings(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """``settings`` with other values of some options; raises InputError for one that does not exist.

    A learning rate, momentum or weight decay goes into the optimizer, also where that had its own.
    """
    _check_names(changes)
    part = settings.made
    own = {name: value for name, value in changes.items() if name in _OF_OPTIMIZER and name in part.options()}
    if own and "optimizer" not in changes:
        changes = {**changes, "optimizer": dataclasses.replace(part, **own)}
    return dataclasses.replace(settings, **changes)


def _check_names(options: Mapping[str, Any]) -> None:
    known = [item.name for item in dataclasses.fields(Settings) if item.init]
    for name in options:
        if name not in known:
            raise unknown_name("option", name, known)


def _plain(name: str, value: Any) -> Any:
    """Numbers of NumPy as Python's own, and lists as tuples; one item may stand for a list of it."""
    if name not in ("layers", "freeze", "init_layers"):
        return value.item() if isinstance(value, np.generic) else value
    if isinstance(value, (str, int, np.generic)):
        value = (value,)
    if value is None and name == "init_layers":
        return None
    if not isinstance(value, Iterable):
        raise InputError(f"{name} is a list, not {value!r}")
    return tuple(item.item() if isinstance(item, np.generic) else item for item in value)


def _takes(optimizer_name: str, option: str) -> bool:
    cls: Any = OPTIMIZERS[optimizer_name]
    return option in {item.name for item in dataclasses.fields(cls)}


def _number(
    name: str, value: Any, start: float, *, below: float = math.inf, open_start: bool = False
) -> None:
    fits = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not fits or value < start or value >= below or (open_start and value == start):
        bound = f"above {start:g}" if open_start else f"at least {start:g}"
        end = "" if below == math.inf else f" and below {below:g}"
        raise InputError(f"{name} must be a number {bound}{end}, not {value!r}")


def _whole(name: str, value: Any, start: int, end: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not start <= value <= end:
        raise InputError(f"{name} must be a whole number from {start} to {end}, not {value!r}")


def _one_of(name: str, value: Any, known: Any) -> None:
    if value not in known:
        raise unknown_name(name, str(value), known)
