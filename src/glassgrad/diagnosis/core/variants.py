"""Applies a change of options to the settings, to the layers of a user's network, and to the data."""

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
from glassgrad.nn.layer import Layer
from glassgrad.nn.layers.dense import Dense
from glassgrad.nn.layers.reshaping import Flatten
from glassgrad.nn.network import LayerNode, Network
from glassgrad.training.changes import changed_settings
from glassgrad.training.settings import Settings

DATA_ACTIONS = ("drop_inputs", "drop_uninformative", "task", "class_weight", "shuffle_targets")
"""Names that a change may contain besides options of ``train``.

``drop_inputs``: names of columns to drop. ``drop_uninformative``: drop the columns that carry no information about
the target in the training rows (see ``uninformative_inputs``); trials resolve it to ``drop_inputs`` for each seed.
``task``: "classification" or "regression". ``class_weight``: as ``train`` takes it. ``shuffle_targets``: the seed of
a permutation of the targets.
"""


@dataclass(frozen=True)
class Variant:
    """Settings, and the actions on the data."""

    settings: Settings
    actions: Mapping[str, Any]

    @property
    def key(self) -> str:
        """A text that is equal for variants with the same training, however the optimizer is spelled."""
        values = {name: repr(self.settings.value(name)) for name in _OPTIONS}
        values["optimizer"] = repr(self.settings.resolved_optimizer)
        return repr(
            (sorted(values.items()), sorted((name, repr(value)) for name, value in self.actions.items()))
        )


_OPTIONS = [item.name for item in dataclasses.fields(Settings) if item.init]


def make_variant(settings: Settings, options: Mapping[str, Any]) -> Variant:
    """``settings`` changed by ``options`` (see ``changed_settings``), with the data actions among ``options``."""
    requested = {name: options[name] for name in DATA_ACTIONS if name in options}
    # ``class_weight=None`` removes the class weights. None of any other action leaves the data unchanged.
    actions = {
        name: value for name, value in requested.items() if value is not None or name == "class_weight"
    }
    rest = {name: value for name, value in options.items() if name not in DATA_ACTIONS}
    return Variant(changed_settings(settings, rest), actions)


def with_output(network: Network, units: int, input_shape: tuple[int, ...]) -> Network:
    """``network`` with ``units`` outputs: its last dense layer resized, or a dense layer added."""
    *before, last = network.nodes
    if isinstance(last.layer, Dense) and len(network.shapes(input_shape)[last.name]) == 1:
        return Network((*before, replace(last, layer=replace(last.layer, units=units))))
    added: list[tuple[str, Layer]] = []
    if len(network.shapes(input_shape)[last.name]) > 1:
        added.append(("rows_as_one", Flatten()))
    added.append(("added_output", Dense(units)))
    nodes = list(network.nodes)
    for name, layer in added:
        nodes.append(LayerNode(name, layer, (nodes[-1].name,)))
    return Network(tuple(nodes))


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
    """``dataset`` with its targets read as classes or as quantities."""
    targets = dataset.targets
    if targets.ndim == 2 and targets.shape[1] == 1:
        targets = targets[:, 0]
    rows = np.arange(len(targets), dtype=np.float64)
    converted = from_arrays(rows, targets, name=dataset.name, task=task)
    return replace(
        dataset,
        targets=converted.targets,
        classification=converted.classification,
        test_features=None,
        test_targets=None,
    )


def without(dataset: Dataset, names: tuple[str, ...]) -> Dataset:
    """``dataset`` without the columns ``names`` (see ``columns``).

    Raises InputError for an unknown name, or if no column would remain.
    """
    column_names = columns(dataset)
    for name in names:
        if name not in column_names:
            raise unknown_name("column", name, column_names)
    if len(set(names)) == len(column_names):
        raise InputError("cannot drop every input; keep at least one")
    features = dataset.features
    if isinstance(features, Table):
        for name in names:
            features = features.without(name)
    else:
        remaining = [number for number, name in enumerate(column_names) if name not in names]
        features = np.ascontiguousarray(features[:, remaining])
    return replace(dataset, features=features, test_features=None, test_targets=None)


def columns(dataset: Dataset) -> tuple[str, ...]:
    """The column names: those of a table, ``x[0]`` ... for an array [rows, columns], none for higher rank."""
    if isinstance(dataset.features, Table):
        return dataset.features.names
    shape = dataset.features.shape
    return tuple(f"x[{i}]" for i in range(shape[1])) if len(shape) == 2 else ()


def column_of(name: str, schema: Schema) -> str:
    """The column behind the network's input ``name``: "workclass" for "workclass=Private"."""
    if schema.table is None:
        return name
    return dict(zip(schema.table.names, schema.table.origins, strict=True)).get(name, name)
