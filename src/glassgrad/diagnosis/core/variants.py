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
from glassgrad.nn.layer import Layer
from glassgrad.nn.layers.dense import Dense
from glassgrad.nn.layers.reshaping import Flatten
from glassgrad.nn.network import LayerNode, Network
from glassgrad.training.changes import changed_settings
from glassgrad.training.settings import Settings

DATA_ACTIONS = ("drop_inputs", "drop_uninformative", "task", "class_weight", "shuffle_targets")
"""What a change may hold besides options of ``train``.

``drop_inputs``: names of columns to leave out. ``drop_uninformative``: leave out those that say nothing of the target
by the training rows of a run (see ``uninformative_inputs``); trials turn it into ``drop_inputs``, seed by seed.
``task``: "classification" or "regression". ``class_weight``: as ``train`` takes it. ``shuffle_targets``: a seed; the
targets are dealt out anew.
"""


@dataclass(frozen=True)
class Variant:
    """Settings, and what is done to the data."""

    settings: Settings
    actions: Mapping[str, Any]

    @property
    def key(self) -> str:
        """Equal for variants that train the same, however their optimizer is written."""
        written = {name: repr(self.settings.value(name)) for name in _OPTIONS}
        written["optimizer"] = repr(self.settings.resolved_optimizer)
        return repr(
            (sorted(written.items()), sorted((name, repr(value)) for name, value in self.actions.items()))
        )


_OPTIONS = [item.name for item in dataclasses.fields(Settings) if item.init]


def make_variant(settings: Settings, options: Mapping[str, Any]) -> Variant:
    """``settings`` with ``options`` in place (see ``changed_settings``), and the data actions among ``options``."""
    asked = {name: options[name] for name in DATA_ACTIONS if name in options}
    # No weights of the classes is a change like any other; None of every other action means to leave the data alone.
    actions = {name: value for name, value in asked.items() if value is not None or name == "class_weight"}
    rest = {name: value for name, value in options.items() if name not in DATA_ACTIONS}
    return Variant(changed_settings(settings, rest), actions)


def with_output(network: Network, units: int, input_shape: tuple[int, ...]) -> Network:
    """``network`` ending in ``units`` units: its last dense layer resized, or one added."""
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
