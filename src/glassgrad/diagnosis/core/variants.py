"""A change of options, applied: to the settings, to the layers of a given network, and to the data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from glassgrad.common.errors import InputError, unknown_name
from glassgrad.data.dataset import Dataset, from_arrays
from glassgrad.data.schema import Schema
from glassgrad.data.table import Table
from glassgrad.nn.activations import Identity, activation
from glassgrad.nn.layer import Layer
from glassgrad.nn.layers import Activate, Dense, Dropout, Flatten
from glassgrad.nn.network import Network, Step, activation_of, from_document
from glassgrad.training.settings import Settings

DATA_ACTIONS = ("drop_inputs", "drop_uninformative", "task", "class_weight", "shuffle_targets")
"""What a change may hold besides options of ``train``.

``drop_inputs``: names of columns to leave out. ``drop_uninformative``: leave out those that say nothing of the target
by the training rows of a run (see ``uninformative_inputs``); trials turn it into ``drop_inputs``, seed by seed.
``task``: "classification" or "regression". ``class_weight``: as ``train`` takes it. ``shuffle_targets``: a seed; the
targets are dealt out anew.
"""

_OF_OPTIMIZER: dict[str, Any] = {"learning_rate": 0.002, "momentum": 0.0, "weight_decay": 0.0}
_OF_LAYERS = ("activation", "init", "output_activation", "dropout")


@dataclass(frozen=True)
class Variant:
    """Settings, and what is done to the data."""

    settings: Settings
    actions: Mapping[str, Any]

    @property
    def key(self) -> str:
        """Equal for equal variants."""
        made = sorted((item.name, repr(getattr(self.settings, item.name))) for item in _fields())
        return repr((made, sorted((name, repr(value)) for name, value in self.actions.items())))


def _fields() -> list[Any]:
    return [item for item in dataclasses.fields(Settings) if item.init]


def apply(settings: Settings, options: Mapping[str, Any]) -> Variant:
    """``settings`` with ``options`` in place; raises InputError for what cannot be meant.

    The learning rate, momentum and weight decay are those of the optimizer, however it was given; ``optimizer``
    begins a new one, of which only what ``options`` names differs from its defaults. ``activation``, ``init``,
    ``output_activation`` and ``dropout`` (a rate after each hidden layer, 0 to take them out) also reach the
    layers of a network that was given as such.
    """
    actions = {name: options[name] for name in DATA_ACTIONS if options.get(name) is not None}
    rest = {name: value for name, value in options.items() if name not in DATA_ACTIONS}
    changed = replace(settings, **_fresh(settings, rest)) if "optimizer" in rest else settings
    own = {name: rest.pop(name) for name in _OF_OPTIMIZER if name in rest}
    rest.pop("optimizer", None)
    if own:
        made = changed.made
        known = [item.name for item in dataclasses.fields(made)]
        for name in own:
            if name not in known:
                raise unknown_name("option of the optimizer", name, known)
        changed = replace(changed, **_OF_OPTIMIZER, optimizer=replace(made, **own))
    if "layers" in rest and "network" not in rest:
        rest["network"] = None
    network = rest.get("network", changed.network)
    if network is not None:
        given = {name: rest.pop(name) for name in _OF_LAYERS if name in rest}
        whole = network if isinstance(network, Network) else from_document(network)
        rest["network"] = relayered(whole, given)
    elif "dropout" in rest:
        raise InputError("dropout is an option of a network that is given layer by layer")
    return Variant(replace(changed, **rest), actions)


def _fresh(settings: Settings, options: Mapping[str, Any]) -> dict[str, Any]:
    """The optimizer anew; a learning rate that is not named stays as it was."""
    rate = options.get("learning_rate", settings.made.hyperparameters()["learning_rate"])
    return _OF_OPTIMIZER | {"optimizer": options["optimizer"], "learning_rate": rate}


def relayered(network: Network, options: Mapping[str, Any]) -> Network:
    """``network`` with other activations or initializers in its layers, or without dropout."""
    for name in options:
        if name not in _OF_LAYERS:
            raise unknown_name("option of layers", name, _OF_LAYERS)
    last = _last(network)
    hidden = [step for step in network.steps if step is not last]
    linear = all(isinstance(activation_of(step.layer), Identity) for step in hidden)
    steps = []
    for step in network.steps:
        layer: Any = step.layer
        own = {item.name for item in dataclasses.fields(layer)} if dataclasses.is_dataclass(layer) else set()
        changes: dict[str, Any] = {}
        if "init" in options and "init" in own:
            changes["init"] = options["init"]
        if "activation" in own:
            if step is last and "output_activation" in options:
                changes["activation"] = options["output_activation"]
            elif step is not last and "activation" in options:
                acts = not isinstance(activation_of(layer), Identity)
                if acts or (linear and not isinstance(layer, Activate)):
                    changes["activation"] = activation(options["activation"])
        if isinstance(layer, Dropout) and "dropout" in options:
            changes["rate"] = options["dropout"]
        steps.append(replace(step, layer=replace(layer, **changes)) if changes else step)
    return Network(tuple(steps))


def _last(network: Network) -> Step | None:
    """The last layer with an activation of its own."""
    for step in reversed(network.steps):
        if hasattr(step.layer, "activation"):
            return step
    return None


def with_output(network: Network, units: int, input_shape: tuple[int, ...]) -> Network:
    """``network`` ending in ``units`` units: its last dense layer resized, or one added."""
    *before, last = network.steps
    if isinstance(last.layer, Dense) and len(network.shapes(input_shape)[last.name]) == 1:
        return Network((*before, replace(last, layer=replace(last.layer, units=units))))
    added: list[tuple[str, Layer]] = []
    if len(network.shapes(input_shape)[last.name]) > 1:
        added.append(("rows_as_one", Flatten()))
    added.append(("added_output", Dense(units)))
    steps = list(network.steps)
    for name, layer in added:
        steps.append(Step(name, layer, (steps[-1].name,)))
    return Network(tuple(steps))


def transformed(dataset: Dataset, actions: Mapping[str, Any]) -> Dataset:
    """``dataset`` after the data actions (all but ``class_weight``, which ``train_many`` takes)."""
    if "task" in actions:
        dataset = _as_task(dataset, actions["task"])
    if "shuffle_targets" in actions:
        order = np.random.default_rng(actions["shuffle_targets"]).permutation(len(dataset.targets))
        dataset = replace(dataset, targets=dataset.targets[order])
    if actions.get("drop_inputs"):
        dataset = without(dataset, tuple(actions["drop_inputs"]))
    return dataset


def _as_task(dataset: Dataset, task: str) -> Dataset:
    """``dataset`` with its targets read as labels, or as quantities."""
    targets = dataset.targets
    if targets.ndim == 2 and targets.shape[1] == 1:
        targets = targets[:, 0]
    rows = np.arange(len(targets), dtype=np.float64)
    read = from_arrays(rows, targets, name=dataset.name, task=task)
    return replace(
        dataset,
        targets=read.targets,
        classification=read.classification,
        test_features=None,
        test_targets=None,
    )


def without(dataset: Dataset, names: tuple[str, ...]) -> Dataset:
    """``dataset`` without some columns, which are named as ``columns`` does."""
    known = columns(dataset)
    for name in names:
        if name not in known:
            raise unknown_name("column", name, known)
    if len(set(names)) == len(known):
        raise InputError("dropping every input leaves nothing to learn from")
    features = dataset.features
    if isinstance(features, Table):
        for name in names:
            features = features.without(name)
    else:
        kept = [number for number, name in enumerate(known) if name not in names]
        features = np.ascontiguousarray(features[:, kept])
    return replace(dataset, features=features, test_features=None, test_targets=None)


def columns(dataset: Dataset) -> tuple[str, ...]:
    """The names of the columns of a table, ``x[0]`` ... of an array; none for rows of higher rank."""
    if isinstance(dataset.features, Table):
        return dataset.features.names
    shape = dataset.features.shape
    return tuple(f"x[{i}]" for i in range(shape[1])) if len(shape) == 2 else ()


def column_of(name: str, schema: Schema) -> str:
    """The column that the network's input ``name`` comes from: "workclass=Private" is one of "workclass"."""
    if schema.table is None:
        return name
    return dict(zip(schema.table.names, schema.table.origins, strict=True)).get(name, name)
