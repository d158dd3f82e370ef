"""Elementwise ops: arithmetic, comparison, select, and the functions of one variable.

Each record states its local derivatives once, as pure mathematics: ``lambda y, x: 1 - y * y`` reads "the
derivative of y = tanh(x)". Inputs are broadcast together by explicit nodes when the graph is built.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from glassgrad.common.frozen import frozen
from glassgrad.graph.node import FLOATS, OPERATORS, DType, Graph, Operand, Type, Value
from glassgrad.ops.op import NO_GRADIENT, Context, Derivative, Maybe, Op, expect, record
from glassgrad.ops.structure import Linear, broadcast_together, broadcast_values, convert, zeros_like

Partial = Callable[..., Value]


@frozen
class Elementwise:
    """The local derivative of the output by each input, as a function of ``(output, *inputs)``."""

    partials: tuple[Partial, ...]

    def reverse(
        self, ctx: Context, cotangents: Sequence[Maybe], outputs: Sequence[Value], inputs: Sequence[Value]
    ) -> Sequence[Maybe]:
        """cotangent * local derivative."""
        (ct,), (y,) = cotangents, outputs
        assert ct is not None
        pairs = zip(self.partials, ctx.needs, strict=True)
        return [ct * partial(y, *inputs) if needed else None for partial, needed in pairs]

    def forward(
        self, ctx: Context, tangents: Sequence[Maybe], outputs: Sequence[Value], inputs: Sequence[Value]
    ) -> Sequence[Maybe]:
        """The sum of local derivative * tangent."""
        total: Maybe = None
        for partial, tangent in zip(self.partials, tangents, strict=True):
            if tangent is not None:
                term = partial(outputs[0], *inputs) * tangent
                total = term if total is None else total + term
        return [total]


Wrapped = Callable[..., Value]


def elementwise(
    name: str,
    reference: Callable[..., Any],
    derivative: Derivative | None,
    allowed: Sequence[DType],
    result: DType | None = None,
) -> Wrapped:
    """Record an elementwise op on operands of one dtype, and return the function that builds it."""

    def infer(types: Sequence[Type], _: Mapping[str, Any], __: Sequence[Graph]) -> tuple[Type, ...]:
        first = types[0]
        expect(all(item == first for item in types), "the operands must have one shape and one dtype")
        expect(first.dtype in allowed, f"defined for {', '.join(allowed)} only")
        return (Type(first.shape, result or first.dtype),)

    op = record(Op(name, infer, reference, derivative, elementwise=True))

    def build(*operands: Operand) -> Value:
        return op(*broadcast_together(name, *operands))

    build.__name__ = build.__qualname__ = name
    build.__doc__ = f"The op ``{name}``, elementwise; operands are broadcast together."
    return build


_NUMBERS: tuple[DType, ...] = (*FLOATS, "int32", "uint32")
_ANY: tuple[DType, ...] = (*_NUMBERS, "bool")


def _function(name: str, reference: Callable[..., Any], *partials: Partial) -> Wrapped:
    return elementwise(name, reference, Elementwise(partials), FLOATS)


def _arithmetic(name: str, reference: Callable[..., Any], derivative: Derivative | None) -> Wrapped:
    return elementwise(name, reference, derivative, _NUMBERS)


def _comparison(name: str, reference: Callable[..., Any]) -> Wrapped:
    return elementwise(name, reference, NO_GRADIENT, _NUMBERS, result="bool")


# --- arithmetic -----------------------------------------------------------------------------------

add = _arithmetic("add", np.add, Linear(lambda ctx, ct, inputs: [ct, ct]))
subtract = _arithmetic("subtract", np.subtract, Linear(lambda ctx, ct, inputs: [ct, -ct]))
negate = _arithmetic("negate", np.negative, Linear(lambda ctx, ct, inputs: [-ct]))
multiply = _arithmetic("multiply", np.multiply, Elementwise((lambda y, a, b: b, lambda y, a, b: a)))
divide = _function("divide", np.divide, lambda y, a, b: 1 / b, lambda y, a, b: -y / b)
power: Wrapped = _function(
    "power",
    lambda a, b: _quiet(np.power, a, b),
    lambda y, a, b: b * power(a, b - 1),
    # The base at 0 contributes nothing: a**b is 0 there for every positive b.
    lambda y, a, b: select(a > 0, y * log(select(a > 0, a, 1.0)), 0.0),
)

# --- comparison and choice ------------------------------------------------------------------------

less = _comparison("less", np.less)
less_equal = _comparison("less_equal", np.less_equal)
greater = _comparison("greater", np.greater)
greater_equal = _comparison("greater_equal", np.greater_equal)
equal = _comparison("equal", np.equal)

logical_and = elementwise("logical_and", np.logical_and, NO_GRADIENT, ("bool",))
logical_or = elementwise("logical_or", np.logical_or, NO_GRADIENT, ("bool",))
logical_not = elementwise("logical_not", np.logical_not, NO_GRADIENT, ("bool",))


def _tie(a: Value, b: Value) -> Value:
    """1 where a > b, 1/2 where they are equal, 0 where a < b: the balanced subgradient of max(a, b) by a."""
    return (convert(a > b, a.dtype) + convert(a >= b, a.dtype)) * 0.5


maximum = elementwise(
    "maximum", np.maximum, Elementwise((lambda y, a, b: _tie(a, b), lambda y, a, b: _tie(b, a))), _NUMBERS
)
minimum = elementwise(
    "minimum", np.minimum, Elementwise((lambda y, a, b: _tie(b, a), lambda y, a, b: _tie(a, b))), _NUMBERS
)


def _infer_select(types: Sequence[Type], _: Mapping[str, Any], __: Sequence[Graph]) -> tuple[Type, ...]:
    condition, a, b = types
    expect(condition.dtype == "bool", "the condition must be bool")
    expect(a == b and a.shape == condition.shape, "both choices must have one dtype, and all one shape")
    return (a,)


def _select_transpose(ctx: Context, ct: Value, inputs: Sequence[Value]) -> Sequence[Maybe]:
    zero = zeros_like(ct)
    return [None, SELECT(inputs[0], ct, zero), SELECT(inputs[0], zero, ct)]


SELECT = record(
    Op("select", _infer_select, np.where, Linear(_select_transpose, arguments=(1, 2)), elementwise=True)
)


def select(condition: Value, a: Operand, b: Operand) -> Value:
    """``a`` where ``condition`` holds, else ``b``; elementwise."""
    a, b = broadcast_together("select", a, b)
    return SELECT(*broadcast_values("select", [condition, a, b]))


# --- functions of one variable --------------------------------------------------------------------


def _quiet(function: Callable[..., Any], *arrays: Any) -> Any:
    """IEEE results (inf, NaN) without NumPy's warnings: the training loop looks for them itself."""
    with np.errstate(all="ignore"):
        return function(*arrays)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    small = np.exp(-np.abs(x))
    result: np.ndarray = np.where(x >= 0, 1 / (1 + small), small / (1 + small)).astype(x.dtype)
    return result


