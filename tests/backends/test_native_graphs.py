"""Graphs that are hard to compile: values behind broadcasts, values in memory, nodes that cannot be fused."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.runners import assert_agree
from glassgrad.backends.native.backend import run_graph
from glassgrad.backends.native.runtime.machine import host, machine
from glassgrad.backends.reference import evaluate
from glassgrad.graph.node import DType, Graph, Shape, Value
from glassgrad.ops import table as ops
from glassgrad.ops.op import constant, make_input

Build = Callable[..., Value | Sequence[Value]]


def twos(*shape: int) -> Value:
    return ops.full(shape, 2.0, "float64")


def along(x: Value, *shape: int) -> Value:
    """``x`` repeated along all axes but the first."""
    return ops.broadcast(x, shape, [0])


def turned(x: Value) -> Value:
    return ops.transpose(x)


def table(*shape: int) -> Value:
    return constant(np.arange(float(np.prod(shape))).reshape(shape), "float64")


def last(*results: Sequence[Value]) -> list[Value]:
    return [value for result in results for value in result]


GRAPHS: dict[str, tuple[Build, list[Shape]]] = {
    # Reductions with a loop nest of their own, of values that are not in memory.
    "sum over the middle of a constant": (lambda: ops.reduce_sum(twos(3, 4, 5), 1), []),
    "sum over the middle of a column": (lambda x: ops.reduce_sum(ops.broadcast_to(x, (3, 4, 5)), 1), [(5,)]),
    "sum over the middle of a number": (lambda x: ops.reduce_sum(ops.broadcast_to(x, (3, 4, 5)), 1), [()]),
    "maximum over the middle": (
        lambda x: ops.reduce_max(ops.broadcast(x, (3, 4, 5), [0, 1]), 1),
        [(3, 4)],
    ),
    "sums of a row value": (
        lambda x: [ops.reduce_sum(along(x, 3, 4, 5), axis) for axis in (0, 1, 2)],
        [(3,)],
    ),
    # Moves of values that are not in memory.
    "transposed column": (lambda x: turned(ops.broadcast_to(x, (3, 5))), [(5,)]),
    "transposed constant": (lambda: turned(twos(3, 5)), []),
    "cycled column": (lambda x: ops.exp(ops.transpose(ops.broadcast_to(x, (3, 4, 5)), (2, 0, 1))), [(5,)]),
    "reshaped row value": (lambda x: ops.exp(ops.reshape(along(x, 3, 4), (12,))), [(3,)]),
    "reshaped constant": (lambda x: x + ops.reshape(twos(3, 4), (12,)), [(12,)]),
    "reshaped and given out": (lambda x: ops.reshape(along(x, 3, 4), (12,)), [(3,)]),
    "reshaped and repeated": (
        lambda x: ops.exp(ops.broadcast_to(ops.reshape(along(x, 3, 4), (12,)), (2, 12))),
        [(3,)],
    ),
    "reshaped and summed": (lambda x: ops.reduce_sum(ops.reshape(along(x, 3, 4), (2, 6)), 1), [(3,)]),
    "reversed, cut, piled up": (
        lambda x: [
            ops.reverse(along(x, 3, 4), 0),
            ops.slice_axis(along(x, 3, 4), 1, 1, 3),
            ops.cumsum(along(x, 3, 4), 1),
            ops.argmax(along(x, 3, 4), 0),
            ops.concatenate([along(x, 3, 4), twos(3, 2)], 1),
        ],
        [(3,)],
    ),
    "padded constant": (lambda: ops.pad(twos(3, 4), (1, 0), (0, 1)), []),
    "broadcasts of broadcasts": (
        lambda x: ops.broadcast(ops.reshape(along(x, 3, 5), (5, 3)), (5, 4, 3), [0, 2]),
        [(3,)],
    ),
    # Products of such values.
    "product with a constant": (lambda x: [x @ twos(4, 2), x @ turned(table(2, 4))], [(3, 4)]),
    "product with a sum": (lambda x: x @ ops.broadcast_to(ops.reduce_sum(x), (4, 2)), [(3, 4)]),
    "product with a turned column": (lambda x, y: y @ turned(ops.broadcast_to(x, (3, 5))), [(5,), (2, 5)]),
    "product with itself": (
        lambda x: [x @ turned(x), ops.exp(x) @ turned(ops.exp(x)), turned(x) @ x],
        [(3, 4)],
    ),
    "product of products": (lambda x, y: (x @ y) + turned(y @ x), [(4, 4), (4, 4)]),
    "products of one number": (lambda x, y: ops.exp(x @ y) * 2.0, [(1, 7), (7, 1)]),
    "products in batches": (
        lambda x, y: [
            ops.matmul(ops.transpose(x, (0, 2, 1)), y),
            ops.matmul(x, twos(4, 2)),
            ops.matmul(along(ops.reduce_sum(x, (1, 2)), 2, 3, 4), ops.transpose(x, (0, 2, 1))),
        ],
        [(2, 3, 4), (2, 3, 5)],
    ),
    # Two shapes of one memory.
    "two views of a fellow": (
        lambda x: [
            ops.tanh(x) + ops.reshape(ops.reshape(ops.tanh(x), (12,)), (3, 4)),
            ops.reduce_sum(ops.reshape(ops.exp(x), (4, 3)), 1),
            ops.exp(ops.reshape(ops.exp(x), (4, 3)))
            * ops.reshape(ops.reduce_sum(ops.exp(x), 1, keepdims=True) * x, (4, 3)),
        ],
        [(3, 4)],
    ),
    "inputs and constants given out": (
        lambda x: [x, x, ops.reshape(x, (12,)), table(2, 3), twos(2, 2), constant(3.0, "float64")],
        [(3, 4)],
    ),
    "sums of sums": (
        lambda x: [
            ops.reduce_sum(x) * 2.0 + ops.reduce_max(x),
            x / ops.reduce_sum(x),
            x - ops.reduce_mean(x, 0),
            x - ops.reduce_mean(x, 1, keepdims=True),
            ops.softmax(x, 0),
        ],
        [(5, 4)],
    ),
    # Scans whose operands come from any kind of node.
    "scan over constants": (
        lambda x: last(*ops.scan(lambda h, s: (h + s, h * s), [x], [twos(4, 3)], [])),
        [(3,)],
    ),
    "scan from a broadcast": (
        lambda x: last(
            *ops.scan(lambda h, s: (h + s, h * s), [ops.broadcast_to(ops.reduce_sum(x), (3,))], [x], [])
        ),
        [(4, 3)],
    ),
    "scan that hands things through": (
        lambda x, y: last(
            ops.scan(lambda h, s, w: (w, h * s), [y], [x], [y])[0],
            ops.scan(lambda h, s: (h, s), [y], [x], [])[1],
            ops.scan(lambda h, s: (h, constant(2.0, "float64")), [y], [x], [])[1],
        ),
        [(4, 3), (3,)],
    ),
    "scan that swaps": (
        lambda x, y: last(*ops.scan(lambda a, b, s: (b, a, s + a), [x, y], [twos(5, 3)], [])),
        [(3,), (3,)],
    ),
    "scan in a scan": (
        lambda x, y: last(
            *ops.scan(
                lambda a, s: (
                    ops.scan(lambda h, q: (h * 0.5 + q, h), [a], [ops.broadcast_to(s, (2, 3))], [])[0][0],
                    a,
                ),
                [x],
                [y],
                [],
            )
        ),
        [(3,), (4, 3)],
    ),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_values_behind_broadcasts_and_reshapes_are_read_correctly(name: str) -> None:
    build, shapes = GRAPHS[name]
    inputs = [make_input(f"x{i}", shape, "float64") for i, shape in enumerate(shapes)]
    made = build(*inputs)
    graph = Graph(tuple(inputs), (made,) if isinstance(made, Value) else tuple(made))
    rng = np.random.default_rng(1)
    arrays = [rng.normal(size=shape) for shape in shapes]
    assert_agree(run_graph(graph, arrays), evaluate(graph, arrays), terms=40)


WIDTHS = {"sse2": 16, "avx2": 32, "avx512": 64}


@pytest.mark.parametrize("target", WIDTHS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_of_any_length_can_be_normalized(dtype: DType, target: str) -> None:
    """Short rows stay in registers and long ones do not; the limit depends on the number of lanes of the dtype."""
    if host().vector_bytes < WIDTHS[target]:
        pytest.skip(f"this processor has no {target}")
    for rows, columns in [(7, n) for n in (1, 2, 15, 17, 31, 33, 40, 63, 65, 127, 129, 257)] + [(70, 9)]:
        x = make_input("x", (rows, columns), dtype)
        offset = x - ops.reduce_mean(x, 1, keepdims=True)
        scaled = offset / ops.sqrt(ops.reduce_mean(offset * offset, 1, keepdims=True) + 1.0)
        peak = ops.softmax(x) * ops.reduce_max(x, 1, keepdims=True)
        graph = Graph((x,), (scaled, peak, ops.reduce_sum(scaled * x, 0), ops.reduce_sum(peak)))
        arrays = [np.random.default_rng(columns).normal(size=(rows, columns))]
        found = run_graph(graph, arrays, machine(target))
        assert_agree(found, evaluate(graph, arrays), terms=4 * rows * columns)


# --- random graphs ---------------------------------------------------------------------------------------------

SHAPES: tuple[Shape, ...] = ((), (6,), (4,), (4, 6), (6, 4), (24,), (2, 2, 6), (1, 6), (4, 1))
MOVES = ("transpose", "reshape", "broadcast", "sum", "max", "elementwise", "two", "matmul", "select", "cut")


def one_step(values: list[Value], move: str, a: int, b: int, c: int) -> None:
    """Append a value computed from earlier ones, if ``move`` fits them."""
    x = values[-1 - a % len(values)]
    rank = len(x.shape)
    match move:
        case "transpose" if rank:
            values.append(ops.transpose(x, tuple((axis + b) % rank for axis in range(rank))))
        case "reshape":
            fits = [shape for shape in SHAPES if int(np.prod(shape)) == x.type.size]
            if fits:
                values.append(ops.reshape(x, fits[b % len(fits)]))
        case "broadcast":
            shape = SHAPES[b % len(SHAPES)]
            if rank < len(shape):
                places = [i for i, n in enumerate(shape) if rank and n == x.shape[-1]]
                if rank == 0:
                    values.append(ops.broadcast_to(x, shape))
                elif rank == 1 and places:
                    values.append(ops.broadcast(x, shape, [places[c % len(places)]]))
        case "sum" | "max" if rank:
            reduce = ops.reduce_sum if move == "sum" else ops.reduce_max
            axes = [axis for axis in range(rank) if (b >> axis) & 1] or list(range(rank))
            values.append(ops.tanh(reduce(x, tuple(axes), keepdims=bool(c % 2))))
        case "elementwise":
            values.append((ops.tanh, ops.sigmoid, ops.absolute, lambda v: 0.5 - v)[b % 4](x))
        case "two" | "select":
            others = [y for y in values if y.shape == x.shape]
            y = others[b % len(others)]
            if move == "select":
                values.append(ops.select(x < y, y, 0.25))
            else:
                values.append((ops.maximum, ops.add, ops.multiply, ops.subtract)[c % 4](x, y) * 0.5)
        case "matmul":
            others = [y for y in values if rank == len(y.shape) == 2 and x.shape[1] == y.shape[0]]
            if others:
                values.append(ops.tanh(x @ others[b % len(others)]))
        case "cut" if rank and x.shape[-1] > 1:
            half = x.shape[-1] // 2
            low, high = ops.slice_axis(x, -1, 0, half), ops.slice_axis(x, -1, half, x.shape[-1])
            values.append(ops.concatenate([high, low], rank - 1))


numbers = st.integers(0, 7)
recipes = st.lists(st.tuples(st.sampled_from(MOVES), numbers, numbers, numbers), min_size=3, max_size=14)


@settings(max_examples=150, derandomize=True)
@given(recipes, st.sampled_from([(), (3,), (3, 1), (0, 3)]))
def test_random_graphs_of_shapes_agree(recipe: list[tuple[str, int, int, int]], gives: Sequence[int]) -> None:
    """Shape ops, reductions and products in any order; the outputs are the last value and a few intermediate ones."""
    inputs = [make_input("x", (4, 6), "float64"), make_input("y", (6,), "float64")]
    values = [*inputs, ops.full((4, 6), 0.75, "float64")]
    for step in recipe:
        one_step(values, *step)
    graph = Graph(tuple(inputs), (values[-1], *(values[-1 - i % len(values)] for i in gives)))
    rng = np.random.default_rng(3)
    arrays = [rng.normal(size=value.shape) for value in inputs]
    assert_agree(run_graph(graph, arrays), evaluate(graph, arrays), terms=24 * len(values))
