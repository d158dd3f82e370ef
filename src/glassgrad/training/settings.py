"""Every option of a training run, checked before anything is done."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from glassgrad.common.constraints import (
    COUNT,
    SHARE,
    Choice,
    Constraint,
    Flag,
    Optional,
    Real,
    Whole,
    check,
    check_fields,
    python_value,
)
from glassgrad.common.durations import seconds_of
from glassgrad.common.errors import InputError, shown, unknown_name
from glassgrad.common.unset import UNSET, Unset, given
from glassgrad.data.schema import SCALINGS
from glassgrad.graph.node import DType
from glassgrad.init.initializers import INITIALIZERS, initializer
from glassgrad.losses.table import LOSSES, loss
from glassgrad.nn.activations import ACTIVATIONS, activation
from glassgrad.nn.network import Network
from glassgrad.optim.optimizers import OPTIMIZERS, Optimizer, optimizer
from glassgrad.optim.schedules import SCHEDULES, needs_validation, schedule
from glassgrad.training.backends import BACKENDS
from glassgrad.training.defaults import DEFAULTS
from glassgrad.training.named_metrics import metric

KEEPS = ("best", "last")

OF_OPTIMIZER = ("learning_rate", "momentum", "weight_decay")
"""Options that are fields of the optimizer, and may be given on their own."""

OF_LAYERS = ("layers", "activation", "init", "output_activation")
"""Options that describe the layers of the default network; a given ``network`` has its own."""

CONSTRAINTS: Mapping[str, Constraint] = {
    "learning_rate": Real(minimum=0),
    "momentum": SHARE,
    "weight_decay": Real(minimum=0),
    "clip_norm": Optional(Real(above=0)),
    "clip_value": Optional(Real(above=0)),
    "scaling": Choice(SCALINGS),
    "force": Flag(),
    "watch": Flag(),
    "batch_size": COUNT,
    "epochs": Whole(0, 2**31 - 1),
    "keep": Choice(KEEPS),
    "patience": Optional(COUNT),
    "max_time": Optional(Real(above=0)),
    "validation": SHARE,
    "test": SHARE,
    "seed": Whole(0, 2**63 - 1),
    "dtype": Choice(("float32", "float64")),
}
"""What the options may be that are numbers, flags or plain names."""

_UNSET: Any = UNSET


@dataclass(frozen=True)
class Settings:
    """The options of ``train``. Raises InputError for an invalid option.

    Every option is unset until it is given. An unset option takes its default from ``training.defaults.DEFAULTS``;
    an option that is given counts as given, also where it equals the default.

    ``layers`` are the units of the hidden layers, unless ``network`` (an object, or a document as in a
    ``--network`` file) gives all layers; then the options in ``OF_LAYERS`` are refused, and stay unset.
    ``activation``, ``init``, ``loss``, ``optimizer`` and ``schedule`` are names, names with arguments
    (``leaky_relu(0.2)``), tables, or objects.

    ``learning_rate``, ``momentum`` and ``weight_decay`` belong to the optimizer. Given on their own, they replace
    what ``optimizer`` says of them. Not given, they stay unset, and the optimizer has what its text, table or object
    says, or else its own default; but an optimizer given by its bare name (``"sgd"``) has the learning rate of
    ``DEFAULTS``. ``resolved_optimizer`` is the optimizer that results.

    ``keep`` is "best" or "last": the weights of the epoch that is best on the validation rows by ``metric`` ("loss",
    or a name in ``named_metrics``), or those of the last epoch. ``patience`` ends the training after this many
    epochs without a better ``metric``, ``max_time`` (seconds, or a text such as "10min") at the first call after that
    time. ``metrics`` are further metrics that every evaluation computes.

    ``clip_norm`` bounds the global norm of the gradients, ``clip_value`` each element. ``validation`` and ``test``
    are shares of the rows: the test part is taken first, the validation part from what is left. ``force`` trains
    combinations that are refused otherwise. ``watch`` looks inside while training (see ``Run.lenses``); it changes
    no result.
    """

    layers: tuple[int, ...] = _UNSET
    activation: Any = _UNSET
    init: Any = _UNSET
    output_activation: Any = _UNSET
    loss: Any = _UNSET
    optimizer: Any = _UNSET
    learning_rate: float | Unset = UNSET
    momentum: float | Unset = UNSET
    weight_decay: float | Unset = UNSET
    clip_norm: float | None = _UNSET
    clip_value: float | None = _UNSET
    schedule: Any = _UNSET
    scaling: str = _UNSET
    network: Network | Mapping[str, Any] | None = _UNSET
    init_from: str | None = _UNSET
    init_layers: tuple[str, ...] | None = _UNSET
    freeze: tuple[str, ...] = _UNSET
    force: bool = _UNSET
    watch: bool = _UNSET
    batch_size: int = _UNSET
    epochs: int = _UNSET
    keep: str = _UNSET
    metric: str = _UNSET
    metrics: tuple[str, ...] = _UNSET
    patience: int | None = _UNSET
    max_time: float | None = _UNSET
    validation: float = _UNSET
    test: float = _UNSET
    seed: int = _UNSET
    backend: str = _UNSET
    dtype: DType = _UNSET
    resolved_optimizer: Optimizer = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Fill in the defaults of what is unset, and check every option."""
        network: Any = self.network
        described = OF_LAYERS if network is not UNSET and network is not None else ()
        for item in dataclasses.fields(self):
            if not item.init:
                continue
            value = getattr(self, item.name)
            if value is not UNSET:
                if item.name in described:
                    raise InputError(
                        f"network gives all layers, so {item.name} changes nothing; leave one out"
                    )
                value = _plain(item.name, value)
            elif item.name not in OF_OPTIMIZER and item.name not in described:
                value = DEFAULTS[item.name]
            object.__setattr__(self, item.name, value)
        if self.network is None:
            self._check_layers()
        SCHEDULES.make(self.schedule)
        if self.loss != "auto":
            LOSSES.make(self.loss)
        set_options = {name: item for name, item in CONSTRAINTS.items() if getattr(self, name) is not UNSET}
        check_fields(self, set_options)
        if isinstance(self.backend, str):
            check("backend", self.backend, Choice(tuple(BACKENDS)))
        if needs_validation(schedule(self.schedule)) and self.validation == 0:
            raise InputError("the schedule looks at the validation loss; give validation a share above 0")
        if self.patience is not None and self.validation == 0:
            raise InputError(
                "patience counts epochs without a better validation metric; give validation a share"
            )
        if self.init_layers is not None and self.init_from is None:
            raise InputError("init_layers says what to take from a model; name the model with init_from")
        object.__setattr__(self, "resolved_optimizer", self._resolve_optimizer())

    def _check_layers(self) -> None:
        for number, units in enumerate(self.layers, start=1):
            check(f"layers: entry {number}", units, Whole(1, 1_000_000))
        ACTIVATIONS.make(self.activation)
        INITIALIZERS.make(self.init)
        if self.output_activation != "auto":
            ACTIVATIONS.make(self.output_activation)

    def _resolve_optimizer(self) -> Optimizer:
        """The optimizer with the options that are given on their own."""
        options = given({name: getattr(self, name) for name in OF_OPTIMIZER})
        known = OPTIMIZERS.fields_of(self.optimizer)
        for name, value in options.items():
            if name not in known:
                takers = [key for key in OPTIMIZERS if name in OPTIMIZERS.fields_of(key)]
                raise InputError(
                    f"{name} {shown(value)} is not an option of {OPTIMIZERS.label(self.optimizer)!r}; "
                    f"use it with {' or '.join(takers)}, or leave it out"
                )
        is_bare_name = isinstance(self.optimizer, str) and "(" not in self.optimizer
        if is_bare_name:
            options.setdefault("learning_rate", DEFAULTS["learning_rate"])
        return OPTIMIZERS.make(self.optimizer, options)

    def value(self, name: str) -> Any:
        """The value in use of the option ``name``; None where the optimizer or the network has no such option."""
        if name in OF_OPTIMIZER:
            return self.resolved_optimizer.options().get(name)
        value = getattr(self, name)
        return None if value is UNSET else value

    def to_document(self) -> dict[str, Any]:
        """The options as plain values, as ``settings_of_document`` reads them.

        ``optimizer`` is the resolved one, with all its fields, and holds the options in ``OF_OPTIMIZER``. Where
        ``network`` is given, it holds those in ``OF_LAYERS``. Raises InputError for a part that is not registered.
        """
        document: dict[str, Any] = {}
        for item in dataclasses.fields(self):
            if not item.init or item.name in OF_OPTIMIZER:
                continue
            value = self.resolved_optimizer if item.name == "optimizer" else getattr(self, item.name)
            if value is UNSET:
                continue
            if item.name in _MAKERS and value != "auto":
                value = _MAKERS[item.name](value)
            if isinstance(value, Network):
                value = value.to_document()
            document[item.name] = list(value) if isinstance(value, tuple) else value
        if not isinstance(document["backend"], str):
            document["backend"] = document["backend"].name
        return document


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
    check_names(options)
    return Settings(**options)


