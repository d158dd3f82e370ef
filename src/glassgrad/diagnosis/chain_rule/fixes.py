"""Fixes for a gradient that vanishes or explodes in the backward pass."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from glassgrad.diagnosis.core.evidence import Intervention
from glassgrad.diagnosis.core.other_networks import restart
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.nn.activations import ELU, GELU, SELU, Identity, LeakyReLU, Mish, ReLU, SiLU
from glassgrad.nn.layers.activation import ActivationLayer
from glassgrad.nn.layers.convolution import Conv2D
from glassgrad.nn.layers.dense import Dense
from glassgrad.nn.layers.normalization import BatchNorm, LayerNorm
from glassgrad.nn.network import LayerNode, Network, activation_of

CLIP = 1.0
SHORT = 2
"""The number of hidden layers of the shorter network to try."""

_PASSING = (ReLU, LeakyReLU, ELU, SELU, GELU, SiLU, Mish)


def _other_start(subject: Subject) -> Intervention:
    parts = [activation_of(node.layer) for node in _hidden(subject.network)]
    name = "he_normal" if any(isinstance(part, _PASSING) for part in parts) else "xavier_uniform"
    sentence = f"Use initial weights that preserve the size of values and gradients ({name})."
    return Intervention(restart(subject.settings, name), sentence)


def to_let_through(subject: Subject, at_start: bool, by_weights: bool) -> list[Intervention]:
    """Fixes for a vanishing gradient: activations with a slope of 1, fewer layers, normalization.

    ``by_weights`` says that the initial weights are the cause: then only other weights are tried. Without
    ``at_start``, the gradient vanished during training: then only another activation is tried.
    """
    hidden = [activation_of(node.layer) for node in _hidden(subject.network)]
    nonlinear = [part for part in hidden if not isinstance(part, Identity)]
    fixes = []
    if at_start and by_weights:
        return [_other_start(subject)]
    if any(not isinstance(part, _PASSING) for part in nonlinear):
        options = {"activation": "relu", "init": "he_normal"}
        fixes.append(
            Intervention(options, "Use relu, which passes gradients on unchanged, with he_normal weights.")
        )
    elif at_start:
        fixes.append(_other_start(subject))
    if at_start:
        fixes += [*_shorter(subject), *_normalized(subject.network)]
    if any(isinstance(part, ReLU) for part in nonlinear):
        options = {"activation": "leaky_relu(0.1)", "init": "he_normal"}
        fixes.append(Intervention(options, "Use leaky_relu, which is nowhere flat."))
    return fixes if at_start else fixes[:1]


def to_bound(subject: Subject, at_start: bool, by_weights: bool) -> list[Intervention]:
    """Fixes for an exploding gradient: clipping, normalization, a smaller step, and with ``at_start`` other weights.

    ``by_weights`` says that the initial weights are the cause: then only other weights are tried.
    """
    settings = subject.settings
    fixes = []
    if at_start:
        fixes.append(_other_start(subject))
        if by_weights:
            return fixes
    if settings.clip_norm is None or settings.clip_norm > CLIP:
        fixes.append(Intervention({"clip_norm": CLIP}, f"Clip gradients to a norm of {CLIP:g} (clip_norm)."))
    if at_start:
        fixes += _normalized(subject.network)
    rate = settings.resolved_optimizer.hyperparameters()["learning_rate"]
    if rate > 0:
        fixes.append(
            Intervention(
                {"learning_rate": float(f"{rate / 10:.3g}")}, f"Set the learning rate to {rate / 10:.3g}."
            )
        )
    return fixes


def _hidden(network: Network) -> list[LayerNode]:
    return [node for node in network.nodes if node.name != network.output]


def _normalized(network: Network) -> list[Intervention]:
    """A batch normalization before the activation of every hidden layer; empty if the network has a normalization."""
    if any(isinstance(node.layer, BatchNorm | LayerNorm) for node in network.nodes):
        return []
    nodes: list[LayerNode] = []
    for node in network.nodes:
        layer: Any = node.layer
        part = activation_of(layer)
        if node.name == network.output or isinstance(part, Identity) or not isinstance(layer, Dense | Conv2D):
            nodes.append(node)
            continue
        linear, normalized = f"{node.name}_sums", f"{node.name}_normalized"
        nodes.append(LayerNode(linear, replace(layer, activation=Identity()), node.inputs))
        nodes.append(LayerNode(normalized, BatchNorm(), (linear,)))
        nodes.append(LayerNode(node.name, ActivationLayer(part), (normalized,)))
    if len(nodes) == len(network.nodes):
        return []
    sentence = "Normalize every hidden layer (batch_norm before the activation)."
    return [Intervention({"network": Network(tuple(nodes))}, sentence)]


def _shorter(subject: Subject) -> list[Intervention]:
    settings = subject.settings
    if settings.network is not None or len(settings.layers) <= SHORT + 1:
        return []
    layers = settings.layers[:SHORT]
    return [Intervention({"layers": layers}, f"Use {SHORT} hidden layers instead of {len(settings.layers)}.")]
