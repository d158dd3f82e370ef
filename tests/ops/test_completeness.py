"""Every op is tested: the generated tests are counted, so a typo cannot remove some of them."""

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

# Pinned, so no case can get lost. Change a number only together with the cases.
OPS, NUMBER_OF_CASES, NUMBER_DIFFERENTIABLE, NUMBER_OF_REFUSALS = 58, 184, 87, 95

# Ops with a derivative but without a float input.
WITHOUT_FLOATS: tuple[str, ...] = ()


def generated(module: ModuleType) -> dict[str, int]:
    """The number of tests of each test function of ``module``, by its parametrize marks."""
    counts = {}
    for name, function in vars(module).items():
        if name.startswith("test_"):
            marks = getattr(function, "pytestmark", [])
            counts[name] = prod(len(mark.args[1]) for mark in marks if mark.name == "parametrize")
    return counts


def test_the_numbers_of_ops_and_cases_are_pinned() -> None:
    assert len(TABLE) == OPS
    assert len(CASES) == NUMBER_OF_CASES
    assert len(DIFFERENTIABLE) == NUMBER_DIFFERENTIABLE
    assert len(REFUSALS) == NUMBER_OF_REFUSALS


def test_every_op_has_a_case() -> None:
    assert {case.op for case in CASES} == set(TABLE) - set(EXEMPT)
    assert len({str(case) for case in CASES}) == len(CASES)


def test_every_output_of_an_op_with_several_is_also_used_alone() -> None:
    several = {"top_k", "scan", "call"}
    assert {name for name, op in TABLE.items() if op.outputs != 1} == several
    assert {case.op for case, _, _ in SINGLE_OUTPUTS} == several


def test_every_op_with_a_derivative_is_differentiated() -> None:
    expected = {
        name for name, op in TABLE.items() if op.derivative is not None and op.derivative is not NO_GRADIENT
    }
    assert {case.op for case in DIFFERENTIABLE} == expected - set(WITHOUT_FLOATS)


def test_every_op_has_a_derivative_entry() -> None:
    assert [name for name, op in TABLE.items() if op.derivative is None] == []


def test_every_shape_rule_has_a_case_that_it_rejects() -> None:
    assert {refusal.op for refusal in REFUSALS} == set(TABLE) - set(REFUSES_NOTHING)


def test_every_op_has_an_xla_lowering() -> None:
    assert set(xla.lowerings()) == set(TABLE) - set(EXEMPT)


def test_every_backend_is_compared() -> None:
    assert set(RUNNERS) == set(BACKENDS)
    assert set(results.COMPARED) == set(RUNNERS) - {"reference"}


def test_the_number_of_generated_tests_follows_from_the_table() -> None:
    by_dtype = sum(len(case.dtypes) for case in CASES)
    backends = len(RUNNERS) - 1
    assert generated(derivatives) == {
        "test_reverse_mode_equals_central_differences": NUMBER_DIFFERENTIABLE,
        "test_forward_mode_equals_central_differences": NUMBER_DIFFERENTIABLE,
        "test_second_order_equals_central_differences_of_the_gradient": NUMBER_DIFFERENTIABLE,
        "test_first_and_second_order_equal_those_of_jax": NUMBER_DIFFERENTIABLE,
    }
    assert generated(results) == {
        "test_the_shape_rule_agrees_with_the_reference": by_dtype,
        "test_the_shape_rule_rejects_invalid_types_and_names_op_and_types": NUMBER_OF_REFUSALS,
        "test_every_backend_agrees_with_the_reference": by_dtype * backends,
        "test_an_output_does_not_depend_on_whether_the_others_are_used": len(SINGLE_OUTPUTS) * len(RUNNERS),
        "test_a_float_out_of_range_converts_to_the_nearest_integer_and_nan_to_zero": len(RUNNERS) * 2,
        "test_every_backend_agrees_on_the_gradient": NUMBER_DIFFERENTIABLE * backends,
    }


@pytest.mark.parametrize("module", [derivatives, results], ids=["derivatives", "results"])
def test_pytest_collects_all_generated_tests(module: ModuleType, request: pytest.FixtureRequest) -> None:
    """Compare with the tests that this run collected, if it collected the whole module."""
    collected: dict[str, int] = {}
    for item in request.session.items:
        function: Callable[..., None] | None = getattr(item, "function", None)
        if function is not None and function.__module__ == module.__name__:
            collected[function.__name__] = collected.get(function.__name__, 0) + 1
    if set(collected) != set(generated(module)):
        pytest.skip("only part of the module was collected")
    assert collected == generated(module)
