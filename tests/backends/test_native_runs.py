"""Runs of the native backend: threads, chunks, concurrent calls, and refused feeds."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from backends.fuzzing import small_units
from backends.nets import feed, program
from backends.rounding import same_bits
from glassgrad.backends.base import Feed, Result
from glassgrad.backends.native.backend import (
    NativeBackend,
    NativeExecutable,
    default_threads,
    run_graph,
)
from glassgrad.backends.reference import evaluate
from glassgrad.common.errors import GraphError, InputError, shown
from glassgrad.graph.node import DType, Graph
from glassgrad.ops import table as ops
from glassgrad.ops.op import NO_GRADIENT, Op, make_input
from glassgrad.program import Input, Output, Program

LARGE = ["dense", "conv"]


def build(name: str, dtype: DType = "float32") -> NativeExecutable:
    made = NativeBackend(threads=1, cached=False).compile(program(name, dtype))
    assert isinstance(made, NativeExecutable)
    return made


@pytest.fixture(scope="module")
def compiled() -> dict[str, NativeExecutable]:
    return {name: build(name) for name in LARGE}


def on(threads: int, executable: NativeExecutable) -> NativeExecutable:
    """The same code with another number of threads."""
    return NativeExecutable(executable.program, executable.code, threads)


@pytest.mark.parametrize("name", LARGE)
def test_the_bits_do_not_depend_on_the_number_of_threads(
    name: str, compiled: dict[str, NativeExecutable]
) -> None:
    executable = compiled[name]
    assert executable.code.parallel, "no kernel is shared: this test shows nothing"
    given = feed(name, executable.program)
    alone = executable.run(given)
    for threads in (2, 3, 40):
        for _ in range(3):
            assert same_bits(alone, on(threads, executable).run(given)) == []


def test_kernels_in_the_smallest_units_give_the_same_bits_on_any_number_of_threads() -> None:
    with small_units():
        for name in ("recurrent", "pools"):
            executable = build(name, "float64")
            assert executable.code.parallel
            given = feed(name, executable.program, steps=2)
            alone = executable.run(given)
            for threads in (2, 3):
                assert same_bits(alone, on(threads, executable).run(given)) == []


@pytest.mark.parametrize("name", LARGE)
def test_a_run_in_chunks_gives_the_bits_of_one_run(name: str, compiled: dict[str, NativeExecutable]) -> None:
    executable = on(2, compiled[name])
    batch, given = executable.program.batch, feed(name, executable.program, steps=4)
    whole = executable.run(given)
    result, losses = Result(dict(given.params), dict(given.state), {}), []
    for start in range(4):
        part = replace(
            given,
            order=given.order[start * batch : (start + 1) * batch],
            params=result.params,
            state=result.state,
            first_step=start,
        )
        result = executable.run(part)
        losses.append(result.outputs["loss"])
    joined = Result(result.params, result.state, {"loss": np.concatenate(losses)})
    assert same_bits(whole, joined) == []


@pytest.mark.parametrize("name", LARGE)
def test_concurrent_calls_of_one_executable_are_independent(
    name: str, compiled: dict[str, NativeExecutable]
) -> None:
    executable = on(2, compiled[name])
    feeds = [feed(name, executable.program, seed=seed) for seed in range(4)]
    alone = [executable.run(item) for item in feeds]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(2):
            for found, wanted in zip(pool.map(executable.run, feeds), alone, strict=True):
                assert same_bits(wanted, found) == []


def test_python_goes_on_while_a_run_is_under_way() -> None:
    """The data of a run is changed by another thread in the middle of it, and the run sees both values."""
    x = make_input("x", (1,), "float64")
    watched = Program("watch", 1, (Input("x", "data", x),), {}, (Output("seen", ops.reduce_sum(x)),))
    executable = NativeBackend(threads=1, cached=False).compile(watched)
    data = np.zeros(1)
    given = Feed({"x": data}, np.zeros(400_000, np.int32), {}, {}, {})
    over = threading.Event()

    def change() -> None:
        while not over.is_set():
            data[0] += 1

    other = threading.Thread(target=change)
    other.start()
    try:
        # If the GIL were held, no run could ever see more than one value.
        seen = 0
        for _ in range(50):
            seen = len(np.unique(executable.run(given).outputs["seen"]))
            if seen > 1:
                break
    finally:
        over.set()
        other.join()
    assert seen > 1


def unlowered() -> Op:
    return Op("mystery", lambda types, a, r: (types[0],), lambda x: x, NO_GRADIENT, elementwise=True)


def test_an_op_without_a_lowering_is_named() -> None:
    x = make_input("x", (3,), "float32")

    def compiling(value) -> None:
        NativeBackend(cached=False).compile(
            Program("odd", 1, (Input("x", "state", x),), {}, (Output("y", value),))
        )

    with pytest.raises(GraphError, match="native backend has no lowering for op 'mystery'"):
        compiling(unlowered()(x))
    with pytest.raises(GraphError, match="no lowering for op 'mystery'"):  # in the body of a scan as well
        compiling(ops.scan(lambda h: (unlowered()(h),), [x], [], [], length=2)[0][0])


@pytest.mark.parametrize("given", ["0", "-1", "two", "1.5", " ", "²", "1 2", "1" * 5000])
def test_a_wrong_number_of_threads_is_refused_in_one_line(
    given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLASSGRAD_THREADS", given)
    with pytest.raises(InputError, match="GLASSGRAD_THREADS must be a whole number") as caught:
        NativeBackend()
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(f", not {shown(given)}")


def test_the_number_of_threads_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLASSGRAD_THREADS", "7")
    assert NativeBackend().threads == default_threads() == 7
    assert NativeBackend(threads=2).threads == 2
    monkeypatch.setenv("GLASSGRAD_THREADS", "")
    assert 1 <= default_threads() == NativeBackend().threads


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("columns", [1, 3, 16, 17, 37, 150])
def test_nan_spreads_as_in_the_reference(dtype: DType, columns: int) -> None:
    x, y = (make_input(name, (5, columns), dtype) for name in "xy")
    relu = ops.select(x <= 0, 0.0, x)
    outputs = (
        relu,
        ops.maximum(x, y),
        ops.minimum(x, y),
        ops.maximum(x, 0.0),
        ops.minimum(0.5, x),
        ops.maximum(-0.1, ops.minimum(x, 0.1)),
        ops.reduce_max(x),
        ops.reduce_max(x, 0),
        ops.reduce_max(x, 1),
        ops.reduce_min(x, 1),
        ops.argmax(x, 0),
        ops.argmax(x, 1),
        ops.absolute(x),
        ops.sign(x),
        ops.is_finite(x),
        ops.equal(x, x),
        ops.convert(x, "bool"),
        ops.reduce_sum(x, 0),
        ops.reduce_sum(ops.tanh(x), 1),
        ops.exp(x),
        ops.log(x),
        ops.sqrt(x),
    )
    rng = np.random.default_rng(columns)
    arrays = [rng.normal(size=(5, columns)).astype(dtype) for _ in range(2)]
    special = [np.nan, np.inf, -np.inf, 0.0, -0.0]
    for array in arrays:
        where = rng.integers(array.size, size=max(2, array.size // 4))
        array.flat[where] = np.resize(special, len(where))
    graph = Graph((x, y), outputs)
    for got, want, value in zip(run_graph(graph, arrays), evaluate(graph, arrays), outputs, strict=True):
        if want.dtype.kind != "f":
            np.testing.assert_array_equal(got, want, err_msg=repr(value))
            continue
        for test in (np.isnan, np.isposinf, np.isneginf):
            np.testing.assert_array_equal(test(got), test(want), err_msg=repr(value))
        finite = np.isfinite(want)
        np.testing.assert_allclose(
            got[finite], want[finite], rtol=200 * np.finfo(dtype).eps, atol=200 * np.finfo(dtype).eps
        )