def _erf(x: np.ndarray) -> np.ndarray:
    """The C library's erf, element by element: NumPy has none, and the oracle may be slow."""
    flat = [math.erf(item) for item in x.astype(np.float64).ravel().tolist()]
    return np.array(flat, dtype=x.dtype).reshape(x.shape)


exp = _function("exp", lambda x: _quiet(np.exp, x), lambda y, x: y)
log: Wrapped = _function("log", lambda x: _quiet(np.log, x), lambda y, x: 1 / x)
log1p = _function("log1p", lambda x: _quiet(np.log1p, x), lambda y, x: 1 / (1 + x))
expm1 = _function("expm1", lambda x: _quiet(np.expm1, x), lambda y, x: 1 + y)
tanh = _function("tanh", np.tanh, lambda y, x: 1 - y * y)
sigmoid = _function("sigmoid", _sigmoid, lambda y, x: y * (1 - y))
erf = _function("erf", _erf, lambda y, x: exp(-x * x) * (2 / math.sqrt(math.pi)))
sqrt = _function("sqrt", lambda x: _quiet(np.sqrt, x), lambda y, x: 0.5 / y)
sin: Wrapped = _function("sin", np.sin, lambda y, x: cos(x))
cos: Wrapped = _function("cos", np.cos, lambda y, x: -sin(x))
absolute = _function("absolute", np.abs, lambda y, x: sign(x))
sign: Wrapped = elementwise("sign", np.sign, NO_GRADIENT, FLOATS)
floor = elementwise("floor", np.floor, NO_GRADIENT, FLOATS)
is_finite = elementwise("is_finite", np.isfinite, NO_GRADIENT, FLOATS, result="bool")

OPERATORS.update(
    {
        "add": add,
        "subtract": subtract,
        "multiply": multiply,
        "divide": divide,
        "power": power,
        "negate": negate,
        "less": less,
        "less_equal": less_equal,
        "greater": greater,
        "greater_equal": greater_equal,
    }
)
