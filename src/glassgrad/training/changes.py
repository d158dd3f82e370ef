"""Options that are given later: the same settings with some of them changed."""

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
"""Options that also reach the layers of a network that was given layer by layer."""


def changed_settings(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """``settings`` with other values of some options; an option of ``changes`` that is ``UNSET`` stays as it was.

    A learning rate, momentum or weight decay goes into the optimizer, also where that has its own. ``optimizer``
    begins a new one: momentum and weight decay are those that ``changes`` names or the new optimizer's own. The
    learning rate stays as it was, unless ``changes`` names it, on its own or within ``optimizer`` (an object names
    all its fields).

    ``network`` replaces all layers, and ``layers`` replaces a network. ``activation``, ``init``,
    ``output_activation`` and ``dropout`` (a rate for its dropout layers, 0 to take them out of effect) also change
    the layers of a network that was given. Raises InputError for an option that does not exist or is not used.
    """
    options = given(changes)
    check_names(options, "dropout")
    if "optimizer" in options:
        anew = {"momentum": UNSET, "weight_decay": UNSET, "learning_rate": UNSET}
        if "learning_rate" not in OPTIMIZERS.names_given(options["optimizer"]):
            anew["learning_rate"] = settings.value("learning_rate")
        options = anew | options
    if "layers" in options:
        options.setdefault("network", None)
    network = options.get("network", settings.network)
    if network is not None:
        in_layers = {name: options.pop(name) for name in _IN_LAYERS if name in options}
        whole = network if isinstance(network, Network) else from_document(network)
        options = dict.fromkeys(OF_LAYERS, UNSET) | options | {"network": relayered(whole, in_layers)}
    elif "dropout" in options:
        raise InputError("dropout is an option of a network that is given layer by layer")
    return replace(settings, **options)


def relayered(network: Network, options: Mapping[str, Any]) -> Network:
    """``network`` with other activations, initializers or dropout rates in its layers.

    Raises InputError for an option that no layer takes.
    """
    used: set[str] = set()
    last = _last(network)
    hidden = [node for node in network.nodes if node is not last]
    linear = all(isinstance(activation_of(node.layer), Identity) for node in hidden)
    steps = []
    for node in network.nodes:
        layer: Any = node.layer
        own = {item.name for item in fields(layer)} if is_dataclass(layer) else set()
        changes: dict[str, Any] = {}
        if "init" in options and "init" in own:
            changes["init"] = options["init"]
            used.add("init")
        if "activation" in own:
            if node is last and "output_activation" in options:
                changes["activation"] = options["output_activation"]
                used.add("output_activation")
            elif node is not last and "activation" in options:
                acts = not isinstance(activation_of(layer), Identity)
                if acts or (linear and not isinstance(layer, ActivationLayer)):
                    changes["activation"] = activation(options["activation"])
                    used.add("activation")
        if isinstance(layer, Dropout) and "dropout" in options:
            changes["rate"] = options["dropout"]
            used.add("dropout")
        steps.append(replace(node, layer=replace(layer, **changes)) if changes else node)
    for name in options:
        if name not in used:
            raise InputError(f"{name} changes nothing: no layer of the network takes it; leave it out")
    return Network(tuple(steps))


def _last(network: Network) -> LayerNode | None:
    """The last layer with an activation of its own."""
    for node in reversed(network.nodes):
        if own_activation(node.layer) is not None:
            return node
    return None
