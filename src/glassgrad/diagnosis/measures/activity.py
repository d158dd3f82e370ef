"""Activity of neurons on training rows: dead, saturated, constant, or duplicate."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from glassgrad.autodiff.sweeps import vjp
from glassgrad.backends.base import Array
from glassgrad.backends.reference import evaluate
from glassgrad.common.errors import GraphError
from glassgrad.common.frozen import frozen
from glassgrad.common.layer_names import full_name, of_layer
from glassgrad.diagnosis.core.plain import plain_object
from glassgrad.diagnosis.measures.simple_learner import ridge
from glassgrad.graph.node import DType, Graph
from glassgrad.nn.activations import Activation, Identity, LogSoftmax, Softmax
from glassgrad.nn.network import activation_of, kind_of
from glassgrad.ops.op import constant, make_input
from glassgrad.ops.structure import full
from glassgrad.training.model import Model

Floats = npt.NDArray[np.float64]

FLAT = 0.1
"""A neuron is saturated on a row if its slope is below this share of the steepest: beyond 0.95 for tanh (cf. A.
Rakitianskaia and A. Engelbrecht, Measuring saturation in neural networks, 2015)."""

DEAD = 0.005
"""A neuron passes no gradient on below this slope."""

SAMPLES = 4096
UNITS = 512
ROUNDING = 1e-4
"""Outputs that differ by less than this share of their norm count as equal."""


@frozen
class LayerActivity:
    """One layer on training rows. The units of a convolution are its channels, at every position.

    ``dead`` of the ``units`` pass no gradient on for any row; ``dead_at_start`` is that number with the initial
    weights. ``saturated`` is the share of (row, unit) pairs that are saturated. ``constant`` units have the same
    output for every row, and ``copies`` the same outputs as an earlier unit. ``active`` [units] is the share of rows
    for which a unit passes gradient on (NaN without an elementwise activation). ``rank`` is the effective rank of the
    outputs, exp(entropy of the singular values) (Roy and Vetterli 2007). ``explained`` is the share of the variance
    of the network's output that least squares on this layer explains.
    """

    name: str
    kind: str
    activation: str
    units: int
    dead: int
    dead_at_start: int
    saturated: float
    constant: int
    copies: int
    active: Floats
    rank: float
    explained: float
    hidden: bool

    def document(self) -> dict[str, Any]:
        """As plain values."""
        return plain_object(vars(self))


@frozen
class _Samples:
    """Outputs and slopes of one layer, [samples, units]; slopes are None without an elementwise activation."""

    outputs: Floats
    slopes: Floats | None


def activities(model: Model, start: Model, features: Array) -> tuple[LayerActivity, ...]:
    """The activity of all layers with weights or an activation, on prepared ``features`` [rows, ...]."""
    with np.errstate(all="ignore"):
        values = layer_values(model, features)
        now, at_start = _samples_of(model, features), _samples_of(start, features)
    last = values[model.network.output].reshape(len(features), -1)
    layers = []
    for node in model.network.nodes:
        if node.name not in now:
            continue
        samples, first = now[node.name], at_start[node.name]
        layers.append(
            LayerActivity(
                node.name,
                kind_of(node.layer),
                activation_of(node.layer).name,
                samples.outputs.shape[1],
                _dead(samples),
                _dead(first),
                _saturated(samples),
                _constant(samples.outputs),
                copies(samples.outputs),
                np.full(samples.outputs.shape[1], math.nan)
                if samples.slopes is None
                else (samples.slopes > DEAD).mean(axis=0),
                effective_rank(samples.outputs),
                explained(values[node.name].reshape(len(features), -1), last),
                node.name != model.network.output,
            )
        )
    return tuple(layers)


def layer_values(model: Model, features: Array) -> dict[str, Array]:
    """The outputs of every layer, and its ``name.preactivation``, in inference mode, by the interpreter."""
    dtype: DType = model.dtype
    x = make_input("features", features.shape, dtype)
    weights = {key: make_input(key, array.shape, dtype) for key, array in model.weights.items()}
    state = {key: make_input(key, array.shape, dtype) for key, array in model.statistics.items()}
    row_mask = constant(np.ones(len(features), bool), "bool")
    built = model.network.build(x, weights, state, row_mask=row_mask)
    values = built.outputs | built.inner
    arrays = [features, *model.weights.values(), *model.statistics.values()]
    graph = Graph((x, *weights.values(), *state.values()), tuple(values.values()))
    return dict(zip(values, evaluate(graph, arrays), strict=True))


def _samples_of(model: Model, features: Array) -> dict[str, _Samples]:
    values = layer_values(model, features)
    samples = {}
    for node in model.network.nodes:
        function = activation_of(node.layer)
        before = values.get(full_name(node.name, "preactivation"))
        if before is None and not of_layer(model.weights, node.name):
            continue
        outputs = _samples(values[node.name])
        slopes = None
        if before is not None and not isinstance(function, Identity | Softmax | LogSoftmax):
            slopes = _slopes(function, _samples(before))
        samples[node.name] = _Samples(outputs, slopes)
    return samples


def _samples(values: Array) -> Floats:
    """Rows and positions as samples [samples, units], at most ``SAMPLES`` of them."""
    rows = values.reshape(-1, values.shape[-1])
    return np.asarray(rows[:: max(-(-len(rows) // SAMPLES), 1)], np.float64)


def _slopes(function: Activation, before: Floats) -> Floats | None:
    """The absolute slope of an activation at every value; None if it has no derivative."""
    x = make_input("x", before.shape, "float64")
    try:
        y = function(x)
        (slope,) = vjp([y], [full(y.shape, 1, y.dtype)], [x])
    except GraphError:
        return None
    if slope is None:
        return np.zeros_like(before)
    slopes: Floats = np.abs(np.nan_to_num(evaluate(Graph((x,), (slope,)), [before])[0]))
    return slopes


def _dead(samples: _Samples) -> int:
    return 0 if samples.slopes is None else int((samples.slopes <= DEAD).all(axis=0).sum())


def _saturated(samples: _Samples) -> float:
    """The share of (sample, unit) pairs at a flat end of the activation."""
    if samples.slopes is None or samples.slopes.size == 0:
        return 0.0
    flat = samples.slopes < FLAT * _steepest(samples.slopes)
    return float(flat.mean())


def _steepest(slopes: Floats) -> float:
    """The steepest slope of the activation: a quarter (sigmoid) or one (other common activations)."""
    return 0.25 if float(slopes.max(initial=0.0)) <= 0.25 + 1e-9 else 1.0


def _constant(outputs: Floats) -> int:
    spread, size = np.ptp(outputs, axis=0), np.abs(outputs).max(axis=0, initial=0.0)
    return int((spread <= 1e-6 * np.maximum(size, 1e-30)).sum())


def copies(outputs: Floats) -> int:
    """The number of units with the same outputs as an earlier unit, up to rounding; constant units do not count."""
    sample = outputs[:: max(len(outputs) // 256, 1), :UNITS]
    varies = np.ptp(sample, axis=0) > 1e-6 * np.maximum(np.abs(sample).max(axis=0, initial=0.0), 1e-30)
    sample = sample[:, varies & np.isfinite(sample).all(axis=0)]
    if sample.shape[1] < 2:
        return 0
    norms = np.sqrt((sample**2).sum(axis=0))
    squares = norms[:, None] ** 2 + norms**2 - 2 * sample.T @ sample
    same = np.maximum(squares, 0) <= (ROUNDING * np.maximum(norms[:, None], norms)) ** 2
    return int(np.triu(same, 1).any(axis=0).sum())


def effective_rank(outputs: Floats) -> float:
    """exp(entropy) of the singular values, as shares of their sum, of the centred outputs [samples, units]."""
    sample = outputs[:: max(len(outputs) // 512, 1), :UNITS]
    if not np.isfinite(sample).all() or sample.size == 0:
        return math.nan
    values = np.linalg.svd(sample - sample.mean(axis=0), compute_uv=False)
    if not values.sum() > 1e-12 * max(float(np.abs(sample).max()), 1e-30):
        return 0.0
    shares = values[values > 0] / values.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def explained(values: Array, output: Array) -> float:
    """The share of the variance of ``output`` [rows, n] that ridge regression on ``values`` [rows, m] explains."""
    x, y = np.asarray(values[:, :UNITS], np.float64), np.asarray(output, np.float64)
    if not (np.isfinite(x).all() and np.isfinite(y).all()) or np.ptp(y) == 0 or len(x) < 8:
        return math.nan
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    x = (x - mean)[:, deviation > 0] / deviation[deviation > 0]
    half = len(x) // 2
    fit, score = slice(0, half), slice(half, None)
    error = y[score] - ridge(x[fit], y[fit] - y[fit].mean(axis=0), x[score]) - y[fit].mean(axis=0)
    total = float(((y[score] - y[score].mean(axis=0)) ** 2).sum())
    return float(np.clip(1 - (error**2).sum() / total, 0, 1)) if total > 0 else math.nan
