"""The initial weights of a network: their size relative to what the activation needs, and duplicate neurons."""

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
"""Preactivations of this size are large; about 1 is right."""

LARGE = 2.5
"""A gain is too large from this multiple of the need of both directions on: the variance through a relu layer then
grows about sixfold. Every usual initializer stays within 0.3 to 1.5 times the need."""

SMALL = 0.2
"""A gain is too small below this share of the need. The classical uniform +-1 / sqrt(fan) has 0.41 with relu."""

GROWTH = 5.0
"""Preactivations have grown if they are this many times as large as the network's inputs, on the rows. Usual
initializers keep the size of the inputs within a factor of sqrt(2) (He et al., 2015, equation 10)."""

ABOVE = 1.2
"""If preactivations have grown, weights with a gain above this multiple of the need count as too large."""

FADED = 0.01
"""The signal has faded if the product of the hidden gains, each relative to its need, is below this."""

FAINT = 0.1
"""A faded signal must also show on the rows: preactivations below this share of the size of the inputs."""

COPIES = 0.5
"""The least share of a layer's neurons that must differ at the start: equal neurons always get equal gradients."""


@dataclass(frozen=True)
class Start:
    """One initial weight array.

    ``size`` is its root mean square. ``gain`` is ``size`` times the root of the fan-in, ``gain_back`` times the root
    of the mean of both fans. ``need`` and ``need_back`` are the gains that the activation needs forward and backward.
    ``distinct`` is the share of neurons that differ from all earlier ones. ``scaled`` is False for embeddings.
    ``sums`` is the size of the layer's preactivations on the rows (NaN if unknown).
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
        """The smaller gain, as a multiple of the larger need."""
        return min(self.gain, self.gain_back) / max(self.need, self.need_back)

    @property
    def too_small(self) -> float:
        """The larger gain, as a share of the smaller need."""
        return max(self.gain, self.gain_back) / min(self.need, self.need_back)

    @property
    def loud(self) -> bool:
        """Whether the preactivations are large too; they are not if the weights only compensate for small inputs."""
        return not self.sums < LOUD

    def document(self) -> dict[str, Any]:
        """As plain values."""
        return plain_object(vars(self))


def needs(part: Activation) -> tuple[float, float]:
    """The gains that keep preactivations and gradients at one size through ``part``; 1 if it is not elementwise.

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
    matrices = {name: item for name, item in network.weights(input_shape).items() if weights[name].ndim >= 2}
    last = layer_of(next(reversed(matrices), ""))
    return tuple(
        _start(network, name, item, weights, flow, hidden=layer_of(name) != last)
        for name, item in matrices.items()
    )


def _start(
    network: Network, name: str, spec: ParameterSpec, weights: Mapping[str, Array], flow: Flow, hidden: bool
) -> Start:
    layer, weight = split_name(name)
    array = np.asarray(weights[name], np.float64)
    fan_in, fan_out = spec.fans
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
    """The activation of a layer, or, if it is linear, that of the next layer without weights."""
    part = activation_of(network[layer].layer)
    while isinstance(part, Identity):
        consumers = [node for node in network.nodes if layer in node.inputs]
        if len(consumers) != 1 or isinstance(consumers[0].layer, BatchNorm | LayerNorm):
            return part
        (consumer,) = consumers
        if isinstance(consumer.layer, Dense | Conv2D | SimpleRNN | Embedding):
            return part
        layer, part = consumer.name, activation_of(consumer.layer)
    return part


def _distinct(layer: str, array: Array, weights: Mapping[str, Array]) -> float:
    """The share of neurons that differ from all earlier ones: 0 if all are copies of one, 1 for a single neuron."""
    units = array.shape[-1]
    if units < 2:
        return 1.0
    columns = [
        np.asarray(array, np.float64).reshape(-1, units)
        for array in of_layer(weights, layer).values()
        if array.shape[-1] == units
    ]
    matrix = np.concatenate(columns)
    scale = rms(matrix) or 1.0
    # Equal columns have equal random projections, so one number identifies each neuron.
    direction = np.random.default_rng(0).standard_normal(len(matrix)) / math.sqrt(len(matrix))
    projections: Array = np.sort(direction @ matrix) / scale
    different = 1 + int(np.sum(np.diff(projections) > ALIKE / units))
    share: float = (different - 1) / (units - 1)
    return share


def is_large(start: Start) -> bool:
    """Whether a single weight array is too large."""
    return start.scaled and start.loud and start.too_large >= LARGE


def is_small(start: Start) -> bool:
    """Whether a single weight array of a hidden layer is too small."""
    return start.scaled and start.hidden and start.too_small <= SMALL


def product(initial: Sequence[Start]) -> float:
    """The product of the hidden gains, each relative to its need."""
    return math.prod(start.too_small for start in initial if start.hidden and start.scaled)


def fades(initial: Sequence[Start], layers: Sequence[LayerFlow]) -> bool:
    """Whether the gains multiply to nearly nothing, and the preactivations on the rows are small too.

    In a stack of sigmoids the mean of the outputs keeps the preactivations large; larger weights would not help
    there.
    """
    hidden = {start.layer for start in initial if start.hidden}
    sums = [layer.preactivation for layer in layers if layer.name in hidden and layer.preactivation >= 0]
    input_size = next((layer.given for layer in layers if INPUT in layer.inputs), math.nan)
    return product(initial) <= FADED and min(sums, default=0.0) <= FAINT * input_size


def growth(layers: Sequence[LayerFlow]) -> tuple[float, str]:
    """The largest preactivation size relative to the network's inputs, and its layer; NaN if none is known."""
    input_size = next((layer.given for layer in layers if INPUT in layer.inputs), math.nan)
    sizes = [(layer.preactivation, layer.name) for layer in layers if layer.preactivation >= 0]
    if not sizes or not input_size > 0:
        return math.nan, ""
    largest, name = max(sizes)
    return largest / max(input_size, 1.0), name


def size_of(initial: Sequence[Start], layers: Sequence[LayerFlow]) -> str:
    """What is wrong with the initial weights: "copies", "small", "large", or "" for nothing."""
    if any(start.distinct < COPIES for start in initial if start.hidden):
        return "copies"
    if any(map(is_small, initial)) or fades(initial, layers):
        return "small"
    above = any(start.too_large >= ABOVE for start in initial if start.hidden and start.scaled)
    return "large" if any(map(is_large, initial)) or (above and growth(layers)[0] >= GROWTH) else ""
