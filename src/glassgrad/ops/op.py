"""The op record: everything that Glassgrad knows of an op except how a backend computes it fast.

One record = name, shape rule, NumPy reference, derivative. A derivative is one of

* ``Elementwise(partials)``: the local derivative of each input, stated once;
* ``Routed(routes)``: an op that passes one of its two inputs on, such as a maximum;
* ``Linear(transpose)``: an op that is linear in its inputs, with its transpose;
* ``Bilinear(transpose)``: linear in each of two inputs while the other is held;
* ``Rule(reverse)``: anything else, by its reverse rule;
* ``NO_GRADIENT``: a function whose derivative is zero wherever it exists, or that is declared to have none;
* ``None``: nobody wrote it yet. Differentiating through such an op raises and names it.

Each kind offers ``reverse`` and ``forward`` to the two sweeps, so the one entry serves both. All of them
take values and return values: a derivative is a graph like any other.
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
    """The reverse sweep, handed to rules that differentiate a region or another rule's graph."""

    def __call__(
        self, outputs: Sequence[Value], cotangents: Sequence[Maybe], wrt: Sequence[Value]
    ) -> list[Maybe]:
        """The cotangents of ``wrt`` (None where there is no gradient)."""


@frozen
class Context:
    """What a rule may ask about the node that it differentiates."""

    node: Node
    needs: tuple[bool, ...]  # for each input: is its derivative wanted?
    vjp: Sweep

    @property
    def attributes(self) -> Mapping[str, Any]:
        """The node's attributes."""
        return self.node.attributes


class Derivative(Protocol):
    """One kind of derivative entry: how both sweeps pass through the op."""

    def reverse(
        self, ctx: Context, cotangents: Sequence[Maybe], outputs: Sequence[Value], inputs: Sequence[Value]
    ) -> Sequence[Maybe]:
        """The cotangent of each input, from the cotangents of the outputs (None stands for zero)."""

    def forward(
        self, ctx: Context, tangents: Sequence[Maybe], outputs: Sequence[Value], inputs: Sequence[Value]
    ) -> Sequence[Maybe]:
        """The tangent of each output, from the tangents of the inputs (None stands for zero)."""


@frozen
class Op:
    """The record of one op. Calling it builds a node: one value, or a tuple where the op has several outputs.

    ``reference(*arrays, **attributes)`` is the NumPy meaning and the oracle of every backend; an op with
    regions gets each as a callable on arrays, in the keyword ``regions``.
    """

    name: str
    infer: Infer
    reference: Callable[..., Any]
    derivative: Derivative | None
    elementwise: bool = False
    outputs: int | None = 1  # None: as many as the shape rule says

    def apply(
        self,
        inputs: Sequence[Value],
        attributes: Mapping[str, Any] | None = None,
        regions: Sequence[Graph] = (),
    ) -> tuple[Value, ...]:
        """Build the node; all of its outputs."""
        for value in inputs:
            if not isinstance(value, Value):
                raise GraphError(
                    f"{self.name} takes values of the graph, not {type(value).__name__} {value!r}"
                )
        return Node(self, inputs, attributes, regions).outputs

    def __call__(self, *inputs: Value, **attributes: Any) -> Value:
        """Build the node of an op with one output."""
        (value,) = self.apply(inputs, attributes)
        return value


# Every op of the system, by name. Backends and generated tests are checked against it for completeness.
TABLE: dict[str, Op] = {}


def record(op: Op) -> Op:
    """Add ``op`` to the table."""
    if op.name in TABLE:
        raise GraphError(f"op {op.name!r} is in the table already")
    TABLE[op.name] = op
    return op


def expect(condition: bool, message: str) -> None:
    """Refuse, in a shape rule: the caller adds the op's name and the types."""
    if not condition:
        raise GraphError(message)


ZERO = "zero"
"""The background of an input most of whose elements are 0."""


def make_input(name: str, shape: Shape, dtype: DType, background: str | None = None) -> Value:
    """A value that is given when the graph runs.

    ``background`` says that most of its elements will be one number: ``ZERO``, or the one that the scalar input of
    that name holds (never NaN or Inf). A backend may make use of it; results are right for any elements.
    """
    kind = Type(tuple(shape), dtype)
    if background is None:
        return INPUT(name=name, type=kind)
    return INPUT(name=name, type=kind, background=background)


def constant(value: Any, dtype: DType) -> Value:
    """A value that is known when the graph is built."""
    array = np.array(value, dtype=dtype)
    array.setflags(write=False)
    return CONSTANT(value=array)


def _no_reference(**_: Any) -> Any:
    raise GraphError("an input has no value of its own")


def _infer_constant(
    _: Sequence[Type], attributes: Mapping[str, Any], __: Sequence[Graph]
) -> tuple[Type, ...]:
    value = attributes["value"]
    return (Type(value.shape, value.dtype.name),)


