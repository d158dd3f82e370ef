"""Shared by the kinds about initial weights: names of layers, evidence, and other initializers to try."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from glassgrad.diagnosis.core.evidence import Intervention
from glassgrad.diagnosis.core.other_networks import restart
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.initialization.question import Initialization
from glassgrad.diagnosis.measures.first_weights import COPIES, Start
from glassgrad.nn.activations import LeakyReLU, ReLU
from glassgrad.nn.network import activation_of

SOURCE_SCALE = (
    "size of the weights relative to the size that preserves values and gradients (He et al. 2015; Glorot and "
    "Bengio 2010)"
)

DESCRIPTIONS = {
    "he_normal": "random weights of variance 2 / inputs",
    "xavier_uniform": "random weights of variance 2 / (inputs + outputs)",
    "lsuv": "random weights, scaled so that the preactivations of each layer have variance 1 on your rows",
}


def copied(m: Initialization) -> list[Start]:
    """The hidden weights whose neurons start as copies of each other."""
    return [start for start in m.hidden if start.units > 1 and start.distinct < COPIES]


def scale_evidence(m: Initialization, worst: Start) -> dict[str, Any]:
    """The evidence for suspicions about the size of weights."""
    return {
        "weight_size": worst.size,
        "gain": worst.gain,
        "needed_forward": worst.need,
        "needed_backward": worst.need_back,
        "product_of_gains": m.product,
        "loss_at_start": m.loss,
        "constant_loss": m.constant,
    }


def with_article(start: Start) -> str:
    """The activation after a weight with its article, as in "a relu"."""
    name = start.activation if start.hidden and start.activation != "identity" else "linear"
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def layer_names(weights: Sequence[Start]) -> list[str]:
    """The distinct layers of ``weights``."""
    return list(dict.fromkeys(start.layer for start in weights))


def only_layer(weights: Sequence[Start]) -> str:
    """The layer of ``weights`` if there is only one, else "" (the whole network)."""
    names = layer_names(weights)
    return names[0] if len(names) == 1 else ""


def joined(names: Sequence[str]) -> str:
    """``names`` joined for a sentence."""
    if len(names) > 3:
        return f"{names[0]} and {len(names) - 1} other layers"
    return " and ".join(names)


def other_initializers(m: Initialization, subject: Subject) -> list[Intervention]:
    """Other initializers: the best in full runs, and those that suit the activation."""
    parts = [activation_of(node.layer) for node in subject.network.nodes]
    rectified = any(isinstance(part, ReLU | LeakyReLU) for part in parts)
    usual = ("he_normal", "xavier_uniform") if rectified else ("xavier_uniform", "he_normal")
    names = list(dict.fromkeys([*m.best[:1], *usual, "lsuv"]))
    if math.inf in m.tried.get("lsuv", ()):
        names.remove("lsuv")
    return [
        Intervention(restart(subject.settings, name), f"Use the initializer {name}: {DESCRIPTIONS[name]}.")
        for name in names
    ]
