"""Network, loss and output activation of a run, resolved from its settings and its data.

``auto`` becomes a definite loss and output activation, and a list of layer sizes becomes a network. Combinations of
network, loss and data that are invalid are refused.
"""

from __future__ import annotations

from glassgrad.backends.base import Array
from glassgrad.common.errors import InputError, unknown_name
from glassgrad.common.frozen import frozen
from glassgrad.common.layer_names import layer_of
from glassgrad.data.dataset import Dataset
from glassgrad.data.schema import Schema
from glassgrad.losses.base import Loss
from glassgrad.losses.table import loss
from glassgrad.nn.activations import Step as StepActivation
from glassgrad.nn.layer import Layer
from glassgrad.nn.layers.dense import Dense
from glassgrad.nn.layers.embedding import Embedding
from glassgrad.nn.layers.reshaping import Flatten
from glassgrad.nn.network import INPUT, Network, Sequential, activation_of, from_document
from glassgrad.training.settings import Settings


@frozen
class ResolvedNetwork:
    """The network and the loss of a run; the network must end in ``units`` outputs."""

    network: Network
    loss: Loss
    units: int

    def check(self, schema: Schema, targets: Array, settings: Settings) -> None:
        """Raise InputError for an invalid combination, with an alternative; ``force`` allows most of them."""
        layer_names = [node.name for node in self.network.nodes]
        for name in settings.freeze:
            if name not in layer_names:
                raise unknown_name("layer", name, layer_names)
        weights = self.network.weights(schema.feature_shape)
        if all(layer_of(name) in settings.freeze for name in weights):
            raise InputError("there is nothing to train: all layers with weights are frozen")
        shape = self.network.shapes(schema.feature_shape)[self.network.output]
        if shape != (self.units,):
            raise InputError(
                f"the network has outputs of shape {list(shape)}, but loss {self.loss.name!r} on this data "
                f"needs [{self.units}]; make its last layer (now {self.network.output!r}) a dense layer of "
                f"{self.units} units"
            )
        if settings.force and self.loss.task in ("both", schema.task):
            return
        for node in self.network.nodes:
            if isinstance(activation_of(node.layer), StepActivation):
                raise InputError(
                    f"layer {node.name!r}: no gradient passes through the activation 'step', so nothing "
                    "before it would learn; use sigmoid or relu (or Perceptron, which has its own rule); "
                    "--force trains it all the same"
                )
            if isinstance(node.layer, Embedding) and INPUT in node.inputs and schema.scaling != "none":
                raise InputError(
                    f"layer {node.name!r} looks up whole numbers, and scaling {schema.scaling!r} changes "
                    "them: use scaling none; --force trains it all the same"
                )
        target_range = None
        if schema.classes is None:
            target_range = (float(targets.min()), float(targets.max()))
        reason = self.loss.refusal(
            self.network.final_activation(),
            classification=schema.classes is not None,
            classes=len(schema.classes) if schema.classes is not None else None,
            target_range=target_range,
        )
        if reason is not None:
            # A loss for classes cannot be computed for numbers, nor the reverse, so force does not help.
            hint = "; --force trains it all the same" if self.loss.task in ("both", schema.task) else ""
            raise InputError(reason + hint)


def resolve_network(dataset: Dataset, settings: Settings, classes: int | None) -> ResolvedNetwork:
    """The network and the loss for ``dataset``; ``classes`` is its number of classes (None: a regression)."""
    if settings.loss != "auto":
        part = loss(settings.loss)
    elif classes is None:
        part = loss("squared_error")
    else:
        part = loss("binary_cross_entropy" if classes == 2 else "categorical_cross_entropy")
    targets = 1 if dataset.targets.ndim == 1 else dataset.targets.shape[1]
    units = part.units(classes, targets)
    if settings.network is None:
        network = _dense_layers(dataset.features.shape[1:], settings, part, units)
    elif isinstance(settings.network, Network):
        network = settings.network
    else:
        network = from_document(settings.network)
    return ResolvedNetwork(network, part, units)


def _dense_layers(shape: tuple[int, ...], settings: Settings, part: Loss, units: int) -> Network:
    """Hidden layers of the sizes in ``settings.layers``, and an output layer of ``units`` units."""
    output = settings.output_activation
    if output == "auto":
        output = "log_softmax" if part.expects == "log_probabilities" else "identity"
    layers: list[Layer] = [Flatten()] if len(shape) > 1 else []
    layers += [Dense(n, settings.activation, settings.init) for n in settings.layers]
    layers.append(Dense(units, output, settings.init))
    return Sequential(*layers)