def settings_of_document(document: Mapping[str, Any]) -> Settings:
    """The settings that ``document`` (see ``Settings.to_document``) describes.

    Documents of earlier versions list every option. There the optimizer's table is what was trained with, whatever
    stands in ``OF_OPTIMIZER`` beside it; and the options in ``OF_LAYERS`` meant nothing beside a network. Raises
    InputError for an invalid option, or one that does not exist.
    """
    options = dict(document)
    if isinstance(options.get("optimizer"), Mapping):
        for name in OF_OPTIMIZER:
            options.pop(name, None)
    if options.get("network") is not None:
        for name in OF_LAYERS:
            options.pop(name, None)
    return make_settings(options)


def check_names(options: Mapping[str, Any], *others: str) -> None:
    """Raise InputError for a name in ``options`` that is neither an option of ``Settings`` nor one of ``others``."""
    known = [*(item.name for item in dataclasses.fields(Settings) if item.init), *others]
    for name in options:
        if name not in known:
            raise unknown_name("option", name, known)


def _plain(name: str, value: Any) -> Any:
    """Numbers of NumPy as Python's own, and lists as tuples; one item may stand for a list of it."""
    if name == "max_time" and isinstance(value, str):
        return seconds_of(value, "max_time")
    if name == "metric":
        return value if value == "loss" else metric(value).name
    if name not in ("layers", "freeze", "init_layers", "metrics"):
        return python_value(value)
    if isinstance(value, (str, int, np.generic)):
        value = (value,)
    if value is None and name == "init_layers":
        return None
    if not isinstance(value, Iterable):
        raise InputError(f"{name} is a list, not {shown(value)}")
    items = tuple(python_value(item) for item in value)
    if name != "layers":
        for number, item in enumerate(items, start=1):
            if not isinstance(item, str):
                what = "a metric" if name == "metrics" else "a layer"
                raise InputError(f"{name}: entry {number} must be the name of {what}, not {shown(item)}")
    return tuple(dict.fromkeys(metric(item).name for item in items)) if name == "metrics" else items
