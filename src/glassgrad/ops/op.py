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

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from glassgrad.common.errors import GraphError
from glassgrad.common.frozen import frozen
from glassgrad.graph.node import DType, Graph, Node, Operand, Shape, Type, Value

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
    """``operand`` as a value; a Python number takes the dtype of ``like`` (there is no other promotion)."""
    if isinstance(operand, Value):
        return operand
    if not isinstance(operand, (int, float, bool)):
        raise GraphError(f"{type(operand).__name__} is neither a value of the graph nor a Python number")
    if isinstance(operand, float) and not like.type.is_float:
        raise GraphError(f"the number {operand!r} does not fit {like.type}; convert the value first")
    return constant(operand, like.dtype)
