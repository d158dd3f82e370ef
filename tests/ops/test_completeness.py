"""No op escapes: everything generated is counted, so that a typo cannot silence a part of the suite."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from types import ModuleType

import pytest
import test_op_derivatives as derivatives
import test_op_results as results

from backends.runners import BACKENDS, RUNNERS
from glassgrad.backends import xla
from glassgrad.ops.op import NO_GRADIENT
from glassgrad.ops.table import TABLE
from ops.cases import CASES, DIFFERENTIABLE, EXEMPT, SINGLE_OUTPUTS
from ops.refusals import REFUSALS, REFUSES_NOTHING

# Pinned, so that a case cannot get lost: change a number only together with the cases.
OPS, NUMBER_OF_CASES, NUMBER_DIFFERENTIABLE, NUMBER_OF_REFUSALS = 58, 182, 85, 95

# Ops with a derivative that have no float to differentiate by.
WITHOUT_FLOATS: tuple[str, ...] = ()


def generated(module: ModuleType) -> dict[str, int]:
    """How many tests pytest makes of each test function of ``module``, by its parametrize marks."""
    counts = {}
    for name, function in vars(module).items():
        if name.startswith("test_"):
            marks = getattr(function, "pytestmark", [])
            counts[name] = prod(len(mark.args[1]) for mark in marks if mark.name == "parametrize")
    return counts


def test_the_table_is_as_large_as_it_was() -> None:
    assert len(TABLE) == OPS
    assert len(CASES) == NUMBER_OF_CASES
    assert len(DIFFERENTIABLE) == NUMBER_DIFFERENTIABLE
    assert len(REFUSALS) == NUMBER_OF_REFUSALS


def test_every_op_has_a_case() -> None:
    assert {case.op for case in CASES} == set(TABLE) - set(EXEMPT)
    assert len({str(case) for case in CASES}) == len(CASES)


def test_every_op_with_several_outputs_has_each_of_them_read_alone() -> None:
    several = {"top_k", "scan", "call"}
    assert {name for name, op in TABLE.items() if op.outputs != 1} == several
    assert {case.op for case, _, _ in SINGLE_OUTPUTS} == several


def test_every_op_with_a_derivative_is_differentiated() -> None:
    wanted = {
        name for name, op in TABLE.items() if op.derivative is not None and op.derivative is not NO_GRADIENT
    }
    assert {case.op for case in DIFFERENTIABLE} == wanted - set(WITHOUT_FLOATS)


def test_no_op_of_the_table_lacks_its_derivative() -> None:
    assert [name for name, op in TABLE.items() if op.derivative is None] == []


def test_every_shape_rule_refuses_something() -> None:
    assert {refusal.op for refusal in REFUSALS} == set(TABLE) - set(REFUSES_NOTHING)


def test_every_op_has_an_xla_lowering() -> None:
    assert set(xla.lowerings()) == set(TABLE) - set(EXEMPT)


def test_every_backend_is_compared() -> None:
    assert set(RUNNERS) == set(BACKENDS)
    assert set(results.COMPARED) == set(RUNNERS) - {"reference"}


def test_as_many_tests_are_generated_as_the_table_asks_for() -> None:
    by_dtype = sum(len(case.dtypes) for case in CASES)
    backends = len(RUNNERS) - 1
    assert generated(derivatives) == {
        "test_reverse_mode_equals_central_differences": NUMBER_DIFFERENTIABLE,
        "test_forward_mode_equals_central_differences": NUMBER_DIFFERENTIABLE,
        "test_second_order_equals_central_differences_of_the_gradient": NUMBER_DIFFERENTIABLE,
        "test_first_and_second_order_equal_those_of_jax": NUMBER_DIFFERENTIABLE,
    }
    assert generated(results) == {
        "test_the_shape_rule_says_what_the_reference_gives": by_dtype,
        "test_the_shape_rule_refuses_and_names_op_and_types": NUMBER_OF_REFUSALS,
        "test_every_backend_agrees_with_the_reference": by_dtype * backends,
        "test_an_output_is_the_same_where_no_other_output_is_read": len(SINGLE_OUTPUTS) * len(RUNNERS),
        "test_a_float_out_of_range_becomes_the_nearest_integer_and_nan_zero": len(RUNNERS) * 2,
        "test_every_backend_agrees_on_the_gradient": NUMBER_DIFFERENTIABLE * backends,
    }


@pytest.mark.parametrize("module", [derivatives, results], ids=["derivatives", "results"])
def test_pytest_collects_what_is_generated(module: ModuleType, request: pytest.FixtureRequest) -> None:
    """Compared with what this very run collected, where it collected the whole module."""
    collected: dict[str, int] = {}
    for item in request.session.items:
        function: Callable[..., None] | None = getattr(item, "function", None)
        if function is not None and function.__module__ == module.__name__:
            collected[function.__name__] = collected.get(function.__name__, 0) + 1
    if set(collected) != set(generated(module)):
        pytest.skip("only a part of the suite was asked for")
    assert collected == generated(module)
