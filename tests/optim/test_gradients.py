"""Gradient transformations: the global norm, and the guarantees of clipping."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from glassgrad.backends.reference import evaluate
from glassgrad.common.errors import GraphError, InputError
from glassgrad.graph.node import Graph
from glassgrad.ops.table import make_input
from glassgrad.optim.gradients import GradientTransformation, clip_by_global_norm, clip_by_value, global_norm

SHAPES = {"dense.weight": (2, 3), "dense.bias": (3,), "scale": ()}


def graph_of(build, dtype):
    """``build(gradients, limit)`` as a graph of the gradients and one limit."""
    gradients = {name: make_input(name, shape, dtype) for name, shape in SHAPES.items()}
    limit = make_input("limit", (), dtype)
    return Graph((*gradients.values(), limit), tuple(build(gradients, limit)))


def clip_norm(gradients, limit):
    clipped, norm = clip_by_global_norm(gradients, limit)
    return [*clipped.values(), norm]


BY_NORM = {dtype: graph_of(clip_norm, dtype) for dtype in ("float32", "float64")}
BY_VALUE = graph_of(lambda gradients, limit: clip_by_value(gradients, limit).values(), "float64")
NORM = graph_of(lambda gradients, limit: [global_norm(gradients)], "float64")


def trees(elements):
    return st.tuples(*(hnp.arrays(np.float64, shape, elements=elements) for shape in SHAPES.values()))


def flat(arrays):
    return np.concatenate([np.ravel(array) for array in arrays])


ordinary = trees(st.floats(-1e6, 1e6))
limits = st.floats(1e-6, 1e6)


@given(tree=ordinary)
@settings(max_examples=60, deadline=None)
def test_the_global_norm_is_the_norm_of_the_concatenated_gradients(tree):
    (norm,) = evaluate(NORM, [*tree, 1.0])
    np.testing.assert_allclose(norm, np.linalg.norm(flat(tree)), rtol=1e-12, atol=1e-150)


@given(tree=ordinary, limit=limits)
@settings(max_examples=100, deadline=None)
def test_clipping_by_norm_bounds_the_norm_and_keeps_the_direction(tree, limit):
    *clipped, norm = evaluate(BY_NORM["float64"], [*tree, limit])
    before, after = flat(tree), flat(clipped)
    np.testing.assert_allclose(norm, np.linalg.norm(before), rtol=1e-12, atol=1e-150)
    if norm <= limit:
        assert (after == before).all()
    else:
        np.testing.assert_allclose(np.linalg.norm(after), limit, rtol=1e-12)
        np.testing.assert_allclose(after * norm, before * limit, rtol=1e-12, atol=1e-300)


@given(tree=ordinary, limit=limits)
@settings(max_examples=60, deadline=None)
def test_clipping_by_norm_twice_is_clipping_once(tree, limit):
    *once, _ = evaluate(BY_NORM["float64"], [*tree, limit])
    *twice, _ = evaluate(BY_NORM["float64"], [*once, limit])
    np.testing.assert_allclose(flat(twice), flat(once), rtol=1e-14)


@pytest.mark.parametrize("dtype", sorted(BY_NORM))
def test_zero_gradients_stay_zero(dtype):
    zeros = [np.zeros(shape) for shape in SHAPES.values()]
    for limit in (0.0, 1.0, math.inf):
        assert all((array == 0).all() for array in evaluate(BY_NORM[dtype], [*zeros, limit]))


@pytest.mark.parametrize("dtype", sorted(BY_NORM))
def test_an_infinite_limit_does_not_clip_and_a_limit_of_zero_stops(dtype):
    ones = [np.ones(shape) for shape in SHAPES.values()]
    *free, _ = evaluate(BY_NORM[dtype], [*ones, math.inf])
    *stopped, _ = evaluate(BY_NORM[dtype], [*ones, 0.0])
    assert (flat(free) == 1).all()
    assert (flat(stopped) == 0).all()


@given(tree=ordinary, position=st.integers(0, 9), bad=st.sampled_from([math.nan, math.inf, -math.inf]))
@settings(max_examples=60, deadline=None)
def test_one_nan_or_infinity_makes_every_gradient_not_finite(tree, position, bad):
    """With a NaN or an infinity among the gradients, no clipped gradient is finite, not even zero."""
    row = flat(tree)
    row[position] = bad
    cuts = np.cumsum([math.prod(shape) for shape in SHAPES.values()])[:-1]
    damaged = [part.reshape(shape) for part, shape in zip(np.split(row, cuts), SHAPES.values(), strict=True)]
    *clipped, norm = evaluate(BY_NORM["float64"], [*damaged, 1.0])
    assert not np.isfinite(norm)
    assert not np.isfinite(flat(clipped)).any()


def test_a_norm_that_overflows_does_not_become_a_step_of_zero():
    """The elements are finite in float32 but their squares are not: limit / infinity would be 0."""
    large = [np.full(shape, 1e20) for shape in SHAPES.values()]
    *clipped, norm = evaluate(BY_NORM["float32"], [*large, 1.0])
    assert norm == math.inf
    assert (flat(clipped) == math.inf).all()


@given(tree=trees(st.floats(allow_nan=True, allow_infinity=True)), limit=limits)
@settings(max_examples=60, deadline=None)
def test_clipping_by_value_matches_numpy(tree, limit):
    clipped = evaluate(BY_VALUE, [*tree, limit])
    np.testing.assert_array_equal(flat(clipped), np.clip(flat(tree), -limit, limit))


def test_no_gradients_have_no_norm():
    with pytest.raises(GraphError, match="no gradients"):
        global_norm({})


def transformation_graph(transformation, dtype="float64"):
    """A gradient transformation as a graph of the gradients, then its limits in order."""
    gradients = {name: make_input(name, shape, dtype) for name, shape in SHAPES.items()}
    hyper = {name: make_input(name, (), dtype) for name in transformation.hyperparameters()}
    return Graph(
        (*gradients.values(), *hyper.values()), tuple(transformation.apply(gradients, hyper).values())
    )


def test_no_transformation_builds_no_nodes():
    graph = transformation_graph(GradientTransformation())
    assert graph.inputs == graph.outputs
    assert GradientTransformation().hyperparameters() == {}


def test_the_limits_are_run_time_inputs():
    ones = [np.ones(shape) for shape in SHAPES.values()]
    by_norm, by_value = (
        transformation_graph(GradientTransformation(clip_norm=1)),
        transformation_graph(GradientTransformation(clip_value=2)),
    )
    assert GradientTransformation(clip_norm=1, clip_value=2).hyperparameters() == {
        "clip_norm": 1.0,
        "clip_value": 2.0,
    }
    for limit in (0.25, 0.5):
        assert np.linalg.norm(flat(evaluate(by_norm, [*ones, limit]))) == pytest.approx(limit)
        assert (flat(evaluate(by_value, [*ones, limit])) == limit).all()


@given(tree=ordinary, norm=limits, value=limits)
@settings(max_examples=60, deadline=None)
def test_both_bounds_hold_together(tree, norm, value):
    after = flat(evaluate(transformation_graph(GradientTransformation(norm, value)), [*tree, norm, value]))
    assert np.linalg.norm(after) <= norm * (1 + 1e-12)
    assert np.abs(after).max() <= value


def test_elements_are_clipped_before_the_norm():
    spike = [np.ones((2, 3)), np.array([1.0, 1.0, 1e6]), np.array(1.0)]
    after = flat(
        evaluate(
            transformation_graph(GradientTransformation(clip_norm=1, clip_value=1)),
            [*spike, math.sqrt(10) / 2, 1.0],
        )
    )
    np.testing.assert_allclose(after, 0.5, rtol=1e-14)


def test_the_printed_headings():
    sections = {
        node.scope.section
        for node in transformation_graph(GradientTransformation(1, 1)).nodes()
        if node.op.name != "input"
    }
    layers = {
        node.scope.layer
        for node in transformation_graph(GradientTransformation(1, 1)).nodes()
        if node.op.name != "input"
    }
    assert sections == {"update"}
    assert layers == {"clip by global norm", "clip by value"}


@pytest.mark.parametrize("field", ["clip_norm", "clip_value"])
@pytest.mark.parametrize("value", [0, -1.0, math.nan, math.inf, True, "1"])
def test_invalid_limits_are_refused(field, value):
    with pytest.raises(InputError, match=f"^{field} must be a number above 0, or None, not ") as caught:
        GradientTransformation(**{field: value})
    assert "\n" not in str(caught.value)
