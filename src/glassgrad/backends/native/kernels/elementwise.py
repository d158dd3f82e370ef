"""The code of the elementwise ops: one emitter per op, for scalars and vectors alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from glassgrad.backends.native.ir.function import Function
from glassgrad.backends.native.ir.types import ELEMENT, Reg
from glassgrad.backends.native.math.functions import FUNCTIONS
from glassgrad.graph.node import DType, Node

Emit = Callable[[Function, Node, Sequence[Reg]], Reg]


def _arithmetic(of_floats: Callable[..., Reg], of_integers: Callable[..., Reg]) -> Emit:
    def emit(f: Function, node: Node, args: Sequence[Reg]) -> Reg:
        return (of_floats if node.inputs[0].type.is_float else of_integers)(f, *args)

    return emit


def _comparison(predicate: str) -> Emit:
    def emit(f: Function, node: Node, args: Sequence[Reg]) -> Reg:
        kind = node.inputs[0].dtype
        if kind in ("float32", "float64"):
            return f.compare(f"o{predicate}", *args)
        sign = "" if predicate == "eq" else "s" if kind == "int32" else "u"
        return f.compare(sign + predicate, *args)

    return emit


def _extreme(predicate: str) -> Emit:
    """The emitter of a maximum (``gt``) or minimum (``lt``); NaN if either operand is NaN, as in NumPy."""

    def emit(f: Function, node: Node, args: Sequence[Reg]) -> Reg:
        a, b = args
        kind = node.inputs[0].dtype
        if kind in ("int32", "uint32"):
            return f.select(f.compare(("s" if kind == "int32" else "u") + predicate, a, b), a, b)
        first = f.or_(f.compare(f"o{predicate}", a, b), f.compare("uno", a, a))
        return f.select(first, a, b)

    return emit


def _convert(f: Function, node: Node, args: Sequence[Reg]) -> Reg:
    (x,) = args
    return convert(f, x, node.inputs[0].dtype, node.types[0].dtype)


def convert(f: Function, x: Reg, source: DType, target: DType) -> Reg:
    """``x`` converted from dtype ``source`` to dtype ``target``."""
    floats = ("float32", "float64")
    element = ELEMENT[target]
    if ELEMENT[source] == element:
        return x
    if target == "bool":
        return f.compare("une" if source in floats else "ne", x, 0)
    if source == "bool":
        return f.cast("uitofp" if target in floats else "zext", x, element)
    if source in floats and target in floats:
        return f.cast("fpext" if target == "float64" else "fptrunc", x, element)
    if source in floats:
        return _to_integer(f, x, target)
    return f.cast("sitofp" if source == "int32" else "uitofp", x, element)


def _to_integer(f: Function, x: Reg, target: DType) -> Reg:
    """The float ``x`` as int32 or uint32: saturated, NaN as 0. LLVM's own casts are undefined out of range."""
    signed = target == "int32"
    # Exclusive bounds that both float formats represent exactly. -2^31 is out of range too, and saturates to itself.
    low, high = (-(2.0**31), 2.0**31) if signed else (-1.0, 2.0**32)
    in_range = f.and_(f.compare("ogt", x, low), f.compare("olt", x, high))
    number = f.cast("fptosi" if signed else "fptoui", f.select(in_range, x, 0.0), ELEMENT[target])
    # The largest integer; the bits of the largest uint32 are those of -1.
    number = f.select(f.compare("oge", x, high), f.number(number, 2**31 - 1 if signed else -1), number)
    if signed:
        number = f.select(f.compare("ole", x, low), f.number(number, -(2**31)), number)
    return number


def _is_finite(f: Function, node: Node, args: Sequence[Reg]) -> Reg:
    return f.compare("olt", f.intrinsic("fabs", args[0]), float("inf"))


def _function(name: str) -> Emit:
    return lambda f, node, args: FUNCTIONS[name](f, *args)


ELEMENTWISE: dict[str, Emit] = {
    "add": _arithmetic(Function.fadd, Function.add),
    "subtract": _arithmetic(Function.fsub, Function.sub),
    "multiply": _arithmetic(Function.fmul, Function.mul),
    "negate": _arithmetic(Function.fneg, lambda f, a: f.sub(f.number(a, 0), a)),
    "divide": lambda f, node, args: f.fdiv(*args),
    "less": _comparison("lt"),
    "less_equal": _comparison("le"),
    "greater": _comparison("gt"),
    "greater_equal": _comparison("ge"),
    "equal": _comparison("eq"),
    "logical_and": lambda f, node, args: f.and_(*args),
    "logical_or": lambda f, node, args: f.or_(*args),
    "logical_not": lambda f, node, args: f.xor(args[0], 1),
    "maximum": _extreme("gt"),
    "minimum": _extreme("lt"),
    "select": lambda f, node, args: f.select(*args),
    "convert": _convert,
    "stop_gradient": lambda f, node, args: args[0],
    "shift_right": lambda f, node, args: f.lshr(*args),
    "is_finite": _is_finite,
} | {
    name: _function(name)
    for name in (
        "power",
        "exp",
        "log",
        "log1p",
        "expm1",
        "tanh",
        "sigmoid",
        "erf",
        "sqrt",
        "sin",
        "cos",
        "absolute",
        "sign",
        "floor",
    )
}
