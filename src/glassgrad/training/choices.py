"""What ``auto`` means, and which combinations of network, loss and data cannot be meant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from glassgrad.backends.base import Array
from glassgrad.common.constraints import Real, check
from glassgrad.common.errors import InputError, shown, unknown_name
from glassgrad.common.frozen import frozen
from glassgrad.common.layer_names import layer_of
from glassgrad.data.dataset import Dataset
from glassgrad.data.schema import Schema
from glassgrad.nn.activations import Step as StepActivation
from glassgrad.nn.layer import Layer
from glassgrad.nn.layers import Dense, Embedding, Flatten
from glassgrad.nn.loss import Loss
from glassgrad.nn.losses import loss
from glassgrad.nn.network import INPUT, Network, Sequential, activation_of, from_document
from glassgrad.training.settings import Settings


@frozen
class Choice:
    """The network and the loss of a run."""

    network: Network
    loss: Loss
    units: int

    def check(self, schema: Schema, targets: Array, settings: Settings) -> None:
        """Refuse what cannot be meant; raises InputError that says what to use. ``force`` lets it pass."""
        names = [step.name for step in self.network.steps]
        for name in settings.freeze:
            if name not in names:
                raise unknown_name("layer", name, names)
        weights = self.network.weights(schema.feature_shape)
        if all(layer_of(name) in settings.freeze for name in weights):
            raise InputError("there is nothing to train: all layers with weights are frozen")
        shape = self.network.shapes(schema.feature_shape)[self.network.output]
        if shape != (self.units,):
            raise InputError(
                f"the network gives rows of shape {list(shape)}, but loss {self.loss.name!r} on this data "
                f"needs [{self.units}]; end the network (now in layer {self.network.output!r}) in a dense "
                f"layer of {self.units} units"
            )
        if settings.force and self.loss.task in ("both", schema.task):
            return
        for step in self.network.steps:
            if isinstance(activation_of(step.layer), StepActivation):
                raise InputError(
                    f"layer {step.name!r}: no gradient passes through the activation 'step', so nothing "
                    "before it would learn; use sigmoid or relu (or Perceptron, which has its own rule); "
                    "--force trains it all the same"
                )
            if isinstance(step.layer, Embedding) and INPUT in step.inputs and schema.scaling != "none":
                raise InputError(
                    f"layer {step.name!r} looks up whole numbers, and scaling {schema.scaling!r} changes "
                    "them: use scaling none; --force trains it all the same"
                )
        known = None
        if schema.classes is None:
            known = (float(targets.min()), float(targets.max()))
        reason = self.loss.refusal(
            self.network.final_activation(),
            classification=schema.classes is not None,
            classes=len(schema.classes) if schema.classes is not None else None,
            target_range=known,
        )
        if reason is not None:
            # Classes and numbers do not fit each other's losses at all: there is nothing to force.
            hint = "; --force trains it all the same" if self.loss.task in ("both", schema.task) else ""
            raise InputError(reason + hint)


def choose(dataset: Dataset, settings: Settings, classes: int | None) -> Choice:
    """The network and the loss for ``dataset``, which has so many ``classes`` (None: a regression)."""
    if settings.loss != "auto":
        part = loss(settings.loss)
    elif classes is None:
        part = loss("squared_error")
    else:
        part = loss("binary_cross_entropy" if classes == 2 else "categorical_cross_entropy")
    targets = 1 if dataset.targets.ndim == 1 else dataset.targets.shape[1]
    units = part.units(classes, targets)
    if settings.network is None:
        network = _default(dataset.features.shape[1:], settings, part, units)
    elif isinstance(settings.network, Network):
        network = settings.network
    else:
        network = from_document(settings.network)
    return Choice(network, part, units)


def _default(shape: tuple[int, ...], settings: Settings, part: Loss, units: int) -> Network:
    output = settings.output_activation
    if output == "auto":
        output = "log_softmax" if part.expects == "log_probabilities" else "identity"
    layers: list[Layer] = [Flatten()] if len(shape) > 1 else []
    layers += [Dense(n, settings.activation, settings.init) for n in settings.layers]
    layers.append(Dense(units, output, settings.init))
    return Sequential(*layers)


def class_weights(
    schema: Schema,
    targets: Array,
    sample_weight: Any,
    rows: int,
    chosen: Array,
    class_weight: Mapping[Any, float] | str | None,
    dtype: str,
) -> Array | None:
    """One weight per training row, or None where all count the same.

    ``balanced`` gives every class the same total weight: rows / (classes * rows of the class).
    """
    if sample_weight is None and class_weight is None:
        return None
    weights = np.ones(len(targets))
    if sample_weight is not None:
        try:
            given = np.asarray(sample_weight, dtype=np.float64)
        except (TypeError, ValueError):
            given = np.full(rows, np.nan)
        if given.shape != (rows,) or not np.isfinite(given).all() or (given < 0).any():
            raise InputError(f"sample_weight needs {rows} finite numbers >= 0, one per row of the data")
        weights = given[chosen]
    if class_weight is not None:
        weights = weights * _per_class(schema, targets, class_weight)[targets]
    if not weights.sum() > 0:
        raise InputError("all rows to train on have weight 0; give some row a weight above 0")
    return np.ascontiguousarray(weights, dtype=dtype)


def _per_class(schema: Schema, targets: Array, class_weight: Mapping[Any, float] | str) -> Array:
    if schema.classes is None:
        raise InputError("class_weight is for classification; use sample_weight for a regression")
    counts = np.bincount(targets, minlength=len(schema.classes))
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise InputError(f"class_weight is a mapping or 'balanced', not {shown(class_weight)}")
        return len(targets) / (len(counts) * np.maximum(counts, 1))
    if not isinstance(class_weight, Mapping):
        raise InputError(f"class_weight is a mapping or 'balanced', not {shown(class_weight)}")
    for label, weight in class_weight.items():
        if label not in schema.classes:
            raise unknown_name("class", str(label), map(str, schema.classes))
        check(f"class_weight of {label!r}", weight, Real(minimum=0))
    return np.array([float(class_weight.get(label, 1.0)) for label in schema.classes])
