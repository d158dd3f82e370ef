"""Code for every processor: all cases of the op table, run where this machine can run them."""

from __future__ import annotations

import numpy as np
import pytest

from backends.nets import feed, program
from backends.runners import assert_agree
from glassgrad.backends.native.backend import NativeBackend, run_graph
from glassgrad.backends.native.driver.generate import generate
from glassgrad.backends.native.driver.inspect import inspect
from glassgrad.backends.native.runtime.machine import host, machine
from glassgrad.backends.reference import evaluate
from glassgrad.graph.node import DType, Graph
from glassgrad.ops.op import TABLE
from glassgrad.program import Input, Output, Program
from ops.cases import CASES, EXEMPT, Case

WIDTHS = {"avx512": 64, "avx2": 32, "sse2": 16}
ITEMS: list[tuple[Case, DType, Graph]] = [
    (case, dtype, case.graph(dtype)) for case in CASES for dtype in case.dtypes
] + [
    (case, dtype, graph)
    for case in CASES
    for dtype in case.dtypes
    for graph in case.single_output_graphs(dtype)
]
ALL = Graph(
    tuple(value for _, _, graph in ITEMS for value in graph.inputs),
    tuple(value for _, _, graph in ITEMS for value in graph.outputs),
)


def as_program() -> Program:
    return Program(
        "every op",
        1,
        tuple(Input(f"x{i}", "state", value) for i, value in enumerate(ALL.inputs)),
        {},
        tuple(Output(f"y{i}", value) for i, value in enumerate(ALL.outputs)),
    )


@pytest.mark.parametrize("name", WIDTHS)
def test_every_op_runs_on_every_width_of_vectors(name: str) -> None:
    if host().vector_bytes < WIDTHS[name]:
        pytest.skip(f"this processor has no {name}")
    found = iter(run_graph(ALL, [a for case, dtype, _ in ITEMS for a in case.arrays(dtype)], machine(name)))
    used, compared = set(), 0
    for case, dtype, graph in ITEMS:
        got = [next(found) for _ in graph.outputs]
        assert_agree(got, evaluate(graph, case.arrays(dtype)), max(4, case.terms))
        used.add(case.op)
        compared += len(got)
    assert used == set(TABLE) - set(EXEMPT)
    assert compared == len(ALL.outputs) > 300


def test_every_op_compiles_for_aarch64() -> None:
    """Compiled, not run."""
    (code,) = generate([as_program()], machine("aarch64"), 1)
    assert all(item[:4] == b"\x7fELF" and item[18:20] == b"\xb7\x00" for item in code.objects)


@pytest.mark.parametrize("name", ["dense", "conv", "pools", "recurrent", "tokens"])
def test_whole_networks_compile_for_aarch64(name: str) -> None:
    (code,) = generate([program(name, batch=16)], machine("aarch64"), 1)
    assert all(item[18:20] == b"\xb7\x00" for item in code.objects)


def test_the_assembly_has_the_instructions_of_its_processor() -> None:
    text = inspect(program("dense", batch=16), "assembly", machine("sse2"))
    assert "xmm" in text
    assert "ymm" not in text
    assert "zmm" not in text
    assert "zmm" in inspect(program("dense", batch=16), "assembly", machine("avx512"))
    assert "ymm" in inspect(program("dense", batch=16), "assembly", machine("avx2"))
    assert "fmla\tv" in inspect(program("dense", batch=16), "assembly", machine("aarch64"))


def test_the_widths_agree_on_a_network() -> None:
    """Within the tolerance of any two backends: sums are folded in other trees, so bits may differ."""
    given = program("conv", "float64", batch=8)
    losses = [
        NativeBackend(machine(name), cached=False).compile(given).run(feed("conv", given)).outputs["loss"]
        for name, width in WIDTHS.items()
        if host().vector_bytes >= width
    ]
    for other in losses[1:]:
        np.testing.assert_allclose(other, losses[0], rtol=1e-11)
