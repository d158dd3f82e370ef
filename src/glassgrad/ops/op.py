"""The op record: name, shape rule, NumPy reference and derivative of an op.

How a backend lowers an op is defined in that backend. To add an op, see docs/add-an-op.md. A derivative entry is one
of

* ``Elementwise(partials)``: the local derivative with respect to each input;
* ``Routed(routes)``: for an op whose output is one of its two inputs, such as the maximum;
* ``Linear(transpose)``: for an op that is linear in its inputs;
* ``Bilinear(transposes)``: for an op that is linear in each of its two inputs separately;
* ``Rule(reverse)``: for any other op, its reverse rule;
* ``NO_GRADIENT``: the derivative is zero wherever it exists, or is defined to be zero;
* ``None``: not implemented. Differentiating through such an op raises GraphError, which names it.

Each entry has a method ``reverse`` for the reverse sweep and a method ``forward`` for the forward sweep. Both take
and return values, so a derivative is a graph like any other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from glassgrad.common.errors import GraphError
from glassgrad.common.frozen import frozen
from glassgrad.graph.node import OPERATORS, DType, Graph, Node, Operand, Shape, Type, Value

Maybe = Value | None
Infer = Callable[[Sequence[Type], Mapping[str, Any], Sequence[Graph]], tuple[Type, ...]]


class Sweep(Protocol):
    """The reverse sweep, for rules that differentiate a region or the graph of another rule."""

    def __call__(
        self, outputs: Sequence[Value], cotangents: Sequence[Maybe], wrt: Sequence[Value]
    ) -> list[Maybe]:
        """The cotangents of ``wrt`` (None where there is no gradient)."""


@frozen
class Context:
    """The information that a derivative rule gets about its node."""

    node: Node
    needs: tuple[bool, ...]  # for each input: whether its derivative is needed
    vjp: Sweep

    @property
    def attributes(self) -> Mapping[str, Any]:
        """The node's attributes."""
        return self.node.attributes


class Derivative(Protocol):
    """A derivative entry: how the two sweeps pass through an op."""

    def reverse(
        self, ctx: Context, cotangents: Sequence[Maybe], outputs: Sequence[Value], inputs: Sequence[Value]
    ) -> Sequence[Maybe]:
        """The cotangents of the inputs from those of the outputs; None means zero."""

    def forward(
        self, ctx: Context, tangents: Sequence[Maybe], outputs: Sequence[Value], inputs: Sequence[Value]
    ) -> Sequence[Maybe]:
        """The tangents of the outputs from those of the inputs; None means zero."""


@frozen
class Op:
    """The record of one op. A call builds a node and returns its output; ``apply`` returns all outputs.

    ``reference(*arrays, **attributes)`` computes the op with NumPy. The tests compare every backend with it. For an
    op with regions, the keyword ``regions`` holds each region as a function of arrays.
    """

    name: str
    infer: Infer
    reference: Callable[..., Any]
    derivative: Derivative | None
    elementwise: bool = False
    outputs: int | None = 1  # None: given by the shape rule

    def apply(
        self,
        inputs: Sequence[Value],
        attributes: Mapping[str, Any] | None = None,
        regions: Sequence[Graph] = (),
    ) -> tuple[Value, ...]:
        """Build a node and return all of its outputs. Raises GraphError for operands that are not values."""
        for value in inputs:
            if not isinstance(value, Value):
                raise GraphError(
                    f"{self.name} takes values of the graph, not {type(value).__name__} {value!r}"
                )
        return Node(self, inputs, attributes, regions).outputs

    def __call__(self, *inputs: Value, **attributes: Any) -> Value:
        """Build a node of an op with one output, and return the output."""
        (value,) = self.apply(inputs, attributes)
        return value


# All ops by name. The tests check that every backend and the generated test cases cover them.
TABLE: dict[str, Op] = {}


def record(op: Op) -> Op:
    """Add ``op`` to the table and return it. Raises GraphError if the name is taken."""
    if op.name in TABLE:
        raise GraphError(f"op {op.name!r} is in the table already")
    TABLE[op.name] = op
    return op


def expect(condition: bool, message: str) -> None:
    """Raise GraphError in a shape rule unless ``condition`` holds; the caller adds op name and types."""
    if not condition:
        raise GraphError(message)


ZERO = "zero"
"""The background of an input whose elements are mostly 0."""


def make_input(name: str, shape: Shape, dtype: DType, background: str | None = None) -> Value:
    """An input: a value that is given when the graph runs.

    ``background`` says that most elements equal one number: 0 for ``ZERO``, else the value of the scalar input with
    that name, which must be finite. A backend may use it to be faster. Results are correct for any elements.
    """
    input_type = Type(tuple(shape), dtype)
    if background is None:
        return INPUT(name=name, type=input_type)
    return INPUT(name=name, type=input_type, background=background)


def constant(value: Any, dtype: DType) -> Value:
    """A value that is fixed when the graph is built: ``value`` as an array of ``dtype``."""
    array = np.array(value, dtype=dtype)
    array.setflags(write=False)
    return CONSTANT(value=array)


def _no_reference(**_: Any) -> Any:
    raise GraphError("an input has no value until the graph runs")


def _infer_constant(
    _: Sequence[Type], attributes: Mapping[str, Any], __: Sequence[Graph]
) -> tuple[Type, ...]:
    value = attributes["value"]
    return (Type(value.shape, value.dtype.name),)


