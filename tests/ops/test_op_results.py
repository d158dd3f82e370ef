"""The results of every op: against its shape rule, and on every backend."""

from __future__ import annotations

import numpy as np
import pytest

from backends.runners import RUNNERS, assert_agree
from glassgrad.autodiff.sweeps import gradient
from glassgrad.backends.reference import evaluate
from glassgrad.common.errors import GraphError
from glassgrad.graph.node import DType, Graph
from glassgrad.graph.verify import verify
from glassgrad.ops.op import TABLE, Op, make_input
from glassgrad.ops.structure import convert
from ops.cases import CASES, DIFFERENTIABLE, SINGLE_OUTPUTS, Case
from ops.differences import weighted_sum
from ops.refusals import REFUSALS, Refusal

COMPARED = [name for name in RUNNERS if name != "reference"]
# Floats that float32 represents exactly, with their conversions to int32, uint32 and bool.
CONVERTED: tuple[tuple[float, int, int, bool], ...] = (
    (np.nan, 0, 0, True),
    (0.0, 0, 0, False),
    (-0.0, 0, 0, False),
    (-0.75, 0, 0, True),
    (1.75, 1, 1, True),
    (-1.75, -1, 0, True),
    (2.0**31 - 128, 2**31 - 128, 2**31 - 128, True),
    (2.0**31, 2**31 - 1, 2**31, True),
    (-(2.0**31), -(2**31), 0, True),
    (2.0**32 - 256, 2**31 - 1, 2**32 - 256, True),
    (2.0**32, 2**31 - 1, 2**32 - 1, True),
    (-(2.0**32), -(2**31), 0, True),
    (np.inf, 2**31 - 1, 2**32 - 1, True),
    (-np.inf, -(2**31), 0, True),
)
every_dtype = pytest.mark.parametrize(
    ("case", "dtype"), [(case, dtype) for case in CASES for dtype in case.dtypes], ids=str
)


@every_dtype
def test_the_shape_rule_agrees_with_the_reference(case: Case, dtype: DType) -> None:
    graph, arrays = verify(case.graph(dtype)), case.arrays(dtype)
    applied = [node for node in graph.nodes() if node.op.name == case.op]
    assert applied, f"the case does not use {case.op}"
    for node in applied:
        if node.regions:  # the reference of such an op needs its regions, so the interpreter runs the node
            results = evaluate(Graph(graph.inputs, node.outputs), arrays)
        else:
            operands = evaluate(Graph(graph.inputs, node.inputs), arrays) if node.inputs else []
            assert isinstance(node.op, Op)
            raw = node.op.reference(*operands, **node.attributes)
            results = list(raw) if isinstance(raw, tuple) else [raw]
        assert [np.shape(item) for item in results] == [item.shape for item in node.types]
        assert [np.asarray(item).dtype for item in results] == [item.dtype for item in node.types]


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
def test_the_shape_rule_rejects_invalid_types_and_names_op_and_types(refusal: Refusal) -> None:
    inputs = [make_input(f"x{i}", item.shape, item.dtype) for i, item in enumerate(refusal.types)]
    with pytest.raises(GraphError) as caught:
        TABLE[refusal.op].apply(inputs, refusal.attributes)
    message = str(caught.value)
    assert message.startswith(refusal.op)
    assert "\n" not in message
    assert all(str(item) in message for item in refusal.types)


@every_dtype
@pytest.mark.parametrize("backend", COMPARED)
def test_every_backend_agrees_with_the_reference(case: Case, dtype: DType, backend: str) -> None:
    graph, arrays = case.graph(dtype), case.arrays(dtype)
    alone = all(node.op.elementwise for node in graph.nodes() if node.inputs and node.op.name != "broadcast")
    assert_agree(RUNNERS[backend](graph, arrays), evaluate(graph, arrays), case.terms, elementwise=alone)


@pytest.mark.parametrize(("case", "dtype", "output"), SINGLE_OUTPUTS, ids=str)
@pytest.mark.parametrize("backend", RUNNERS)
def test_an_output_does_not_depend_on_whether_the_others_are_used(
    case: Case, dtype: DType, output: int, backend: str
) -> None:
    arrays = case.arrays(dtype)
    expected = evaluate(case.graph(dtype), arrays)[output]
    actual = RUNNERS[backend](case.single_output_graphs(dtype)[output], arrays)
    assert_agree(actual, [expected], case.terms)


@pytest.mark.parametrize("source", ["float32", "float64"])
@pytest.mark.parametrize("backend", RUNNERS)
def test_a_float_out_of_range_converts_to_the_nearest_integer_and_nan_to_zero(
    backend: str, source: DType
) -> None:
    x = make_input("x", (len(CONVERTED),), source)
    graph = Graph((x,), tuple(convert(x, target) for target in ("int32", "uint32", "bool")))
    numbers, *expected = zip(*CONVERTED, strict=True)
    actual = RUNNERS[backend](graph, [numbers])
    assert [tuple(array.tolist()) for array in actual] == expected


@pytest.mark.parametrize("case", DIFFERENTIABLE, ids=str)
@pytest.mark.parametrize("backend", COMPARED)
def test_every_backend_agrees_on_the_gradient(case: Case, backend: str) -> None:
    graph, arrays = case.graph("float64"), case.arrays("float64")
    wrt = [value for value in graph.inputs if value.type.is_float]
    derived = Graph(graph.inputs, tuple(gradient(weighted_sum(graph.outputs), wrt)))
    assert_agree(RUNNERS[backend](derived, arrays), evaluate(derived, arrays), case.terms)
