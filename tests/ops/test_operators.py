"""The operators of values: without other imports, and with numbers and NumPy arrays on either side."""

from __future__ import annotations

import operator
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from backends.runners import RUNNERS
from glassgrad.autodiff.sweeps import gradient
from glassgrad.common.errors import GraphError
from glassgrad.graph.node import OPERATORS, Graph, Value
from glassgrad.ops.op import make_input
from glassgrad.ops.structure import reduce_sum

BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "**": operator.pow,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

EXPRESSIONS = [f"x {sign} 2" for sign in BINARY] + [f"2 {sign} x" for sign in BINARY] + ["-x", "x @ x"]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_each_operator_works_with_nothing_else_imported(expression: str) -> None:
    script = (
        "import sys\nfrom glassgrad.ops.op import make_input\n"
        "assert 'glassgrad.ops.elementwise' not in sys.modules\n"
        f"x = make_input('x', (2, 2), 'float32')\nprint(({expression}).node.op.name)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in OPERATORS


ARRAY = np.array([[0.5, 2.0, 1.5], [3.0, 1.0, 2.0]])
OPERANDS: dict[str, Any] = {
    "int": 2,
    "float": 1.5,
    "bool": True,
    "float16": np.float16(1.5),
    "float32": np.float32(1.5),
    "float64": np.float64(1.5),
    "int8": np.int8(2),
    "int64": np.int64(2),
    "uint32": np.uint32(2),
    "bool_": np.bool_(True),
    "0-d float": np.array(1.5),
    "0-d int": np.array(2),
    "1-d float": np.array([1.5, 0.5, 2.0]),
    "1-d int": np.array([1, 2, 3]),
    "1-d bool": np.array([True, True, False]),
    "2-d column": np.array([[1.5], [0.5]], np.float32),
    "2-d": ARRAY[::-1],
    "3-d": np.ones((2, 2, 3)) * 1.25,
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", OPERANDS)
def test_numbers_and_arrays_on_either_side_of_every_operator(kind: str, dtype: Any) -> None:
    other = OPERANDS[kind]
    x = make_input("x", (2, 3), dtype)
    built = [f(x, other) for f in BINARY.values()] + [f(other, x) for f in BINARY.values()]
    assert all(isinstance(value, Value) for value in built)
    a, b = ARRAY.astype(dtype), np.asarray(other).astype(dtype)
    with np.errstate(divide="ignore"):
        expected = [f(a, b) for f in BINARY.values()] + [f(b, a) for f in BINARY.values()]
    for got, want in zip(RUNNERS["reference"](Graph((x,), tuple(built)), [a]), expected, strict=True):
        assert (got.dtype, got.shape) == (want.dtype, want.shape)
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("backend", sorted(RUNNERS))
def test_matrix_products_with_arrays_and_their_gradients(backend: str) -> None:
    x = make_input("x", (2, 3), "float64")
    left, right = np.arange(8.0).reshape(4, 2), np.arange(6).reshape(3, 2)
    y = left @ (x * ARRAY) @ right
    assert isinstance(y, Value)
    value, slope = RUNNERS[backend](Graph((x,), (y, *gradient(reduce_sum(y), [x]))), [ARRAY])
    np.testing.assert_allclose(value, left @ (ARRAY * ARRAY) @ right)
    np.testing.assert_allclose(slope, left.sum(0)[:, None] * ARRAY * right.sum(1))


def test_integers_with_integers_and_bools() -> None:
    n, u = make_input("n", (3,), "int32"), make_input("u", (3,), "uint32")
    built = (
        n + np.int64(2),
        np.array([1, 2, 3]) * n,
        n - True,
        u * np.array([True, False, True]),
        7 - u,
        n > 1,
    )
    actual = RUNNERS["reference"](Graph((n, u), built), [[-1, 0, 5], [1, 2, 3]])
    assert [item.tolist() for item in actual] == [
        [1, 2, 7],
        [-1, 0, 15],
        [-2, -1, 4],
        [1, 0, 3],
        [6, 5, 4],
        [False, False, True],
    ]
    assert [str(item.dtype) for item in actual] == ["int32"] * 3 + ["uint32"] * 2 + ["bool"]


@pytest.mark.parametrize(
    ("dtype", "other", "message"),
    [
        ("int32", 1.5, r"the number 1\.5 does not fit a value of int32\[3\]; convert"),
        ("int32", np.float32(2), "the number 2.0 does not fit"),
        ("int32", np.ones(3), r"the array float64\[3\] does not fit a value of int32\[3\]"),
        ("int32", 2**31, "the number 2147483648 does not fit"),
        ("int32", 10**50, "the number 1000"),
        ("int32", np.array([1, 2, 2**40]), r"the array int64\[3\] does not fit"),
        ("uint32", -1, "the number -1 does not fit"),
        ("uint32", np.array([-1, 0, 1], np.int8), r"the array int8\[3\] does not fit"),
        ("float32", 1e39, r"the number 1e\+39 does not fit"),
        ("float32", 10**39, r"the number 1e\+39 does not fit"),
        ("float64", 10**400, "the number 1000"),
        ("float32", np.array([0.0, 1e300, np.inf]), r"the array float64\[3\] does not fit"),
        ("float32", 1j, "complex is neither a value of the graph nor a number or NumPy array"),
        ("float32", np.ones(3, complex), r"the array complex128\[3\] does not fit"),
        ("float32", np.array(["a", "b", "c"]), "the array <U1"),
        ("float32", np.array([None] * 3), r"the array object\[3\] does not fit"),
        ("float32", "text", "str is neither a value"),
        ("float32", None, "NoneType is neither a value"),
        ("float32", [1.0, 2.0, 3.0], "list is neither a value"),
        ("float32", np.ones(4), r"cannot be broadcast together"),
    ],
)
def test_operands_that_do_not_fit_are_rejected_with_a_one_line_message(
    dtype: Any, other: Any, message: str
) -> None:
    x = make_input("x", (3,), dtype)
    for build in (lambda: x + other, lambda: other * x):
        with pytest.raises(GraphError, match=message) as caught:
            build()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("number", [1e300, 10**200, np.inf, -np.inf, np.nan])
def test_float64_values_take_any_number_within_range(number: Any) -> None:
    x = make_input("x", (3,), "float64")
    (actual,) = RUNNERS["reference"](Graph((x,), (x * number,)), [np.ones(3)])
    np.testing.assert_array_equal(actual, np.full(3, float(number)))


def test_a_bool_value_takes_bools_only() -> None:
    from glassgrad.ops.elementwise import logical_and

    b = make_input("b", (3,), "bool")
    actual = RUNNERS["reference"](Graph((b,), (logical_and(b, np.array([True, False, True])),)), [[1, 1, 0]])
    assert actual[0].tolist() == [True, False, False]
    with pytest.raises(GraphError, match=r"the number 2 does not fit a value of bool\[3\]"):
        logical_and(b, 2)


def test_an_operator_needs_a_value() -> None:
    from glassgrad.ops.elementwise import add
    from glassgrad.ops.products import matmul

    for function in (add, matmul):
        with pytest.raises(
            GraphError, match="needs at least one value of the graph, not only numbers and arr"
        ):
            function(np.ones((2, 2)), np.ones((2, 2)))