class _NoGradient:
    """The derivative is zero, or is defined to be zero."""

    def reverse(self, ctx: Context, *_: Any) -> Sequence[Maybe]:
        return [None] * len(ctx.node.inputs)

    def forward(self, ctx: Context, *_: Any) -> Sequence[Maybe]:
        return [None] * len(ctx.node.outputs)


NO_GRADIENT = _NoGradient()

Reverse = Callable[[Context, Sequence[Maybe], Sequence[Value], Sequence[Value]], Sequence[Maybe]]


@frozen
class Rule:
    """The reverse rule of an op that no other entry fits. The forward rule is derived from it.

    The reverse rule is linear in the cotangents. Its transpose maps tangents of the inputs to tangents of the
    outputs, which is the forward rule. The reverse sweep over the rule's graph gives that transpose (J. Townsend, "A
    new trick for calculating Jacobian vector products", 2017).
    """

    rule: Reverse

    def reverse(
        self, ctx: Context, cotangents: Sequence[Maybe], outputs: Sequence[Value], inputs: Sequence[Value]
    ) -> Sequence[Maybe]:
        """Apply the rule."""
        return self.rule(ctx, cotangents, outputs, inputs)

    def forward(
        self, ctx: Context, tangents: Sequence[Maybe], outputs: Sequence[Value], inputs: Sequence[Value]
    ) -> Sequence[Maybe]:
        """Apply the transpose of the rule."""
        # Placeholders for the cotangents. Their values do not matter: the transpose of a linear map does not read
        # them.
        cotangents = [constant(np.zeros(y.shape), y.dtype) if y.type.is_float else None for y in outputs]
        pairs = [
            (input_ct, tangent)
            for input_ct, tangent in zip(self.rule(ctx, cotangents, outputs, inputs), tangents, strict=True)
            if input_ct is not None and tangent is not None
        ]
        wrt = [ct for ct in cotangents if ct is not None]
        output_tangents = iter(
            ctx.vjp([input_ct for input_ct, _ in pairs], [tangent for _, tangent in pairs], wrt)
        )
        return [next(output_tangents) if ct is not None else None for ct in cotangents]


INPUT = record(Op("input", lambda t, a, r: (a["type"],), _no_reference, NO_GRADIENT))
CONSTANT = record(Op("constant", _infer_constant, lambda value: value, NO_GRADIENT))


def as_value(operand: Operand, like: Value) -> Value:
    """``operand`` as a value. A number or NumPy array becomes a constant with the dtype of ``like``.

    A float converts to any float dtype, rounded. An integer converts to any float dtype, and to an integer dtype
    whose range contains it. A bool converts to any dtype. Raises GraphError for any other operand. Values are never
    converted.
    """
    if isinstance(operand, Value):
        return operand
    dtype = like.dtype
    if isinstance(operand, (int, float)) and like.type.is_float and -1e38 < operand < 1e38:
        return constant(operand, dtype)  # the common case, without the checks below
    if not isinstance(operand, (int, float, np.generic, np.ndarray)):
        raise GraphError(
            f"{type(operand).__name__} is neither a value of the graph nor a number or NumPy array"
        )
    if isinstance(operand, int) and like.type.is_float:
        with suppress(OverflowError):  # an int beyond the range of float is rejected below
            operand = float(operand)
    if not _fits(np.asarray(operand), dtype):
        array = np.asarray(operand)
        label = f"the array {array.dtype}{list(array.shape)}" if array.ndim else f"the number {operand!s:.40}"
        raise GraphError(f"{label} does not fit a value of {like.type}; convert one of them first")
    return constant(operand, dtype)


def _fits(array: npt.NDArray[Any], dtype: DType) -> bool:
    """Whether every element of ``array`` converts to ``dtype``; floats may be rounded."""
    if array.dtype.kind not in _KINDS[dtype]:
        return False
    if np.can_cast(array.dtype, dtype):
        return True
    finite = array[np.isfinite(array)] if array.dtype.kind == "f" else array
    lowest, highest = _RANGES[dtype]
    return bool(((finite >= lowest) & (finite <= highest)).all())


_KINDS = {"float32": "fiub", "float64": "fiub", "int32": "iub", "uint32": "iub", "bool": "b"}
"""By dtype of the graph: the kinds of NumPy dtypes that convert to it."""

_RANGES: dict[str, tuple[float, float]] = {
    "float32": (float(np.finfo(np.float32).min), float(np.finfo(np.float32).max)),
    "float64": (-math.inf, math.inf),
    "int32": (-(2**31), 2**31 - 1),
    "uint32": (0, 2**32 - 1),
    "bool": (0, 1),
}


# --- the operators of values ----------------------------------------------------------------------


ELEMENTWISE, PRODUCTS = "glassgrad.ops.elementwise", "glassgrad.ops.products"
"""The modules that define the operators."""


def _import_on_use(name: str, module: str) -> Callable[..., Value]:
    """A placeholder for the operator ``name``: it imports ``module``, which puts the real one into the table."""

    def operator(*operands: Operand) -> Value:
        import_module(module)
        return OPERATORS[name](*operands)

    return operator


# Every value comes from an op, so this module is loaded wherever an operator is used. The modules of the operators
# may not be loaded yet.
for _name in (
    *("add", "subtract", "multiply", "divide", "power", "negate"),
    *("less", "less_equal", "greater", "greater_equal"),
):
    OPERATORS[_name] = _import_on_use(_name, ELEMENTWISE)
OPERATORS["matmul"] = _import_on_use("matmul", PRODUCTS)
