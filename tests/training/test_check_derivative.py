"""``check_derivative``: its result, and its errors of one line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import glassgrad as gg
from glassgrad.common.errors import GlassgradError, GraphError, InputError
from glassgrad.ops.op import make_input

X = np.array([0.3, 1.2, 2.0])


def rule_giving(result: Any) -> Any:
    return gg.ops.custom_op(gg.ops.sin, derivative=lambda ctx, cts, ys, xs: result, name="mine")


def raising(*values: gg.ops.Value) -> gg.ops.Value:
    raise KeyError("no such thing\nin two lines")


def test_correct_and_wrong_derivatives_are_distinguished() -> None:
    wrong = gg.ops.custom_op(gg.ops.sin, derivative=lambda ctx, cts, ys, xs: [cts[0] * xs[0]])
    assert gg.check_derivative(gg.ops.sin, X) < 1e-7
    assert gg.check_derivative(lambda x, y: [x * y, gg.ops.exp(x)], X, X + 1) < 1e-7
    assert gg.check_derivative(wrong, X) > 0.1


def test_integers_and_plain_lists_are_accepted() -> None:
    assert gg.check_derivative(lambda x, y: x * y, [1, 2], np.array([3, 4], np.int8)) < 1e-7


@pytest.mark.parametrize(
    ("kind", "function", "inputs", "complaint"),
    [
        # the function
        (InputError, 3, [X], "the first argument must be a function of values, not int 3"),
        (InputError, X, [X], "the first argument must be a function of values, not ndarray"),
        (InputError, raising, [X], "the function raised KeyError: 'no such thing"),
        (InputError, lambda x: 1 / 0, [X], "the function raised ZeroDivisionError: division by zero"),
        (InputError, lambda x: x.missing, [X], "the function raised AttributeError"),
        (InputError, lambda x, y: x, [X], "the function raised TypeError: .* missing 1 required positional"),
        (InputError, np.sin, [X], "the function raised TypeError"),
        (GraphError, lambda x, y: x + y, [X, X[:2]], "cannot be broadcast together"),
        (GraphError, lambda x: x @ x, [X], "need at least two axes"),
        (GraphError, lambda x: 1.0, [X], "must return values of the graph, not float"),
        (GraphError, lambda x: None, [X], "must return values of the graph, not NoneType"),
        (GraphError, lambda x: X, [X], "must return values of the graph, not ndarray"),
        (GraphError, lambda x: [x, X], [X], "must return values of the graph, not ndarray"),
        (GraphError, lambda x: {"y": x}, [X], "must return values of the graph, not dict"),
        (GraphError, lambda x: [], [X], "has no float output to differentiate"),
        (GraphError, lambda x: x > 1.0, [X], "has no float output to differentiate"),
        (
            GraphError,
            lambda x: gg.ops.convert(x, "float32"),
            [X],
            r"into float32\[3\], in which rounding hides",
        ),
        (GraphError, lambda x: x * OUTSIDE, [X], "input 'outside' is used but not listed"),
        # its derivative
        (GraphError, rule_giving([]), [X], "derivative of 'mine' must give a list of 1, .* not 0 cotangents"),
        (
            GraphError,
            rule_giving([None, None]),
            [X],
            "must give a list of 1, one per input, not 2 cotangents",
        ),
        (GraphError, rule_giving(None), [X], "must give a list of 1, one per input, not NoneType"),
        (GraphError, rule_giving([X]), [X], "must give values of the graph or None, not ndarray"),
        (
            InputError,
            gg.ops.custom_op(gg.ops.sin, derivative=raising),
            [X],
            "derivative of the function raised KeyError",
        ),
        # the inputs
        (InputError, gg.ops.sin, [], "needs at least one input"),
        (InputError, gg.ops.sin, ["text"], "input 1 is str of dtype <U4; give an array of real numbers"),
        (InputError, gg.ops.sin, [None], "input 1 is NoneType of dtype object"),
        (InputError, gg.ops.sin, [X + 1j], "input 1 is ndarray of dtype complex128"),
        (
            InputError,
            gg.ops.sin,
            [[[1.0], [1.0, 2.0]]],
            "input 1 is not an array of numbers; give rows of equal length",
        ),
        (InputError, gg.ops.sin, [X[:0]], r"input 1 has shape \(0,\), so it has no elements"),
        (InputError, lambda x, y: x, [X, [np.nan]], "input 2 contains NaN or Inf"),
        (
            InputError,
            lambda x: gg.ops.log(x - 1.0),
            [X],
            r"NaN or Inf at element \[0\] of input 1, which is 0.3",
        ),
        (InputError, gg.ops.sqrt, [[0.0]], r"is NaN or Inf at element \[0\] of input 1, which is 0"),
    ],
)
def test_invalid_functions_and_inputs_are_refused_in_one_line(
    kind: type[GlassgradError], function: Any, inputs: Sequence[Any], complaint: str
) -> None:
    with pytest.raises(kind, match=complaint) as caught:
        gg.check_derivative(function, *inputs)
    assert "\n" not in str(caught.value)


OUTSIDE = make_input("outside", (3,), "float64")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"step": 0}, "step must be a number above 0, not 0"),
        ({"step": -1e-3}, "step must be a number above 0"),
        ({"step": float("nan")}, "step must be a number above 0, not nan"),
        ({"step": "small"}, "step must be a number above 0, not 'small'"),
        ({"seed": -1}, "seed must be a whole number"),
        ({"seed": 1.5}, "seed must be a whole number"),
    ],
)
def test_options_are_checked(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        gg.check_derivative(gg.ops.sin, X, **options)