class _NoGradient:
    """The derivative is zero, or is declared to be."""

    def reverse(self, ctx: Context, *_: Any) -> Sequence[Maybe]:
        return [None] * len(ctx.node.inputs)

    def forward(self, ctx: Context, *_: Any) -> Sequence[Maybe]:
        return [None] * len(ctx.node.outputs)


NO_GRADIENT = _NoGradient()

Reverse = Callable[[Context, Sequence[Maybe], Sequence[Value], Sequence[Value]], Sequence[Maybe]]


@frozen
class Rule:
    """The reverse rule of any other op; the forward rule follows from it.

    The reverse rule is linear in the cotangents. Its own transpose, which the reverse sweep gives, is the
    forward rule: tangents in, tangents out ("the derivative of the transpose is the transpose of the
    derivative"; J. Townsend, "A new trick for calculating Jacobian vector products", 2017).
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
        """Transpose the rule."""
        # Zeros of their own stand for the cotangents: the transpose of a linear rule reads no value of them.
        probes = [constant(np.zeros(y.shape), y.dtype) if y.type.is_float else None for y in outputs]
        pairs = [
            (back, tangent)
            for back, tangent in zip(self.rule(ctx, probes, outputs, inputs), tangents, strict=True)
            if back is not None and tangent is not None
        ]
        wrt = [probe for probe in probes if probe is not None]
        found = iter(ctx.vjp([back for back, _ in pairs], [tangent for _, tangent in pairs], wrt))
        return [next(found) if probe is not None else None for probe in probes]


INPUT = record(Op("input", lambda t, a, r: (a["type"],), _no_reference, NO_GRADIENT))
CONSTANT = record(Op("constant", _infer_constant, lambda value: value, NO_GRADIENT))


def as_value(operand: Operand, like: Value) -> Value:
    """``operand`` as a value; a number or NumPy array takes the dtype of ``like`` (there is no other promotion).

    A float becomes a float of any width, rounded to it. A whole number becomes a float, or an integer that can hold
    it. A bool becomes anything. Raises GraphError for whatever does not fit.
    """
    if isinstance(operand, Value):
        return operand
    dtype = like.dtype
    if isinstance(operand, (int, float)) and like.type.is_float and -1e38 < operand < 1e38:
        return constant(operand, dtype)  # what nearly all graphs are made of, without the checks
    if not isinstance(operand, (int, float, np.generic, np.ndarray)):
        raise GraphError(
            f"{type(operand).__name__} is neither a value of the graph nor a number or NumPy array"
        )
    if isinstance(operand, int) and like.type.is_float:
        with suppress(OverflowError):  # one that no float can hold is refused below
            operand = float(operand)
    if not _fits(np.asarray(operand), dtype):
        array = np.asarray(operand)
        what = f"the array {array.dtype}{list(array.shape)}" if array.ndim else f"the number {operand!s:.40}"
        raise GraphError(f"{what} does not fit a value of {like.type}; convert one of them first")
    return constant(operand, dtype)


def _fits(array: npt.NDArray[Any], dtype: DType) -> bool:
    """Whether every element of ``array`` can be a ``dtype``, of floats up to rounding."""
    if array.dtype.kind not in _KINDS[dtype]:
        return False
    if np.can_cast(array.dtype, dtype):
        return True
    finite = array[np.isfinite(array)] if array.dtype.kind == "f" else array
    least, most = _RANGES[dtype]
    return bool(((finite >= least) & (finite <= most)).all())


_KINDS = {"float32": "fiub", "float64": "fiub", "int32": "iub", "uint32": "iub", "bool": "b"}
"""The kinds of NumPy dtypes that a dtype of the graph takes."""

_RANGES: dict[str, tuple[float, float]] = {
    "float32": (float(np.finfo(np.float32).min), float(np.finfo(np.float32).max)),
    "float64": (-math.inf, math.inf),
    "int32": (-(2**31), 2**31 - 1),
    "uint32": (0, 2**32 - 1),
    "bool": (0, 1),
}


# --- the operators of values ----------------------------------------------------------------------


ELEMENTWISE, PRODUCTS = "glassgrad.ops.elementwise", "glassgrad.ops.products"
"""The modules of the operators."""


def _import_then(name: str, module: str) -> Callable[..., Value]:
    """The operator ``name`` until ``module``, which has it, is imported: that takes its place in the table."""

    def operator(*operands: Operand) -> Value:
        import_module(module)
        return OPERATORS[name](*operands)

    return operator


# Every value is made by an op, so this module is there wherever an operator is used; the others may not be.
for _name in (
    *("add", "subtract", "multiply", "divide", "power", "negate"),
    *("less", "less_equal", "greater", "greater_equal"),
):
    OPERATORS[_name] = _import_then(_name, ELEMENTWISE)
OPERATORS["matmul"] = _import_then("matmul", PRODUCTS)
