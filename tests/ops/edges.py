"""Derivatives at edge cases: at 0 and 1, at infinities, at ties, and at the ends of a domain.

Each number is the derivative, its one-sided limit inside the domain, or the documented value at a kink. NaN means
that no limit exists. None means that the number is not tested, because the two orders of differentiation may differ.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from glassgrad.graph.node import Value
from glassgrad.ops import table as ops
from glassgrad.ops.op import constant

INF, NAN = math.inf, math.nan
E = math.e
SIGMOID = 1 / (1 + math.exp(-1))  # at 1
SLOPE = SIGMOID * (1 - SIGMOID)
TANH = math.tanh(1)
BELL = 2 / math.sqrt(math.pi)

# --- functions of one variable: {x: (first, second derivative)} --------------------------------------------

UNARY: dict[str, dict[float, tuple[float, float]]] = {
    "exp": {0: (1, 1), 1: (E, E), -1: (1 / E, 1 / E), INF: (INF, INF), -INF: (0, 0)},
    "expm1": {0: (1, 1), 1: (E, E), -1: (1 / E, 1 / E), INF: (INF, INF), -INF: (0, 0)},
    "log": {0: (INF, -INF), 1: (1, -1), 0.5: (2, -4), INF: (0, 0)},
    "log1p": {-1: (INF, -INF), 0: (1, -1), 1: (0.5, -0.25), INF: (0, 0)},
    "sqrt": {0: (INF, -INF), 1: (0.5, -0.25), 4: (0.25, -1 / 32), INF: (0, 0)},
    "tanh": {
        0: (1, 0),
        1: (1 - TANH**2, -2 * TANH * (1 - TANH**2)),
        -1: (1 - TANH**2, 2 * TANH * (1 - TANH**2)),
        1e30: (0, 0),
        INF: (0, 0),
        -INF: (0, 0),
    },
    "sigmoid": {
        0: (0.25, 0),
        1: (SLOPE, SLOPE * (1 - 2 * SIGMOID)),
        -1: (SLOPE, SLOPE * (2 * SIGMOID - 1)),
        -1e30: (0, 0),
        INF: (0, 0),
        -INF: (0, 0),
    },
    "erf": {
        0: (BELL, 0),
        1: (BELL / E, -2 * BELL / E),
        -1: (BELL / E, 2 * BELL / E),
        30: (0, 0),
        -1e30: (0, 0),
        INF: (0, 0),
        -INF: (0, 0),
    },
    "sin": {0: (1, 0), 1: (math.cos(1), -math.sin(1)), -1: (math.cos(1), math.sin(1)), INF: (NAN, NAN)},
    "cos": {0: (0, -1), 1: (-math.sin(1), -math.cos(1)), -1: (math.sin(1), -math.cos(1)), INF: (NAN, NAN)},
    # At the kink: 0, halfway between -1 and 1.
    "absolute": {0: (0, 0), 1: (1, 0), -1: (-1, 0), INF: (1, 0), -INF: (-1, 0)},
}

# --- of two variables: {(a, b): (d/da, d/db, d2/da2, d2/da db, d2/db2)} ------------------------------------

Five = tuple[float, float, float, float | None, float]
LN2 = math.log(2)


def _power(a: float, b: float) -> Five:
    """The derivatives of a ** b at a > 0, by formula."""
    y, log = a**b, math.log(a)
    return (b * a ** (b - 1), y * log, b * (b - 1) * a ** (b - 2), a ** (b - 1) * (1 + b * log), y * log**2)


BINARY: dict[str, dict[tuple[float, float], Five]] = {
    "multiply": {
        (0, 0): (0, 0, 0, 1, 0),
        (INF, 2): (2, INF, 0, 1, 0),
        (0, INF): (INF, 0, 0, 1, 0),
        (-1, -INF): (-INF, -1, 0, 1, 0),
    },
    "divide": {
        (1, 0): (INF, -INF, 0, -INF, INF),
        (-1, 0): (INF, INF, 0, -INF, -INF),
        (0, 1): (1, 0, 0, -1, 0),
        (0, -1): (-1, 0, 0, -1, 0),
        (1, INF): (0, 0, 0, 0, 0),
        (-1, -INF): (0, 0, 0, 0, 0),
        (INF, 1): (1, -INF, 0, -1, INF),
    },
    "maximum": {
        (2, 1): (1, 0, 0, 0, 0),
        (1, 2): (0, 1, 0, 0, 0),
        (0, 0): (0.5, 0.5, 0, 0, 0),
        (INF, INF): (0.5, 0.5, 0, 0, 0),
        (-INF, -INF): (0.5, 0.5, 0, 0, 0),
        (INF, 1): (1, 0, 0, 0, 0),
        (-INF, 1): (0, 1, 0, 0, 0),
    },
    "minimum": {
        (2, 1): (0, 1, 0, 0, 0),
        (1, 2): (1, 0, 0, 0, 0),
        (0, 0): (0.5, 0.5, 0, 0, 0),
        (INF, INF): (0.5, 0.5, 0, 0, 0),
        (INF, 1): (0, 1, 0, 0, 0),
        (-INF, 1): (1, 0, 0, 0, 0),
    },
    "power": {
        **{
            (a, b): _power(a, b) for a in (0.5, 1.0, 2.0) for b in (-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0)
        },
        # Base 0. The derivative with respect to the base is the limit from the right. The derivative with respect to
        # the exponent is 0, which is the limit for positive exponents only. The two mixed derivatives agree only for
        # exponents above 1.
        (0, -2): (-INF, 0, INF, None, 0),
        (0, -1): (-INF, 0, INF, None, 0),
        (0, -0.5): (-INF, 0, INF, None, 0),
        (0, 0): (0, 0, 0, None, 0),
        (0, 0.5): (INF, 0, -INF, None, 0),
        (0, 1): (1, 0, 0, None, 0),
        (0, 1.5): (0, 0, INF, 0, 0),
        (0, 2): (0, 0, 2, 0, 0),
        (0, 3): (0, 0, 0, 0, 0),
        # Negative bases. Their powers exist for integer exponents only, so the derivative with respect to the
        # exponent is defined as 0.
        (-2, -2): (0.25, 0, 0.375, None, 0),
        (-2, -1): (-0.25, 0, -0.25, None, 0),
        (-1, 0): (0, 0, 0, None, 0),
        (-2, 1): (1, 0, 0, None, 0),
        (-2, 2): (-4, 0, 2, None, 0),
        (-1, 3): (3, 0, -6, None, 0),
        # Infinite bases.
        (INF, -2): (0, 0, 0, 0, 0),
        (INF, -0.5): (0, 0, 0, 0, 0),
        (INF, 0): (0, INF, 0, None, INF),
        (INF, 0.5): (0, INF, 0, None, INF),
        (INF, 1): (1, INF, 0, None, INF),
        (INF, 2): (INF, INF, 2, None, INF),
        (-INF, -1): (0, 0, 0, None, 0),
        (-INF, 1): (1, 0, 0, None, 0),
        (-INF, 2): (-INF, 0, 2, None, 0),
        (-INF, 3): (INF, 0, -INF, None, 0),
    },
}

# --- of an array -------------------------------------------------------------------------------------------

Numbers = tuple[float, ...]


@dataclass(frozen=True)
class Edge:
    """A scalar function of n numbers, its gradient, and its Hessian by rows (empty: zeros; None: not tested).

    ``forward`` is False if the forward sweep multiplies a tangent of 0 by an infinite slope, which gives NaN.
    """

    op: str
    label: str
    build: Callable[[Value], Value]
    at: Numbers
    first: Numbers
    second: tuple[Numbers, ...] | None = ()
    forward: bool = True

    def __str__(self) -> str:
        return f"{self.op}-{self.label}"


def _weighted(y: Value, weights: Numbers) -> Value:
    return ops.reduce_sum(y * constant(weights, y.dtype))


def _image(x: Value, pool: Callable[[Value], Value]) -> Value:
    return ops.reduce_sum(pool(ops.reshape(x, (1, 2, 2, 1))))


def _safe_log(x: Value) -> Value:
    return ops.reduce_sum(ops.select(x > 0, ops.log(ops.select(x > 0, x, 1.0)), 0.0))


def _softmax(x: Value) -> Value:
    return _weighted(ops.softmax(x), (1, 2))


def _log_softmax(x: Value) -> Value:
    return _weighted(ops.log_softmax(x), (1, 2))


QUARTERS = ((0.25, -0.25), (-0.25, 0.25))

EDGES: tuple[Edge, ...] = (
    Edge("max", "two of four equal", ops.reduce_max, (1, 3, 3, 0), (0, 0.5, 0.5, 0)),
    Edge("max", "all equal", ops.reduce_max, (0, 0, -0.0, 0), (0.25,) * 4),
    Edge("max", "infinite", ops.reduce_max, (1, INF, -INF, INF), (0, 0.5, 0, 0.5)),
    Edge("max", "minus infinity everywhere", ops.reduce_max, (-INF, -INF), (0.5, 0.5)),
    Edge("max", "minimum of equal numbers", ops.reduce_min, (1, 0, -INF, -INF), (0, 0, 0.5, 0.5)),
    Edge("max", "window of equal numbers", lambda x: _image(x, lambda i: ops.max_pool2d(i, (2, 2))),
         (5, 5, 1, 5), (1 / 3, 1 / 3, 0, 1 / 3)),
    Edge("max", "infinite slope of what follows", lambda x: ops.sqrt(ops.reduce_max(x)),
         (0, -1), (INF, 0), None, forward=False),
    Edge("top_k", "first of equal numbers", lambda x: _weighted(ops.top_k(x, 2)[0], (1, 2)),
         (1, 3, 3, 3), (0, 1, 2, 0)),
    Edge("top_k", "infinite", lambda x: _weighted(ops.top_k(x, 3)[0], (1, 2, 3)),
         (-INF, INF, 0, -INF), (3, 1, 2, 0)),
    Edge("top_k", "infinite slope of what follows", lambda x: ops.reduce_sum(ops.sqrt(ops.top_k(x, 1)[0])),
         (0, -1), (INF, 0), None, forward=False),
    Edge("maximum", "infinite slope of what follows", lambda x: ops.reduce_sum(ops.sqrt(ops.maximum(x, 0.0))),
         (-1, 4), (0, 0.25), None, forward=False),
    Edge("minimum", "infinite slope of what follows", lambda x: ops.reduce_sum(ops.sqrt(-ops.minimum(x, 0.0))),
         (1, -4), (0, -0.25), None, forward=False),
    Edge("select", "NaN in the branch not taken", lambda x: ops.reduce_sum(ops.select(x > 0, x * x, x + NAN)),
         (2, 3), (4, 6), ((2, 0), (0, 2))),
    Edge("select", "safe logarithm", _safe_log,
         (0, -1, 2), (0, 0, 0.5), ((0, 0, 0), (0, 0, 0), (0, 0, -0.25))),
    Edge("softmax", "equal", _softmax, (3, 3), (-0.25, 0.25), ((0, 0), (0, 0))),
    Edge("softmax", "masked", _softmax, (1, -INF), (0, 0)),
    Edge("softmax", "plus infinity", _softmax, (INF, 1), (0, 0)),
    Edge("softmax", "plus infinity twice", _softmax, (INF, INF), (-0.25, 0.25)),
    Edge("softmax", "minus infinity everywhere", _softmax, (-INF, -INF), (-0.25, 0.25)),
    Edge("log_softmax", "equal", _log_softmax, (3, 3), (-0.5, 0.5), ((-0.75, 0.75), (0.75, -0.75))),
    Edge("log_softmax", "masked", _log_softmax, (1, -INF), (-2, 2)),
    Edge("log_softmax", "plus infinity", _log_softmax, (INF, 1), (-2, 2)),
    Edge("log_softmax", "minus infinity everywhere", _log_softmax, (-INF, -INF), (-0.5, 0.5),
         ((-0.75, 0.75), (0.75, -0.75))),
    Edge("logsumexp", "equal", ops.logsumexp, (3, 3), (0.5, 0.5), QUARTERS),
    Edge("logsumexp", "masked", ops.logsumexp, (1, -INF), (1, 0)),
    Edge("logsumexp", "plus infinity", ops.logsumexp, (INF, 1), (1, 0)),
    Edge("logsumexp", "plus infinity twice", ops.logsumexp, (INF, INF), (0.5, 0.5), QUARTERS),
    Edge("logsumexp", "minus infinity everywhere", ops.logsumexp, (-INF, -INF), (0.5, 0.5), QUARTERS),
)  # fmt: skip

# Ops with a derivative but without edge cases, and the reason. Linear and bilinear ops need no entry: the derivative
# of a linear op does not depend on its inputs, and multiply covers the products.
WITHOUT_EDGES: Mapping[str, str] = {
    "call": "the chain rule through its body",
    "scan": "the chain rule through its body",
}
