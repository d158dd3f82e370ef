"""Changes of settings: new settings with some options replaced."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from glassgrad.common.errors import InputError
from glassgrad.common.unset import UNSET, given
from glassgrad.nn.activations import Identity, activation
from glassgrad.nn.layers.activation import ActivationLayer
from glassgrad.nn.layers.dropout import Dropout
from glassgrad.nn.network import LayerNode, Network, activation_of, from_document, own_activation
from glassgrad.optim.optimizers import OPTIMIZERS
from glassgrad.training.settings import OF_LAYERS, Settings, check_names

_IN_LAYERS = ("activation", "init", "output_activation", "dropout")
"""Options that also apply to the layers of a network that is given layer by layer."""


def changed_settings(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """``settings`` with the options in ``changes`` replaced. An option that is ``UNSET`` in ``changes`` is kept.

    ``learning_rate``, ``momentum`` and ``weight_decay`` override the fields of the optimizer. With a new
    ``optimizer``, momentum and weight decay are those in ``changes``, or else the defaults of the new optimizer. The
    learning rate is kept, unless ``changes`` names one, on its own or within ``optimizer`` (an optimizer object names
    all its fields).

    ``network`` replaces all layers, and ``layers`` replaces a network. ``activation``, ``init``,
    ``output_activation`` and ``dropout`` (the rate of all dropout layers; 0 disables them) also change the layers of
    a network that is given layer by layer. Raises InputError for an option that does not exist or has no effect.
    """
    options = given(changes)
    check_names(options, "dropout")
    if "optimizer" in options:
        defaults = {"momentum": UNSET, "weight_decay": UNSET, "learning_rate": UNSET}
        if "learning_rate" not in OPTIMIZERS.names_given(options["optimizer"]):
            defaults["learning_rate"] = settings.value("learning_rate")
        options = defaults | options
    if "layers" in options:
        options.setdefault("network", None)
    network = options.get("network", settings.network)
    if network is not None:
        layer_options = {name: options.pop(name) for name in _IN_LAYERS if name in options}
        network = network if isinstance(network, Network) else from_document(network)
        options = dict.fromkeys(OF_LAYERS, UNSET) | options | {"network": relayered(network, layer_options)}
    elif "dropout" in options:
        raise InputError(
            "dropout needs a network that is given layer by layer; it has no effect on layers=[...]"
        )
    return replace(settings, **options)


def relayered(network: Network, options: Mapping[str, Any]) -> Network:
    """``network`` with the activations, initializers or dropout rates of its layers replaced.

    Raises InputError for an option that no layer has.
    """
    used: set[str] = set()
    last = _last(network)
    hidden = [node for node in network.nodes if node is not last]
    linear = all(isinstance(activation_of(node.layer), Identity) for node in hidden)
    nodes = []
    for node in network.nodes:
        layer: Any = node.layer
        field_names = {item.name for item in fields(layer)} if is_dataclass(layer) else set()
        changes: dict[str, Any] = {}
        if "init" in options and "init" in field_names:
            changes["init"] = options["init"]
            used.add("init")
        if "activation" in field_names:
            if node is last and "output_activation" in options:
                changes["activation"] = options["output_activation"]
                used.add("output_activation")
            elif node is not last and "activation" in options:
                # Layers without activation keep none, unless no hidden layer has an activation.
                has_activation = not isinstance(activation_of(layer), Identity)
                if has_activation or (linear and not isinstance(layer, ActivationLayer)):
                    changes["activation"] = activation(options["activation"])
                    used.add("activation")
        if isinstance(layer, Dropout) and "dropout" in options:
            changes["rate"] = options["dropout"]
            used.add("dropout")
        nodes.append(replace(node, layer=replace(layer, **changes)) if changes else node)
    for name in options:
        if name not in used:
            raise InputError(
                f"{name} has no effect: no layer of the network has such an option; leave it out"
            )
    return Network(tuple(nodes))


def _last(network: Network) -> LayerNode | None:
    """The last layer with an activation of its own."""
    for node in reversed(network.nodes):
        if own_activation(node.layer) is not None:
            return node
    return None
