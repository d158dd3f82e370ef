"""The graph: typed, immutable nodes, each with inputs, attributes, regions and a tuple of outputs.

A :class:`Value` is one output of a :class:`Node`. A :class:`Graph` is a function from values to values. A region is
a graph inside a node, such as the body of a scan. This module knows no particular op: it uses only the name and the
shape rule of a node's op record.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar, Token
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from glassgrad.common.cached import cached_property
from glassgrad.common.errors import GraphError
from glassgrad.common.frozen import frozen

DType = Literal["float32", "float64", "int32", "uint32", "bool"]
DTYPES: tuple[DType, ...] = ("float32", "float64", "int32", "uint32", "bool")
FLOATS: tuple[DType, ...] = ("float32", "float64")

_NUMPY = {name: np.dtype(name) for name in DTYPES}

Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Type:
    """The shape and dtype of a value. Every extent is at least 1 and known when the graph is built."""

    shape: Shape
    dtype: DType

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]" if self.shape else self.dtype

    def fits(self, array: npt.NDArray[Any] | None) -> bool:
        """Whether ``array`` is of this type."""
        return array is not None and array.shape == self.shape and array.dtype == _NUMPY[self.dtype]

    @property
    def is_float(self) -> bool:
        """Whether values of this type can carry a derivative."""
        return self.dtype in FLOATS

    @property
    def size(self) -> int:
        """The number of elements."""
        size = 1
        for extent in self.shape:
            size *= extent
        return size


class Operation(Protocol):
    """The part of an op record that the graph uses (``ops.op.Op`` is the full record)."""

    @property
    def name(self) -> str:
        """The op's name, its key in every table."""

    @property
    def infer(self) -> Callable[[Sequence[Type], Mapping[str, Any], Sequence[Graph]], tuple[Type, ...]]:
        """The shape rule: output types from input types, attributes and regions."""


Section = Literal["forward", "backward", "update"]


@dataclasses.dataclass(frozen=True, slots=True)
class Scope:
    """The place of a node in a training step: its section, and its layer or part of the optimizer."""

    section: Section = "forward"
    layer: str = ""


_DEFAULT_SCOPE = Scope()
_scope: ContextVar[Scope] = ContextVar("glassgrad_scope", default=_DEFAULT_SCOPE)


class in_scope:
    """``with in_scope(scope):`` marks the nodes built inside the block as belonging to ``scope``."""

    __slots__ = ("_scope", "_token")

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def __enter__(self) -> None:
        self._token: Token[Scope] = _scope.set(self._scope)

    def __exit__(self, *_: object) -> None:
        _scope.reset(self._token)


def scope(section: Section | None = None, layer: str | None = None) -> in_scope:
    """Mark the nodes built inside the ``with`` block as belonging to ``section`` and ``layer``."""
    current = _scope.get()
    return in_scope(Scope(section or current.section, current.layer if layer is None else layer))


_serial = itertools.count()


class Node:
    """One application of an op. Nodes are immutable and compare by identity.

    ``serial`` increases with every node built, and the inputs of a node exist before the node. So the order of
    serials is a topological order, and also the order in which the graph was written.
    """

    __slots__ = ("attributes", "inputs", "op", "outputs", "regions", "scope", "serial", "types", "verified")

    def __init__(
        self,
        op: Operation,
        inputs: Sequence[Value] = (),
        attributes: Mapping[str, Any] | None = None,
        regions: Sequence[Graph] = (),
        *,
        scope: Scope | None = None,
        types: tuple[Type, ...] | None = None,
    ) -> None:
        """Apply ``op`` to ``inputs``. Raises GraphError, which names op and input types, if its shape rule fails.

        ``types`` are the output types if the caller knows them; the verifier checks them. Otherwise the shape rule
        gives them.
        """
        self.op = op
        self.inputs = tuple(inputs)
        self.attributes: Mapping[str, Any] = (
            attributes  # taken from another node, so they are read-only already
            if isinstance(attributes, MappingProxyType)
            else MappingProxyType(dict(attributes or {}))
        )
        self.regions = tuple(regions)
        self.scope = scope or _scope.get()
        self.serial = next(_serial)
        self.types = check_types(self) if types is None else types
        self.outputs = tuple([Value(self, index) for index in range(len(self.types))])
        self.verified = False  # set by the verifier, which checks each immutable node once

    def __repr__(self) -> str:
        return f"<{self.op.name} {', '.join(map(str, self.types))}>"


