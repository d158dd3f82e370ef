"""What every neuron does on training rows: dead, saturated, constant, or a copy of another one."""

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
"""A neuron sits at the flat end of its activation for a row where its slope is below this share of the steepest:
beyond 0.95 of tanh (cf. A. Rakitianskaia and A. Engelbrecht, Measuring saturation in neural networks, 2015)."""

DEAD = 0.005
"""... and passes nothing on below this slope."""

SAMPLES = 4096
UNITS = 512
ROUNDING = 1e-4
"""Outputs that differ by less than this share of their size are the same."""


@frozen
class LayerActivity:
    """One layer on training rows. Units of a convolution are its channels, at every place.

    ``dead`` of the ``units`` pass no gradient on for any row (``dead_at_start``: with the first weights),
    ``saturated`` is the share of (row, unit) at a flat end, ``constant`` units give the same for every row and
    ``copies`` the same as an earlier one. ``active`` [units] is the share of rows for which a unit passes gradient
    on (NaN without an activation that works unit by unit). ``rank`` is the effective rank of the outputs,
    exp(entropy of the singular values) (Roy and Vetterli 2007), ``explained`` the share of the variance of the
    network's output that least squares on this layer explains.
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
class _Seen:
    """One layer's outputs and slopes, [samples, units]; no slopes where no activation works unit by unit."""

    outputs: Floats
    slopes: Floats | None


def activities(model: Model, start: Model, features: Array) -> tuple[LayerActivity, ...]:
    """All layers that have weights or an activation, on prepared ``features`` [rows, ...]."""
    with np.errstate(all="ignore"):
        values, before, at_start = inside(model, features), _seen(model, features), _seen(start, features)
    last = values[model.network.output].reshape(len(features), -1)
    found = []
    for node in model.network.nodes:
        if node.name not in before:
            continue
        seen, first = before[node.name], at_start[node.name]
        found.append(
            LayerActivity(
                node.name,
                kind_of(node.layer),
                activation_of(node.layer).name,
                seen.outputs.shape[1],
                _dead(seen),
                _dead(first),
                _saturated(seen),
                _constant(seen.outputs),
                copies(seen.outputs),
                np.full(seen.outputs.shape[1], math.nan)
                if seen.slopes is None
                else (seen.slopes > DEAD).mean(axis=0),
                effective_rank(seen.outputs),
                explained(values[node.name].reshape(len(features), -1), last),
                node.name != model.network.output,
            )
        )
    return tuple(found)


def inside(model: Model, features: Array) -> dict[str, Array]:
    """What every layer gives, and ``name.preactivation``, by the interpreter, in use: no dropout."""
    dtype: DType = model.dtype
    x = make_input("features", features.shape, dtype)
    weights = {key: make_input(key, array.shape, dtype) for key, array in model.weights.items()}
    state = {key: make_input(key, array.shape, dtype) for key, array in model.statistics.items()}
    row_mask = constant(np.ones(len(features), bool), "bool")
    built = model.network.build(x, weights, state, row_mask=row_mask)
    wanted = built.outputs | built.inner
    arrays = [features, *model.weights.values(), *model.statistics.values()]
    graph = Graph((x, *weights.values(), *state.values()), tuple(wanted.values()))
    return dict(zip(wanted, evaluate(graph, arrays), strict=True))


def _seen(model: Model, features: Array) -> dict[str, _Seen]:
    values = inside(model, features)
    found = {}
    for node in model.network.nodes:
        acts = activation_of(node.layer)
        before = values.get(full_name(node.name, "preactivation"))
        if before is None and not of_layer(model.weights, node.name):
            continue
        outputs = _samples(values[node.name])
        slopes = None
        if before is not None and not isinstance(acts, Identity | Softmax | LogSoftmax):
            slopes = _slopes(acts, _samples(before))
        found[node.name] = _Seen(outputs, slopes)
    return found


