"""The first weights of a network: their size against what the activation needs, and whether neurons are copies."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from glassgrad.autodiff.sweeps import gradient
from glassgrad.backends.base import Array
from glassgrad.backends.reference import evaluate
from glassgrad.common.errors import GraphError
from glassgrad.common.layer_names import layer_of, of_layer, split_name
from glassgrad.diagnosis.core.plain import plain_object
from glassgrad.diagnosis.measures.flow import Flow, LayerFlow
from glassgrad.diagnosis.measures.flow import size as rms
from glassgrad.graph.node import Graph
from glassgrad.nn.activations import Activation, Identity
from glassgrad.nn.layer import ParameterSpec
from glassgrad.nn.layers.convolution import Conv2D
from glassgrad.nn.layers.dense import Dense
from glassgrad.nn.layers.embedding import Embedding
from glassgrad.nn.layers.normalization import BatchNorm, LayerNorm
from glassgrad.nn.layers.recurrent import SimpleRNN
from glassgrad.nn.network import INPUT, Network, activation_of
from glassgrad.ops.op import make_input
from glassgrad.ops.structure import reduce_sum

ALIKE = 1e-4
"""Neurons whose weights differ by less than this share of their size count as copies."""


LOUD = 2.0
"""Sums of this size are large: about 1 is right."""

LARGE = 2.5
"""A gain is too large above so many times what both directions need: values of a relu layer grow sixfold in variance.
Every usual initializer stays within 0.3 to 1.5 of the need."""

SMALL = 0.2
"""... and too small below this share of it. The classical uniform +-1 / sqrt(fan) has 0.41 at relu."""

GROWTH = 5.0
"""Measured on the rows: sums so many times as large as the network's inputs. Those of the usual initializers keep the
size of the inputs, give or take sqrt(2) (He et al., 2015, equation 10)."""

ABOVE = 1.2
"""Where sums grow so, weights count from this gain relative to the need on."""

FADED = 0.01
"""The product of the gains of the hidden layers, each against its need, below which next to nothing arrives."""

FAINT = 0.1
"""... where it shows on the rows: sums below this share of the inputs."""

COPIES = 0.5
"""The share of a layer's neurons that have to differ at the start: equal ones get equal gradients for ever."""


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
        return plain_object(vars(self))


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
    last = layer_of(next(reversed(wanted), ""))
    return tuple(
        _start(network, name, item, weights, flow, hidden=layer_of(name) != last)
        for name, item in wanted.items()
    )


def _start(
    network: Network, name: str, wanted: ParameterSpec, weights: Mapping[str, Array], flow: Flow, hidden: bool
) -> Start:
    layer, weight = split_name(name)
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
        after = [step for step in network.nodes if layer in step.inputs]
        if len(after) != 1 or isinstance(after[0].layer, BatchNorm | LayerNorm):
            return part
        (step,) = after
        if isinstance(step.layer, Dense | Conv2D | SimpleRNN | Embedding):
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
        for own in of_layer(weights, layer).values()
        if own.shape[-1] == units
    ]
    matrix = np.concatenate(columns)
    scale = rms(matrix) or 1.0
    # The same random projection of equal columns is equal; so one number tells each neuron from the others.
    direction = np.random.default_rng(0).standard_normal(len(matrix)) / math.sqrt(len(matrix))
    marks: Array = np.sort(direction @ matrix) / scale
    different = 1 + int(np.sum(np.diff(marks) > ALIKE / units))
    share: float = (different - 1) / (units - 1)
    return share


def is_large(start: Start) -> bool:
    """Whether a weight is too large by itself."""
    return start.scaled and start.loud and start.too_large >= LARGE


def is_small(start: Start) -> bool:
    """Whether a weight of a hidden layer is too small by itself."""
    return start.scaled and start.hidden and start.too_small <= SMALL


def product(found: Sequence[Start]) -> float:
    """The product of the hidden gains, each as a share of its need."""
    return math.prod(start.too_small for start in found if start.hidden and start.scaled)


def fades(found: Sequence[Start], layers: Sequence[LayerFlow]) -> bool:
    """Whether small gains add up to sums that are small on the rows as well.

    A stack of sigmoids keeps its sums by the mean of its outputs: what fades there is not for want of larger weights.
    """
    hidden = {start.layer for start in found if start.hidden}
    sums = [layer.preactivation for layer in layers if layer.name in hidden and layer.preactivation >= 0]
    given = next((layer.given for layer in layers if INPUT in layer.inputs), math.nan)
    return product(found) <= FADED and min(sums, default=0.0) <= FAINT * given


def growth(layers: Sequence[LayerFlow]) -> tuple[float, str]:
    """The largest sum relative to the network's inputs, and its layer; NaN where no sums are in sight."""
    given = next((layer.given for layer in layers if INPUT in layer.inputs), math.nan)
    known = [(layer.preactivation, layer.name) for layer in layers if layer.preactivation >= 0]
    if not known or not given > 0:
        return math.nan, ""
    largest, name = max(known)
    return largest / max(given, 1.0), name


def size_of(found: Sequence[Start], layers: Sequence[LayerFlow]) -> str:
    """What is wrong with first weights: "copies", "small", "large", or "" for nothing."""
    if any(start.distinct < COPIES for start in found if start.hidden):
        return "copies"
    if any(map(is_small, found)) or fades(found, layers):
        return "small"
    above = any(start.too_large >= ABOVE for start in found if start.hidden and start.scaled)
    return "large" if any(map(is_large, found)) or (above and growth(layers)[0] >= GROWTH) else ""