def check_types(node: Node) -> tuple[Type, ...]:
    """The output types of ``node`` by its op's shape rule. Raises GraphError if the rule fails."""
    types = [value.type for value in node.inputs]
    try:
        inferred = node.op.infer(types, node.attributes, node.regions)
    except (GraphError, ValueError, TypeError, IndexError, KeyError) as error:
        attributes = "".join(f", {key}={_short(item)}" for key, item in node.attributes.items())
        raise GraphError(f"{node.op.name}({', '.join(map(str, types))}{attributes}): {error}") from None
    for item in inferred:
        if item.dtype not in DTYPES or min(item.shape, default=1) < 1:
            raise GraphError(f"{node.op.name}: {item} is not a valid output type")
    return inferred


def _short(item: Any) -> str:
    return f"array{list(item.shape)}" if isinstance(item, np.ndarray) and item.size > 8 else str(item)


# The functions behind the operators of values, by op name. The ops package fills this table, so that `a + b` works
# although this module knows no op.
OPERATORS: dict[str, Callable[..., Value]] = {}


class Value:
    """One output of a node. Ops take values and return values. Supports ``+ - * / ** @``, ``-x``, ``< <= > >=``.

    One operand may be a Python number or a NumPy number or array, which becomes a constant of the value's dtype.
    Operands are broadcast together. ``==`` compares identity; the op ``equal`` compares elements.
    """

    __slots__ = ("index", "node")
    __array_ufunc__ = None  # `array * value` calls Value.__rmul__ instead of building an array of values

    def __init__(self, node: Node, index: int) -> None:
        self.node = node
        self.index = index

    @property
    def type(self) -> Type:
        """Shape and dtype."""
        return self.node.types[self.index]

    @property
    def shape(self) -> Shape:
        """The shape."""
        return self.type.shape

    @property
    def dtype(self) -> DType:
        """The dtype of the elements."""
        return self.type.dtype

    def __repr__(self) -> str:
        return f"<{self.node.op.name}:{self.index} {self.type}>"

    def __add__(self, other: Operand) -> Value:
        return OPERATORS["add"](self, other)

    def __radd__(self, other: Operand) -> Value:
        return OPERATORS["add"](other, self)

    def __sub__(self, other: Operand) -> Value:
        return OPERATORS["subtract"](self, other)

    def __rsub__(self, other: Operand) -> Value:
        return OPERATORS["subtract"](other, self)

    def __mul__(self, other: Operand) -> Value:
        return OPERATORS["multiply"](self, other)

    def __rmul__(self, other: Operand) -> Value:
        return OPERATORS["multiply"](other, self)

    def __truediv__(self, other: Operand) -> Value:
        return OPERATORS["divide"](self, other)

    def __rtruediv__(self, other: Operand) -> Value:
        return OPERATORS["divide"](other, self)

    def __pow__(self, other: Operand) -> Value:
        return OPERATORS["power"](self, other)

    def __rpow__(self, other: Operand) -> Value:
        return OPERATORS["power"](other, self)

    def __matmul__(self, other: Operand) -> Value:
        return OPERATORS["matmul"](self, other)

    def __rmatmul__(self, other: Operand) -> Value:
        return OPERATORS["matmul"](other, self)

    def __neg__(self) -> Value:
        return OPERATORS["negate"](self)

    def __lt__(self, other: Operand) -> Value:
        return OPERATORS["less"](self, other)

    def __le__(self, other: Operand) -> Value:
        return OPERATORS["less_equal"](self, other)

    def __gt__(self, other: Operand) -> Value:
        return OPERATORS["greater"](self, other)

    def __ge__(self, other: Operand) -> Value:
        return OPERATORS["greater_equal"](self, other)

    def __bool__(self) -> bool:
        raise GraphError(f"{self!r} has no truth value when the graph is built; use select()")


Operand = Value | float | int | bool | np.generic | npt.NDArray[Any]


@frozen
class Graph:
    """A function from ``inputs`` to ``outputs``."""

    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]

    def nodes(self) -> list[Node]:
        """The nodes that the outputs need and those of the inputs, in topological order."""
        return list(self._nodes)

    @cached_property
    def _nodes(self) -> list[Node]:
        return topological(self.outputs, self.inputs)


def topological(outputs: Iterable[Value], inputs: Iterable[Value] = (), *, since: int = -1) -> list[Node]:
    """The nodes that ``outputs`` need and those of ``inputs``, in the order of their serials.

    The walk from the outputs stops at ``inputs``, and at nodes whose serial is at most ``since``.
    """
    seen = {value.node for value in inputs}
    stack = [value.node for value in outputs]
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            if node.serial > since:
                stack += [value.node for value in node.inputs]
    return sorted(seen, key=attrgetter("serial"))
