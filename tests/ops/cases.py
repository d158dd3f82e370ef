"""At least one case for every op of the table. The conformance tests are generated from the cases.

A case defines how to build its values and how to draw its inputs: inside the op's domain, and away from kinks and
ties, where finite differences are meaningless (``test_kinks.py`` tests those). The file is one table, sorted by
family of ops, so it is not split.

This is one file because it is one table, with a row or more per op.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from glassgrad.graph.node import FLOATS, DType, Graph, Shape, Value
from glassgrad.ops import table as ops
from glassgrad.ops.op import NO_GRADIENT, TABLE, constant, make_input

Draw = Callable[[np.random.Generator, Shape], np.ndarray]

# Inputs are the operands of the other cases.
EXEMPT = ("input",)


@dataclass(frozen=True)
class Arg:
    """One input. Its dtype None means the dtype under test."""

    shape: Shape
    draw: Draw
    dtype: DType | None = None


@dataclass(frozen=True)
class Case:
    """One use of ``op``. ``terms`` is the largest number of terms summed in one element of the result."""

    op: str
    label: str
    build: Callable[..., Value | Sequence[Value]]
    args: tuple[Arg, ...]
    dtypes: tuple[DType, ...] = FLOATS
    terms: int = 1
    smooth: bool = True

    def __str__(self) -> str:
        return f"{self.op}-{self.label}"

    @property
    def differentiable(self) -> bool:
        """Whether the derivative tests apply: float inputs, float outputs, and a derivative that is not zero."""
        if not self.smooth or "float64" not in self.dtypes or TABLE[self.op].derivative is NO_GRADIENT:
            return False
        graph = self.graph("float64")
        return any(v.type.is_float for v in graph.inputs) and any(v.type.is_float for v in graph.outputs)

    def graph(self, dtype: DType) -> Graph:
        """The case as a graph."""
        inputs = [make_input(f"x{i}", arg.shape, arg.dtype or dtype) for i, arg in enumerate(self.args)]
        results = self.build(*inputs)
        return Graph(tuple(inputs), (results,) if isinstance(results, Value) else tuple(results))

    def single_output_graphs(self, dtype: DType) -> list[Graph]:
        """For a case with several outputs: one graph per output, in which the other outputs are unused."""
        count = len(self.graph(dtype).outputs)
        graphs = [self.graph(dtype) for _ in range(count)] if count > 1 else []
        return [Graph(graph.inputs, (graph.outputs[i],)) for i, graph in enumerate(graphs)]

    def arrays(self, dtype: DType) -> list[np.ndarray]:
        """The input arrays of the case, which are always the same."""
        rng = np.random.default_rng([len(self.op), *str(self).encode()])
        return [np.asarray(arg.draw(rng, arg.shape)).astype(arg.dtype or dtype) for arg in self.args]


# --- drawing inputs --------------------------------------------------------------------------------------


def normal(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    return rng.normal(size=shape)


def positive(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    return rng.uniform(0.4, 2.5, shape)


def away_from_zero(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    return rng.choice([-1, 1], shape) * rng.uniform(0.4, 2.0, shape)


def distinct(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Distinct numbers, at least 0.2 apart."""
    size = int(np.prod(shape))
    return (rng.permutation(size).reshape(shape) - size / 2) * 0.21


def grid(offset: float) -> Draw:
    """Multiples of 1/2 plus ``offset``. Numbers with different offsets are never equal."""
    return lambda rng, shape: rng.integers(-4, 5, shape) * 0.5 + offset


