"""The first weights of a network: their size against what the activation needs, and whether neurons are copies."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from glassgrad.autodiff.sweeps import gradient
from glassgrad.backends.base import Array
from glassgrad.backends.reference import evaluate
from glassgrad.common.errors import GraphError
from glassgrad.diagnosis.core.findings import plain
from glassgrad.diagnosis.measures.flow import Flow
from glassgrad.diagnosis.measures.flow import size as rms
from glassgrad.graph.node import Graph
from glassgrad.nn.activations import Activation, Identity
from glassgrad.nn.layer import Weight
from glassgrad.nn.layers import BatchNorm, Embedding, LayerNorm, Recurrent
from glassgrad.nn.network import Network, activation_of, from_document
from glassgrad.ops.op import make_input
from glassgrad.ops.structure import reduce_sum
from glassgrad.training.settings import Settings

ALIKE = 1e-4
"""Neurons whose weights differ by less than this share of their size count as copies."""


LOUD = 2.0
"""Sums of this size are large: about 1 is right."""


@dataclass(frozen=True)
class Start:
    """One weight at the start.

    ``gain`` is by its fan-in, ``gain_back`` by the mean of both fans. ``need`` and ``need_back`` are what the
    activation needs forward and backward. ``too_large`` and ``too_small`` compare with both, whatever a usual
    initializer goes by. ``distinct`` is the share of neurons that differ from all others (of those that could).
    ``sums`` is the size of the layer's sums on the rows (NaN where they are out of sight).
    """

    layer: str
    weight: str
    activation: str
    fan_in: int
    fan_out: int
    size: float
    gain: float
    gain_back: float
    need: float
    need_back: float
    distinct: float
    units: int
    hidden: bool
    scaled: bool
    sums: float

    @property
    def too_large(self) -> float:
        """Times what both directions need."""
        return min(self.gain, self.gain_back) / max(self.need, self.need_back)

    @property
    def too_small(self) -> float:
        """Share of what either direction needs."""
        return max(self.gain, self.gain_back) / min(self.need, self.need_back)

    @property
    def loud(self) -> bool:
        """Whether the sums are large as well: not where the weights only make up for small inputs."""
        return not self.sums < LOUD

    def document(self) -> dict[str, Any]:
        """As plain values."""
        found: dict[str, Any] = plain(vars(self))
        return found


def needs(part: Activation) -> tuple[float, float]:
    """The gains that keep sums, and gradients, at one size through ``part``; 1 where it does not work unit by unit.

    1 / sqrt(E[f(z)^2]) and 1 / sqrt(E[f'(z)^2]), z from a standard normal, by quadrature (B. Poole et al.,
    Exponential expressivity in deep neural networks through transient chaos, 2016).
    """
    # A fine grid rather than Gauss-Hermite: activations have kinks.
    z = np.linspace(-8, 8, 4000)
    density = np.exp(-z * z / 2)
    density /= density.sum()
    x = make_input("z", (len(z), 1), "float64")
    try:
        y = part(x)
        values, slopes = evaluate(Graph((x,), (y, *gradient(reduce_sum(y), [x]))), [z[:, None]])
    except GraphError:
        return 1.0, 1.0
    forward, backward = (float(density @ np.square(item[:, 0])) for item in (values, slopes))
    if not (math.isfinite(forward) and forward > 0 and np.ptp(values) > 0):
        return 1.0, 1.0
    need = 1 / math.sqrt(forward)
    return need, 1 / math.sqrt(backward) if math.isfinite(backward) and backward > 0 else need


def starts(
    network: Network, weights: Mapping[str, Array], input_shape: tuple[int, ...], flow: Flow
) -> tuple[Start, ...]:
    """Every weight matrix of ``network``, in order."""
    wanted = {name: item for name, item in network.weights(input_shape).items() if weights[name].ndim >= 2}
    last = next(reversed(wanted), "").rsplit(".", 1)[0]
    return tuple(
        _start(network, name, item, weights, flow, hidden=name.rsplit(".", 1)[0] != last)
        for name, item in wanted.items()
    )


def _start(
    network: Network, name: str, wanted: Weight, weights: Mapping[str, Array], flow: Flow, hidden: bool
) -> Start:
    layer, weight = name.rsplit(".", 1)
    array = np.asarray(weights[name], np.float64)
    fan_in, fan_out = wanted.fans
    size = rms(array)
    part = _activation_after(network, layer)
    need, need_back = needs(part) if hidden else (1.0, 1.0)
    return Start(
        layer=layer,
        weight=weight,
        activation=part.name,
        fan_in=fan_in,
        fan_out=fan_out,
        size=size,
        gain=size * math.sqrt(fan_in),
        gain_back=size * math.sqrt((fan_in + fan_out) / 2),
        need=need,
        need_back=need_back,
        distinct=_distinct(layer, array, weights),
        units=array.shape[-1],
        hidden=hidden,
        scaled=not isinstance(network[layer].layer, Embedding),
        sums=flow[layer].preactivation,
    )


def _activation_after(network: Network, layer: str) -> Activation:
    """The activation that a layer's sums go into: its own, or that of a later layer that only passes them on."""
    part = activation_of(network[layer].layer)
    while isinstance(part, Identity):
        after = [step for step in network.steps if layer in step.inputs]
        if len(after) != 1 or isinstance(after[0].layer, BatchNorm | LayerNorm):
            return part
        (step,) = after
        if any(hasattr(step.layer, size) for size in ("units", "filters", "entries")):
            return part
        layer, part = step.name, activation_of(step.layer)
    return part


def _distinct(layer: str, array: Array, weights: Mapping[str, Array]) -> float:
    """The share of neurons that start unlike the others: 0 where all of several are copies of one."""
    units = array.shape[-1]
    if units < 2:
        return 1.0
    columns = [
        np.asarray(own, np.float64).reshape(-1, units)
        for key, own in weights.items()
        if key.startswith(f"{layer}.") and own.shape[-1] == units
    ]
    matrix = np.concatenate(columns)
    scale = rms(matrix) or 1.0
    # The same random projection of equal columns is equal; so one number tells each neuron from the others.
    direction = np.random.default_rng(0).standard_normal(len(matrix)) / math.sqrt(len(matrix))
    marks: Array = np.sort(direction @ matrix) / scale
    different = 1 + int(np.sum(np.diff(marks) > ALIKE / units))
    share: float = (different - 1) / (units - 1)
    return share


def restart(settings: Settings, name: str) -> dict[str, Any]:
    """The options by which all weights start from the initializer ``name``; recurrent ones from orthogonal ones."""
    given = settings.network
    if given is None:
        return {"init": name}
    network = given if isinstance(given, Network) else from_document(given)
    steps = [
        replace(step, layer=replace(step.layer, recurrent_init="orthogonal"))
        if isinstance(step.layer, Recurrent)
        else step
        for step in network.steps
    ]
    return (
        {"init": name} if steps == list(network.steps) else {"init": name, "network": Network(tuple(steps))}
    )
