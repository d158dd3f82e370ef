"""Elementwise ops: arithmetic, comparison, select, and functions of one variable.

Each record states its local derivatives as functions of output and inputs: ``lambda y, x: 1 - y * y`` is the
derivative of y = tanh(x). Operands are broadcast together by explicit nodes when the graph is built.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from glassgrad.common.frozen import frozen
from glassgrad.graph.node import FLOATS, OPERATORS, DType, Graph, Operand, Type, Value
from glassgrad.ops.op import NO_GRADIENT, Context, Derivative, Maybe, Op, expect, record
from glassgrad.ops.structure import Linear, broadcast_together, broadcast_values, zeros_like

Partial = Callable[..., Value]


@frozen
class Elementwise:
    """The derivative of an elementwise op.

    ``partials[i](output, *inputs)`` is the local derivative of the output with respect to input i.
    """

    partials: tuple[Partial, ...]

    def reverse(
        self, ctx: Context, cotangents: Sequence[Maybe], outputs: Sequence[Value], inputs: Sequence[Value]
    ) -> Sequence[Maybe]:
        """Cotangent of the output * local derivative, for each input."""
        (ct,), (y,) = cotangents, outputs
        assert ct is not None
        pairs = zip(self.partials, ctx.needs, strict=True)
        return [ct * partial(y, *inputs) if needed else None for partial, needed in pairs]

    def forward(
        self, ctx: Context, tangents: Sequence[Maybe], outputs: Sequence[Value], inputs: Sequence[Value]
    ) -> Sequence[Maybe]:
        """The sum over the inputs of local derivative * tangent."""
        total: Maybe = None
        for partial, tangent in zip(self.partials, tangents, strict=True):
            if tangent is not None:
                term = partial(outputs[0], *inputs) * tangent
                total = term if total is None else total + term
        return [total]


@frozen
class Routed:
    """The derivative of an op whose output is one of its two inputs, such as the maximum.

    ``routes[i](change, a, b)`` is the part of the tangent or cotangent ``change`` that passes through input i. A
    route selects instead of multiplying by 0 or 1, because infinity * 0 is NaN.
    """

    routes: tuple[Partial, Partial]

    def reverse(
        self, ctx: Context, cotangents: Sequence[Maybe], outputs: Sequence[Value], inputs: Sequence[Value]
    ) -> Sequence[Maybe]:
        """The part of the cotangent that passes through each input."""
        pairs = zip(self.routes, ctx.needs, strict=True)
        return [route(cotangents[0], *inputs) if needed else None for route, needed in pairs]

    def forward(
        self, ctx: Context, tangents: Sequence[Maybe], outputs: Sequence[Value], inputs: Sequence[Value]
    ) -> Sequence[Maybe]:
        """The sum over the inputs of the part of the tangent that passes through."""
        pairs = zip(self.routes, tangents, strict=True)
        first, *rest = [route(tangent, *inputs) for route, tangent in pairs if tangent is not None]
        return [first + rest[0] if rest else first]


Wrapped = Callable[..., Value]


def elementwise(
    name: str,
    reference: Callable[..., Any],
    derivative: Derivative | None,
    allowed: Sequence[DType],
    result: DType | None = None,
) -> Wrapped:
    """Record an elementwise op on operands of one dtype, and return the function that applies it.

    ``allowed`` are the dtypes of the operands. ``result`` is the dtype of the output; None: that of the operands.
    """

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


def _power_by_base(y: Value, a: Value, b: Value) -> Value:
    """b * a**(b - 1), and 0 at 0**0, because a**0 is constant."""
    return b * power(select(logical_and(equal(a, 0.0), equal(b, 0.0)), 1.0, a), b - 1)


def _power_by_exponent(y: Value, a: Value, b: Value) -> Value:
    """a**b * log(a), and 0 where a**b is 0 or a <= 0."""
    base = select(logical_or(a <= 0, equal(y, 0.0)), 1.0, a)
    return power(base, b) * log(base)


power: Wrapped = _function("power", lambda a, b: _quiet(np.power, a, b), _power_by_base, _power_by_exponent)

# --- comparison and choice ------------------------------------------------------------------------

less = _comparison("less", np.less)
less_equal = _comparison("less_equal", np.less_equal)
greater = _comparison("greater", np.greater)
greater_equal = _comparison("greater_equal", np.greater_equal)
equal = _comparison("equal", np.equal)

logical_and = elementwise("logical_and", np.logical_and, NO_GRADIENT, ("bool",))
logical_or = elementwise("logical_or", np.logical_or, NO_GRADIENT, ("bool",))
logical_not = elementwise("logical_not", np.logical_not, NO_GRADIENT, ("bool",))


def _of_larger(change: Value, a: Value, b: Value) -> Value:
    """``change`` where a > b, half of it where they are equal (the balanced subgradient), 0 where a < b."""
    return select(a > b, change, select(equal(a, b), change * 0.5, 0.0))


def _of_smaller(change: Value, a: Value, b: Value) -> Value:
    """``change`` where a < b, half of it where they are equal, 0 where a > b."""
    return _of_larger(change, b, a)


maximum = _arithmetic("maximum", np.maximum, Routed((_of_larger, _of_smaller)))
minimum = _arithmetic("minimum", np.minimum, Routed((_of_smaller, _of_larger)))


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
    """``a`` where the bool ``condition`` is true, else ``b``; elementwise, with operands broadcast together."""
    a, b = broadcast_together("select", a, b)
    return SELECT(*broadcast_values("select", [condition, a, b]))


# --- functions of one variable --------------------------------------------------------------------


def _quiet(function: Callable[..., Any], *arrays: Any) -> Any:
    """IEEE results (inf, NaN) without NumPy's warnings, because the training loop checks for them itself."""
    with np.errstate(all="ignore"):
        return function(*arrays)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    power = np.exp(-np.abs(x))  # never overflows
    result: np.ndarray = np.where(x >= 0, 1 / (1 + power), power / (1 + power)).astype(x.dtype)
    return result


def _erf(x: np.ndarray) -> np.ndarray:
    """The C library's erf for each element. NumPy has no erf, and the reference may be slow."""
    values = [math.erf(item) for item in x.astype(np.float64).ravel().tolist()]
    return np.array(values, dtype=x.dtype).reshape(x.shape)


def _bell(x: Value) -> Value:
    """exp(-x * x) without infinity * 0 in its derivative. exp(-40 * 40) is 0 in float32 and float64."""
    bounded = select(absolute(x) > 40, 40.0, x)
    return exp(-bounded * bounded)


exp = _function("exp", lambda x: _quiet(np.exp, x), lambda y, x: y)
log: Wrapped = _function("log", lambda x: _quiet(np.log, x), lambda y, x: 1 / x)
log1p = _function("log1p", lambda x: _quiet(np.log1p, x), lambda y, x: 1 / (1 + x))
expm1 = _function("expm1", lambda x: _quiet(np.expm1, x), lambda y, x: 1 + y)
tanh = _function("tanh", np.tanh, lambda y, x: 1 - y * y)
sigmoid = _function("sigmoid", _sigmoid, lambda y, x: y * (1 - y))
erf = _function("erf", _erf, lambda y, x: _bell(x) * (2 / math.sqrt(math.pi)))
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