def fractional(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    return rng.integers(-5, 5, shape) + rng.uniform(0.2, 0.8, shape)


def whole(low: int, high: int) -> Draw:
    return lambda rng, shape: rng.integers(low, high, shape)


def listed(*numbers: float) -> Draw:
    return lambda rng, shape: np.resize(np.array(numbers), shape)


def coins(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    return rng.integers(0, 2, shape).astype(bool)


# Floats around the limits of int32 and uint32, and far beyond. 33 numbers fill vectors and leave a remainder.
_ENDS = (0.0, 0.5, 1.0, 1.5, 2.0**31 - 128, 2.0**31 - 1, 2.0**31, 2.0**31 + 1, 2.0**32 - 256, 2.0**32 - 1)
_ENDS += (2.0**32, 2.0**32 + 1, 1e20, 1e30, np.inf, 1e-30)
OUT_OF_RANGE = (*_ENDS, *(-end for end in _ENDS), np.nan)

# Zeros and NaN of both signs, whose order is a convention. Resized to two rows of 9, the rows differ.
UNORDERED = (0.0, -0.0, np.nan, 1.0, -np.inf, np.inf, -np.nan, -0.0, 0.0, -1.0, np.nan)

words = whole(0, 2**32)
small = whole(-9, 10)
natural = whole(0, 10)

INTEGERS: tuple[DType, ...] = ("int32", "uint32")
NUMBERS: tuple[DType, ...] = (*FLOATS, *INTEGERS)
EVERY: tuple[DType, ...] = (*NUMBERS, "bool")


# --- elementwise -----------------------------------------------------------------------------------------


def elementwise_cases() -> list[Case]:
    """Each op on matrices, on scalars, and with operands that are broadcast together."""
    unary: dict[str, tuple[Draw, tuple[float, ...]]] = {
        "exp": (normal, (-90, -5, 0, 1e-6, 60)),
        "log": (positive, (1e-30, 1e-3, 1, 1.0001, 1e30)),
        "log1p": (positive, (-0.999, -1e-5, 0, 1e-7, 1e20)),
        "expm1": (normal, (-80, -1e-5, 0, 1e-7, 60)),
        "tanh": (normal, (-30, -1e-4, 0, 1e-6, 20)),
        "sigmoid": (normal, (-90, -5, 0, 5, 90)),
        "erf": (normal, (-6, -1e-4, 0, 1e-6, 4)),
        "sqrt": (positive, (0, 1e-30, 1e-3, 2, 1e30)),
        "sin": (normal, (-20, -1e-4, 0, 3.14159, 30)),
        "cos": (normal, (-20, -1e-4, 0, 1.570796, 30)),
        "absolute": (away_from_zero, (-0.0, 0, -np.inf, 1e-30, np.nan)),
        "sign": (away_from_zero, (-1e-30, 0, 1e-30, np.inf, -np.inf)),
        "floor": (fractional, (-2, -0.5, 0, 0.999, 1e9)),
        "is_finite": (normal, (np.nan, np.inf, -np.inf, 0, 1e30)),
    }
    binary: dict[str, tuple[Draw, Draw, tuple[DType, ...]]] = {
        "add": (normal, normal, NUMBERS),
        "subtract": (normal, normal, NUMBERS),
        "multiply": (normal, normal, NUMBERS),
        "divide": (normal, away_from_zero, FLOATS),
        "power": (positive, normal, FLOATS),
        "maximum": (grid(0), grid(0.25), NUMBERS),
        "minimum": (grid(0), grid(0.25), NUMBERS),
        "less": (grid(0), grid(0), NUMBERS),
        "less_equal": (grid(0), grid(0), NUMBERS),
        "greater": (grid(0), grid(0), NUMBERS),
        "greater_equal": (grid(0), grid(0), NUMBERS),
        "equal": (grid(0), grid(0), NUMBERS),
    }
    cases = []
    for name, (draw, extremes) in unary.items():
        build = getattr(ops, name)
        cases.append(Case(name, "matrix", build, (Arg((3, 5), draw),)))
        cases.append(Case(name, "number", build, (Arg((), draw),)))
        cases.append(Case(name, "extremes", build, (Arg((5,), listed(*extremes)),), smooth=False))
    for name, (left, right, dtypes) in binary.items():
        build = getattr(ops, name)
        cases.append(Case(name, "matrix", build, (Arg((3, 5), left), Arg((3, 5), right))))
        cases.append(Case(name, "broadcast", build, (Arg((4, 1, 3), left), Arg((2, 1), right)), terms=8))
        if "int32" in dtypes:
            cases.append(Case(name, "signed", build, (Arg((3, 5), small), Arg((3, 5), small)), ("int32",)))
            cases.append(Case(name, "words", build, (Arg((7,), words), Arg((7,), words)), ("uint32",)))
    whole_power = Arg((3, 3), away_from_zero), Arg((3, 3), listed(2, 3, -1))
    matrix, number = Arg((3, 5), normal), Arg((), normal)
    choice = Arg((4, 1), coins, "bool")
    truths = {"logical_and": 2, "logical_or": 2, "logical_not": 1}
    return [
        *cases,
        Case("power", "square", lambda x: x**2, (Arg((3, 5), away_from_zero),)),
        Case("power", "whole", ops.power, whole_power, smooth=False),
        Case("negate", "matrix", ops.negate, (matrix,)),
        Case("negate", "number", ops.negate, (number,)),
        Case("negate", "signed", ops.negate, (Arg((7,), small),), ("int32",)),
        *(
            Case(name, "table", getattr(ops, name), (Arg((9,), coins),) * arity, ("bool",))
            for name, arity in truths.items()
        ),
        Case("select", "broadcast", ops.select, (choice, Arg((4, 3), normal), Arg((3,), normal)), terms=4),
        Case("select", "integers", ops.select, (choice, Arg((3,), natural), Arg((3,), natural)), INTEGERS),
        Case("shift_right", "by 8", lambda x: ops.shift_right(x, 8), (Arg((3, 5), words),), ("uint32",)),
    ]


# --- structure, reductions, indexing, products --------------------------------------------------------------


def structure_cases() -> list[Case]:
    def one(op: str, label: str, build: Callable[..., Any], shape: Shape, **more: Any) -> Case:
        return Case(op, label, build, (Arg(shape, more.pop("draw", normal)),), **more)

    array = np.random.default_rng(1).normal(size=(3, 5))
    cube = (3, 4, 5)
    return [
        *(
            Case("constant", f"{dtype}", lambda dtype=dtype: constant(array * 4, dtype), (), (dtype,))
            for dtype in ("float32", "float64", "int32", "bool")
        ),
        one("broadcast", "new axes", lambda x: ops.broadcast(x, (2, 3, 4, 5), (1, 3)), (3, 5), terms=8),
        one("broadcast", "number", lambda x: ops.broadcast_to(x, (7,)), (), terms=7),
        one(
            "broadcast", "words", lambda x: ops.broadcast_to(x, (3, 5)), (5,), draw=words, dtypes=("uint32",)
        ),
        one("sum", "all", ops.reduce_sum, cube, terms=60),
        one("sum", "middle", lambda x: ops.reduce_sum(x, 1), cube, terms=4),
        one("sum", "keepdims", lambda x: ops.reduce_sum(x, (0, -1), keepdims=True), cube, terms=15),
        one("sum", "integers", lambda x: ops.reduce_sum(x, 0), (7, 3), draw=natural, dtypes=INTEGERS),
        one("reshape", "flat", lambda x: ops.reshape(x, (-1, 6)), (3, 4, 5, 2)),
        one("reshape", "to number", lambda x: ops.reshape(x, ()), (1, 1)),
        one("reshape", "bools", lambda x: ops.reshape(x, (15,)), (3, 5), draw=coins, dtypes=("bool",)),
        one("transpose", "cycle", lambda x: ops.transpose(x, (2, 0, 1)), cube),
        one("transpose", "matrix", ops.transpose, (3, 5)),
        one("transpose", "integers", ops.transpose, (3, 5), draw=natural, dtypes=INTEGERS),
        one("reverse", "middle", lambda x: ops.reverse(x, 1), cube),
        one("reverse", "last", lambda x: ops.reverse(x, -1), (7,)),
        one("slice", "strided", lambda x: ops.slice_of(x, (1, 0, 1), (3, 4, 5), (1, 3, 2)), cube),
        one("slice", "axis", lambda x: ops.slice_axis(x, -1, 2, 3), (3, 5)),
        one("slice", "bools", lambda x: ops.slice_axis(x, 0, 2, 7), (9,), draw=coins, dtypes=("bool",)),
        one("pad", "around", lambda x: ops.pad(x, (1, 0), (0, 2)), (3, 5)),
        one("pad", "between", lambda x: ops.pad(x, (1, 0), (2, 1), (2, 1)), (3, 5)),
        one("pad", "integers", lambda x: ops.pad(x, (1,), (2,)), (4,), draw=natural, dtypes=INTEGERS),
        Case(
            "concatenate",
            "middle",
            lambda *parts: ops.concatenate(parts, 1),
            (Arg((2, 3, 2), normal), Arg((2, 1, 2), normal), Arg((2, 2, 2), normal)),
        ),
        Case("concatenate", "twice", lambda x: ops.concatenate([x, x], 0), (Arg((3, 5), normal),), EVERY),
        *(
            one(
                "convert",
                f"{source} to {target}",
                lambda x, target=target: ops.convert(x, target),
                (3, 5),
                **more,
            )
            for source, target, more in (
                ("float32", "float64", {"dtypes": ("float32",)}),
                ("float64", "float32", {"dtypes": ("float64",), "smooth": False}),
                ("floats", "int32", {"draw": fractional}),
                ("floats", "bool", {"draw": listed(0, 0.3, -1, 2, 0)}),
                ("int32", "float64", {"draw": small, "dtypes": ("int32",)}),
                ("int32", "uint32", {"draw": small, "dtypes": ("int32",)}),
                ("uint32", "float32", {"draw": words, "dtypes": ("uint32",)}),
                ("bool", "float32", {"draw": coins, "dtypes": ("bool",)}),
                ("bool", "int32", {"draw": coins, "dtypes": ("bool",)}),
            )
        ),
        *(
            one(
                "convert",
                f"out of range to {target}",
                lambda x, target=target: ops.convert(x, target),
                (len(OUT_OF_RANGE),),
                draw=listed(*OUT_OF_RANGE),
                smooth=False,
            )
            for target in ("int32", "uint32", "bool")
        ),
        one(
            "convert",
            "there and back",
            lambda x: ops.convert(ops.convert(ops.sin(x), "int32"), x.dtype) + x,
            (3,),
        ),
        one("stop_gradient", "matrix", ops.stop_gradient, (3, 5)),
        one("max", "all", ops.reduce_max, cube, draw=distinct),
        one("max", "axes", lambda x: ops.reduce_max(x, (0, 2)), cube, draw=distinct),
        one("max", "integers", lambda x: ops.reduce_max(x, 0), (7, 3), draw=natural, dtypes=INTEGERS),
        one("argmax", "first of ties", lambda x: ops.argmax(x, 1), (4, 6), draw=whole(0, 3), dtypes=NUMBERS),
        one("argmax", "outer", lambda x: ops.argmax(x, 0), cube),
        one("cumsum", "outer", lambda x: ops.cumsum(x, 0), (7, 3), terms=7),
        one("cumsum", "last", lambda x: ops.cumsum(x, -1), (3, 5), terms=5),
        one("cumsum", "integers", lambda x: ops.cumsum(x, 0), (7,), draw=natural, dtypes=INTEGERS),
        one("top_k", "three", lambda x: ops.top_k(x, 3), (4, 7), draw=distinct),
        one("top_k", "all", lambda x: ops.top_k(x, 5), (5,), draw=distinct),
        one(
            "top_k", "zeros and NaN", lambda x: ops.top_k(x, 9), (2, 9), draw=listed(*UNORDERED), smooth=False
        ),
        one("top_k", "ties", lambda x: ops.top_k(x, 4), (3, 7), draw=whole(0, 3), smooth=False),
    ]


def indexing_cases() -> list[Case]:
    outside = Arg((2, 3), whole(-2, 9), "int32")
    index = Arg((4,), whole(0, 5), "int32")
    table = Arg((5, 3), normal)
    return [
        Case("gather_rows", "clipped", ops.gather_rows, (table, outside), terms=6),
        Case("gather_rows", "vector", ops.gather_rows, (Arg((5,), normal), index), terms=4),
        Case(
            "gather_rows",
            "number as a table",
            lambda x, i: ops.gather_rows(ops.reshape(ops.reduce_sum(x), (1,)), i),
            (Arg((2, 3), normal), index),
            terms=24,
        ),
        Case(
            "gather_rows",
            "reshaped table",
            lambda x, i: ops.gather_rows(ops.reshape(ops.tanh(x), (6, 2)), i),
            (Arg((3, 4), normal), index),
            terms=4,
        ),
        Case("gather_rows", "bools", ops.gather_rows, (Arg((5, 3), coins), index), ("bool",)),
        Case(
            "scatter_add_rows",
            "clipped",
            lambda i, x: ops.scatter_add_rows(i, x, 5),
            (outside, Arg((2, 3, 4), normal)),
            terms=6,
        ),
        Case(
            "scatter_add_rows",
            "integers",
            lambda i, x: ops.scatter_add_rows(i, x, 6),
            (index, Arg((4,), natural)),
            INTEGERS,
        ),
        *(
            Case("one_hot", dtype, lambda i, dtype=dtype: ops.one_hot(i, 5, dtype), (outside,), ("int32",))
            for dtype in ("float32", "float64", "bool")
        ),
        Case("iota", "integers", lambda: ops.iota(7), (), ("int32",)),
        Case("iota", "floats", lambda: ops.iota(5, "float32"), (), ("float32",)),
        Case("iota", "words", lambda: ops.iota(3, "uint32"), (), ("uint32",)),
    ]


def product_cases() -> list[Case]:
    def product(label: str, a: Shape, b: Shape, terms: int) -> Case:
        return Case("matmul", label, ops.matmul, (Arg(a, normal), Arg(b, normal)), terms=terms)

    def images(op: str, label: str, build: Callable[..., Value], shape: Shape) -> Case:
        return Case(op, label, build, (Arg(shape, normal),), terms=9)

    return [
        product("odd", (3, 5), (5, 7), 7),
        product("row by column", (1, 9), (9, 1), 9),
        product("long", (2, 301), (301, 3), 301),
        product("batches", (2, 3, 5), (2, 5, 4), 5),
        product("many rows", (2, 3, 5), (5, 4), 6),
        product("broadcast batches", (2, 1, 3, 5), (3, 5, 2), 6),
        images("windows", "overlapping", lambda x: ops.windows(x, (3, 2)), (2, 5, 4, 3)),
        images("windows", "strided", lambda x: ops.windows(x, (2, 3), (2, 3)), (1, 7, 8, 2)),
        images("windows", "gaps", lambda x: ops.windows(x, (1, 2), (3, 4)), (1, 6, 7, 1)),
        images("fold_windows", "overlapping", lambda x: ops.fold_windows(x, (5, 4)), (2, 3, 3, 3, 2, 3)),
        images("fold_windows", "strided", lambda x: ops.fold_windows(x, (7, 8), (2, 3)), (1, 3, 2, 2, 3, 2)),
        images("fold_windows", "gaps", lambda x: ops.fold_windows(x, (6, 7), (3, 4)), (1, 2, 2, 1, 2, 1)),
    ]


# --- random, scan, call ----------------------------------------------------------------------------------


def random_cases() -> list[Case]:
    def bits(label: str, rows: int, shape: Shape, stream: int) -> Case:
        args = Arg((2,), words, "uint32"), Arg((), words, "uint32"), Arg((rows,), words, "uint32")
        return Case(
            "random_bits",
            label,
            lambda seed, step, row: ops.random_bits(seed, step, row, stream=stream, shape=shape),
            args,
            ("uint32",),
        )

    return [bits("odd", 5, (3,), 1), bits("one each", 7, (), 2**32 - 1), bits("images", 2, (3, 4, 2), 0)]


def region_cases() -> list[Case]:
    def cell(h: Value, x: Value, w: Value, u: Value) -> list[Value]:
        new = ops.tanh(h @ w + x @ u)
        return [new, new * new + h]

    def network(backwards: bool) -> Callable[..., list[Value]]:
        def build(h: Value, x: Value, w: Value, u: Value) -> list[Value]:
            last, results = ops.scan(cell, [h], [x], [w, u], backwards=backwards)
            return [*last, *results]

        return build

    def counter(x: Value, index: Value) -> list[Value]:
        def body(count: Value, total: Value, item: Value, i: Value) -> list[Value]:
            here = total + item * ops.convert(count, item.dtype)
            return [count + 2, here, here * item, count - i]

        zero = constant(1, "int32")
        last, results = ops.scan(body, [zero, ops.zeros_like(ops.reduce_sum(x))], [x, index])
        return [*last, *results]

    def powers(x: Value) -> list[Value]:
        last, results = ops.scan(lambda y, x: [y * x, y], [x], [], [x], length=4)
        return [*last, *results]

    def soft(a: Value, b: Value) -> list[Value]:
        return [ops.log(ops.exp(a) + ops.exp(b)), a * b]

    recurrent = Arg((2, 3), normal), Arg((4, 2, 2), normal), Arg((3, 3), normal), Arg((2, 3), normal)
    pair = Arg((3, 2), normal), Arg((3, 2), normal)
    return [
        Case("scan", "recurrent", network(False), recurrent, terms=20),
        Case("scan", "backwards", network(True), recurrent, terms=20),
        Case("scan", "whole carry", counter, (Arg((5,), normal), Arg((5,), small, "int32")), terms=20),
        Case("scan", "no sequence", powers, (Arg((3,), positive),), terms=5),
        Case("call", "two outputs", ops.custom_op(soft), pair),
        Case("call", "nested", ops.custom_op(lambda a, b: ops.custom_op(soft)(a, b)[0] * a), pair),
    ]


CASES: tuple[Case, ...] = (
    *elementwise_cases(),
    *structure_cases(),
    *indexing_cases(),
    *product_cases(),
    *random_cases(),
    *region_cases(),
)
# Each output of the cases with several outputs: a backend must also be correct if only that one is used.
SINGLE_OUTPUTS: tuple[tuple[Case, DType, int], ...] = tuple(
    (case, dtype, i)
    for case in CASES
    for dtype in case.dtypes
    for i in range(len(case.single_output_graphs(dtype)))
)
DIFFERENTIABLE: tuple[Case, ...] = tuple(case for case in CASES if case.differentiable)
