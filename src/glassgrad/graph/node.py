"""The graph: typed, immutable nodes, each with inputs, attributes, regions and a tuple of outputs.

A :class:`Value` is one output of one :class:`Node`; a :class:`Graph` is a function from values to values.
Nothing here knows any op: the op record that a node carries is only asked for its name and its shape rule.
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
    """The static shape and dtype of a value; every extent is at least 1 and known when the graph is built."""

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
    """What the graph needs to know of an op record (the whole record is in ``ops.op``)."""

    @property
    def name(self) -> str:
        """The op's name, the key of every table."""

    @property
    def infer(self) -> Callable[[Sequence[Type], Mapping[str, Any], Sequence[Graph]], tuple[Type, ...]]:
        """The shape rule: input types, attributes and regions to output types."""


Section = Literal["forward", "backward", "update"]


@dataclasses.dataclass(frozen=True, slots=True)
class Scope:
    """The part of a training step that a node belongs to: its section, and the layer (or optimizer part) in it."""

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
    now = _scope.get()
    return in_scope(Scope(section or now.section, now.layer if layer is None else layer))


_serial = itertools.count()


class Node:
    """One application of an op. Compared by identity; never changed after it is built.

    ``serial`` grows with every node built, and inputs exist before their node: sorting by it is a
    topological order that also reads in the order in which the program was written.
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
        """Apply ``op``; raises GraphError, naming op and input types, when its shape rule refuses.

        ``types`` are its output types, where they are known; the verifier checks them.
        """
        self.op = op
        self.inputs = tuple(inputs)
        kept = isinstance(attributes, MappingProxyType)  # another node's: nobody can change them
        self.attributes: Mapping[str, Any] = (
            attributes if kept and attributes is not None else MappingProxyType(dict(attributes or {}))
        )
        self.regions = tuple(regions)
        self.scope = scope or _scope.get()
        self.serial = next(_serial)
        self.types = check_types(self) if types is None else types
        self.outputs = tuple([Value(self, index) for index in range(len(self.types))])
        self.verified = False  # set by the verifier: a node is never changed, so once is enough

    def __repr__(self) -> str:
        return f"<{self.op.name} {', '.join(map(str, self.types))}>"


def check_types(node: Node) -> tuple[Type, ...]:
    """The output types of ``node`` by its op's shape rule."""
    types = [value.type for value in node.inputs]
    try:
        inferred = node.op.infer(types, node.attributes, node.regions)
    except (GraphError, ValueError, TypeError, IndexError, KeyError) as error:
        attributes = "".join(f", {key}={_short(item)}" for key, item in node.attributes.items())
        raise GraphError(f"{node.op.name}({', '.join(map(str, types))}{attributes}): {error}") from None
    for item in inferred:
        if item.dtype not in DTYPES or min(item.shape, default=1) < 1:
            raise GraphError(f"{node.op.name}: an output of type {item} cannot be")
    return inferred


def _short(item: Any) -> str:
    return f"array{list(item.shape)}" if isinstance(item, np.ndarray) and item.size > 8 else str(item)


# The arithmetic of values. The ops floor fills this table, so that `a + b` can be written in a layer or a
# loss although this floor knows no op.
OPERATORS: dict[str, Callable[..., Value]] = {}


class Value:
    """One output of a node: what ops take and give. Supports ``+ - * / ** @``, ``-x``, ``< <= > >=``.

    The other operand may be a value, a Python number, or a NumPy number or array on either side: that becomes a
    constant of the value's dtype. Operands are broadcast together. ``==`` compares identity; see the op ``equal``.
    """

    __slots__ = ("index", "node")
    __array_ufunc__ = None  # `array * value` is left to the value, instead of becoming an array of values

    def __init__(self, node: Node, index: int) -> None:
        self.node = node
        self.index = index

    @property
    def type(self) -> Type:
        """Shape and dtype."""
        return self.node.types[self.index]

    @property
    def shape(self) -> Shape:
        """The static shape."""
        return self.type.shape

    @property
    def dtype(self) -> DType:
        """The element type."""
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
    """A function: the values it takes, and the values it gives."""

    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]

    def nodes(self) -> list[Node]:
        """Every node that the outputs need, inputs included, each after the nodes that it takes from."""
        return list(self._nodes)

    @cached_property
    def _nodes(self) -> list[Node]:
        return topological(self.outputs, self.inputs)


def topological(outputs: Iterable[Value], inputs: Iterable[Value] = (), *, since: int = -1) -> list[Node]:
    """The nodes that ``outputs`` need (and those of ``inputs``), in the order in which they were built.

    The walk does not look behind ``inputs``, nor behind nodes that are not younger than the serial ``since``.
    """
    stop = {value.node for value in inputs}
    seen = set(stop)
    stack = [value.node for value in outputs]
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            if node.serial > since:
                stack += [value.node for value in node.inputs]
    return sorted(seen, key=attrgetter("serial"))
