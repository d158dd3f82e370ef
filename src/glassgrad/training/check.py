"""A check of derivatives by central differences."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from glassgrad.autodiff.sweeps import gradient
from glassgrad.backends.base import Array
from glassgrad.backends.reference import evaluate
from glassgrad.common.constraints import Real, Whole, check
from glassgrad.common.errors import GlassgradError, GraphError, InputError
from glassgrad.graph.node import Graph, Value
from glassgrad.graph.verify import verify
from glassgrad.ops.op import constant, make_input
from glassgrad.ops.structure import reduce_sum


def check_derivative(
    function: Callable[..., Value | Sequence[Value]], *inputs: Any, step: float = 1e-5, seed: int = 0
) -> float:
    """The largest error of the derivative of ``function`` at ``inputs``, relative to its largest element.

    ``function`` builds graph from float64 values with the shapes of ``inputs`` (arrays of finite numbers), and
    returns one value or several. A random linear combination of all its float outputs, drawn from ``seed``, is
    differentiated by the reverse sweep and by (f(x + h) - f(x - h)) / 2h with h = ``step`` * max(1, |x|), element by
    element. A correct derivative gives about 1e-8, a wrong one about 1.

    Raises InputError for invalid arguments, for a function that raises (with the cause), and if the function or its
    derivative is not finite. Raises GraphError for outputs that are not float64 values of the graph, and for invalid
    uses of ops in ``function``.
    """
    arrays = _check_arguments(function, inputs, step, seed)
    values = [make_input(f"x{i}", array.shape, "float64") for i, array in enumerate(arrays)]
    outputs = _outputs(_attempt("the function", lambda: function(*values)))
    generator = np.random.default_rng(seed)
    total: Value | None = None
    for output in outputs:
        if output.type.is_float:
            weights = constant(generator.normal(size=output.shape), "float64")
            term = reduce_sum(output * weights)
            total = term if total is None else total + term
    if total is None:
        raise GraphError("check_derivative: the function has no float output to differentiate")
    forward = verify(Graph(tuple(values), (total,)))
    weighted = total
    slopes = _attempt("the derivative of the function", lambda: gradient(weighted, values))
    exact = evaluate(Graph(tuple(values), tuple(slopes)), arrays)

    def value_at(index: int, element: tuple[int, ...], value: float) -> float:
        changed: list[Array] = [array.copy() for array in arrays]
        changed[index][element] = value
        return float(evaluate(forward, changed)[0])

    worst = 0.0
    scale = max(float(np.abs(array).max()) for array in exact)
    for index, array in enumerate(arrays):
        for element in np.ndindex(array.shape):
            x = float(array[element])
            h = step * max(1.0, abs(x))
            measured = (value_at(index, element, x + h) - value_at(index, element, x - h)) / (2 * h)
            error = abs(measured - float(exact[index][element]))
            if not math.isfinite(error):
                raise InputError(
                    f"check_derivative: the function or its derivative is NaN or Inf at element {list(element)} of "
                    f"input {index + 1}, which is {x:g}; choose another point"
                )
            worst = max(worst, error)
            scale = max(scale, abs(measured))
    return worst / scale if scale > 0 else worst


def _check_arguments(function: Any, inputs: Sequence[Any], step: Any, seed: Any) -> list[Array]:
    """The inputs as float64 arrays; raises InputError for an invalid argument."""
    if not callable(function):
        raise InputError(
            "check_derivative: the first argument must be a function of values, not "
            f"{type(function).__name__} {function!r:.60}"
        )
    if not inputs:
        raise InputError("check_derivative needs at least one input after the function")
    check("check_derivative: step", step, Real(above=0))
    check("check_derivative: seed", seed, Whole(0, 2**63 - 1))
    return [_float64_array(number, item) for number, item in enumerate(inputs, start=1)]


def _float64_array(number: int, item: Any) -> Array:
    name = f"check_derivative: input {number}"
    try:
        array = np.asarray(item)
    except (ValueError, TypeError):  # rows of different lengths
        raise InputError(f"{name} is not an array of numbers; give rows of equal length") from None
    if array.dtype.kind not in "biuf":
        raise InputError(
            f"{name} is {type(item).__name__} of dtype {array.dtype}; give an array of real numbers"
        )
    if not array.size:
        raise InputError(f"{name} has shape {array.shape}, so it has no elements; give at least one")
    with np.errstate(over="ignore"):
        array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise InputError(f"{name} contains NaN or Inf; give finite numbers")
    return array


def _attempt(what: str, call: Callable[[], Any]) -> Any:
    """The result of ``call``. Any exception from outside the package becomes an InputError of one line."""
    try:
        return call()
    except GlassgradError:
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0]
        raise InputError(
            f"check_derivative: {what} raised {type(error).__name__}" + (f": {reason}" if reason else "")
        ) from error


def _outputs(returned: Any) -> list[Value]:
    outputs = list(returned) if isinstance(returned, (list, tuple)) else [returned]
    for output in outputs:
        if not isinstance(output, Value):
            raise GraphError(
                f"check_derivative: the function must return values of the graph, not {type(output).__name__}"
            )
        if output.type.is_float and output.dtype != "float64":
            raise GraphError(
                f"check_derivative: the function turns its float64 inputs into {output.type}, in which rounding "
                "hides the differences; keep the dtype of the inputs"
            )
    return outputs
