"""Tests of the XLA backend alone: compilation, JAX's global settings, missing JAX."""

from __future__ import annotations

import sys
from dataclasses import replace

import jax
import numpy as np
import pytest

from backends.programs import feed, regression, shortened
from glassgrad.backends import xla
from glassgrad.common.errors import GraphError, InputError
from glassgrad.graph.node import Graph
from glassgrad.ops.loops import scan
from glassgrad.ops.op import NO_GRADIENT, Op, make_input
from glassgrad.program import Input, Output, Program

UNKNOWN = Op("unknown", lambda t, a, r: (t[0],), np.cbrt, NO_GRADIENT)


def test_only_another_number_of_steps_or_rows_compiles_again() -> None:
    executable = xla.XlaBackend().compile(regression())
    assert executable.seconds_compiling == 0
    given = feed()
    executable.run(given)
    once = executable.seconds_compiling
    assert once > 0
    other = replace(
        feed(), seed=1, first_step=9, order=given.order[::-1], hyper={"rate": 0.5, "momentum": 0.1}
    )
    executable.run(replace(other, params={"w": np.ones(3, np.float32), "b": np.ones((), np.float32)}))
    assert executable.seconds_compiling == once
    executable.run(shortened(given, 7))
    assert executable.seconds_compiling > once


def test_the_settings_of_jax_are_left_alone() -> None:
    before = jax.config.jax_enable_x64
    result = xla.XlaBackend().compile(regression("float64")).run(feed("float64"))
    assert result.params["w"].dtype == np.float64
    assert jax.config.jax_enable_x64 == before
    assert jax.numpy.ones(1).dtype == (np.float64 if before else np.float32)


def test_data_that_cannot_change_stays_on_the_device_and_other_data_does_not() -> None:
    executable, given = xla.XlaBackend().compile(regression()), feed()
    assert isinstance(executable, xla.XlaExecutable)
    wanted = executable.run(given)
    assert executable._resident == {}
    fixed = {name: array.copy() for name, array in given.data.items()}
    for array in fixed.values():
        array.setflags(write=False)
    for _ in range(2):
        found = executable.run(replace(given, data=fixed))
        np.testing.assert_array_equal(found.params["w"], wanted.params["w"])
        assert {name: known[0] is fixed[name] for name, known in executable._resident.items()} == {
            "x": True,
            "y": True,
        }
    given.data["x"][:] = 0
    assert executable.run(given).params["w"].tolist() == [0, 0, 0]


@pytest.mark.parametrize("inside", [False, True], ids=["step", "region"])
def test_an_op_without_a_lowering_is_named_when_the_program_is_compiled(inside: bool) -> None:
    x = make_input("x", (4, 3), "float32")
    y = scan(lambda row: [UNKNOWN(row)], [], [x])[1][0] if inside else UNKNOWN(x)
    program = Program("odd", 4, (Input("x", "data", x),), {}, (Output("y", y, per_row=True),))
    with pytest.raises(GraphError, match="xla backend has no lowering for op 'unknown'"):
        xla.XlaBackend().compile(program)
    with pytest.raises(GraphError, match="'unknown'"):
        xla.run_graph(Graph((x,), (y,)), [np.ones((4, 3))])


def test_without_jax_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jax", None)
    xla.lowerings.cache_clear()
    try:
        with pytest.raises(InputError, match=r"needs JAX; install it with: pip install 'glassgrad\[xla\]'"):
            xla.XlaBackend().compile(regression())
    finally:
        xla.lowerings.cache_clear()