def _samples(values: Array) -> Floats:
    """Rows and places as samples [samples, units], at most ``SAMPLES`` of them."""
    rows = values.reshape(-1, values.shape[-1])
    return np.asarray(rows[:: max(-(-len(rows) // SAMPLES), 1)], np.float64)


def _slopes(acts: Activation, before: Floats) -> Floats | None:
    """The size of the slope of the activation at every value."""
    x = make_input("x", before.shape, "float64")
    try:
        y = acts(x)
        (slope,) = vjp([y], [full(y.shape, 1, y.dtype)], [x])
    except GraphError:
        return None
    if slope is None:
        return np.zeros_like(before)
    found: Floats = np.abs(np.nan_to_num(evaluate(Graph((x,), (slope,)), [before])[0]))
    return found


def _dead(seen: _Seen) -> int:
    return 0 if seen.slopes is None else int((seen.slopes <= DEAD).all(axis=0).sum())


def _saturated(seen: _Seen) -> float:
    """The share of samples and units, dead ones of a rectifier not counted, at a flat end of a bounded activation."""
    if seen.slopes is None or seen.slopes.size == 0:
        return 0.0
    flat = seen.slopes < FLAT * _steepest(seen.slopes)
    return float(flat.mean())


def _steepest(slopes: Floats) -> float:
    """The steepest slope there is of common activations: a quarter (sigmoid) or one."""
    return 0.25 if float(slopes.max(initial=0.0)) <= 0.25 + 1e-9 else 1.0


def _constant(outputs: Floats) -> int:
    spread, size = np.ptp(outputs, axis=0), np.abs(outputs).max(axis=0, initial=0.0)
    return int((spread <= 1e-6 * np.maximum(size, 1e-30)).sum())


def copies(outputs: Floats) -> int:
    """How many units give the same as an earlier one, up to rounding; constant units do not count."""
    some = outputs[:: max(len(outputs) // 256, 1), :UNITS]
    varies = np.ptp(some, axis=0) > 1e-6 * np.maximum(np.abs(some).max(axis=0, initial=0.0), 1e-30)
    some = some[:, varies & np.isfinite(some).all(axis=0)]
    if some.shape[1] < 2:
        return 0
    norms = np.sqrt((some**2).sum(axis=0))
    squares = norms[:, None] ** 2 + norms**2 - 2 * some.T @ some
    same = np.maximum(squares, 0) <= (ROUNDING * np.maximum(norms[:, None], norms)) ** 2
    return int(np.triu(same, 1).any(axis=0).sum())


def effective_rank(outputs: Floats) -> float:
    """exp(entropy) of the singular values, as shares of their sum, of the centred outputs [samples, units]."""
    some = outputs[:: max(len(outputs) // 512, 1), :UNITS]
    if not np.isfinite(some).all() or some.size == 0:
        return math.nan
    values = np.linalg.svd(some - some.mean(axis=0), compute_uv=False)
    if not values.sum() > 1e-12 * max(float(np.abs(some).max()), 1e-30):
        return 0.0
    shares = values[values > 0] / values.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def explained(values: Array, output: Array) -> float:
    """The share of the variance of ``output`` [rows, n] that ridge regression on ``values`` [rows, m] explains."""
    x, y = np.asarray(values[:, :UNITS], np.float64), np.asarray(output, np.float64)
    if not (np.isfinite(x).all() and np.isfinite(y).all()) or np.ptp(y) == 0 or len(x) < 8:
        return math.nan
    middle, spread = x.mean(axis=0), x.std(axis=0)
    x = (x - middle)[:, spread > 0] / spread[spread > 0]
    half = len(x) // 2
    fit, score = slice(0, half), slice(half, None)
    error = y[score] - ridge(x[fit], y[fit] - y[fit].mean(axis=0), x[score]) - y[fit].mean(axis=0)
    whole = float(((y[score] - y[score].mean(axis=0)) ** 2).sum())
    return float(np.clip(1 - (error**2).sum() / whole, 0, 1)) if whole > 0 else math.nan
