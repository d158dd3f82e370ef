"""Products of an operand that is mostly one number, and data whose rows are read in place."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from glassgrad.backends.base import Feed, Result
from glassgrad.backends.native.backend import NativeBackend, run_graph
from glassgrad.backends.native.driver.generate import schedule_program
from glassgrad.backends.native.driver.inspect import inspect
from glassgrad.backends.native.plan import tiling
from glassgrad.backends.native.runtime.machine import host, machine
from glassgrad.backends.reference import ReferenceBackend, evaluate
from glassgrad.common.errors import GraphError
from glassgrad.graph.node import DType, Graph
from glassgrad.losses.table import loss
from glassgrad.nn.layers.activation import ActivationLayer
from glassgrad.nn.layers.dense import Dense
from glassgrad.nn.layers.dropout import Dropout
from glassgrad.nn.layers.reshaping import Reshape
from glassgrad.nn.network import Layer, Sequential
from glassgrad.ops.op import ZERO, make_input
from glassgrad.ops.structure import reduce_sum, transpose
from glassgrad.optim.optimizers import optimizer
from glassgrad.program import Input, Output, Program
from glassgrad.training.background import hyperparameter, kind
from glassgrad.training.programs import FEATURES, TARGETS, training_program
from glassgrad.training.start import initial_weights

MACHINES = [
    name
    for name, least in (("host", 0), ("avx2", 32), ("sse2", 16))
    if host().vector_bytes >= least and machine(name).triple == host().triple
]
SHAPES = [(1, 64, 5), (3, 65, 64), (4, 128, 17), (7, 200, 130), (16, 63, 128), (33, 70, 70), (65, 130, 66)]


def operands(
    m: int, k: int, n: int, dtype: str, background: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(m, k))
    a[rng.random((m, k)) < 0.75] = background
    return a.astype(dtype), rng.normal(size=(k, n)).astype(dtype)


@pytest.mark.parametrize("target", MACHINES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("background", [0.0, -0.4240269362926483])
@pytest.mark.parametrize("turned", [False, True])
def test_a_product_with_a_background_agrees_with_the_plain_product(
    turned: bool, background: float, dtype: DType, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiling, "SKIPPING", 0)
    for seed, (m, k, n) in enumerate(SHAPES):
        a, b = operands(m, k, n, dtype, background, seed)
        a = np.ascontiguousarray(a.T) if turned else a
        x, w = make_input("x", a.shape, dtype, "c" if background else ZERO), make_input("w", b.shape, dtype)
        graph = Graph((x, w, make_input("c", (), dtype)), ((transpose(x, (1, 0)) if turned else x) @ w,))
        (found,) = run_graph(graph, [a, b, np.array(background)], machine(target))
        wanted = (a.T if turned else a).astype(np.float64) @ b.astype(np.float64)
        # A sum of k products, and of k elements of b, each rounded once and added in some order.
        terms = np.abs(a.T if turned else a).astype(float) @ np.abs(b) + abs(background) * np.abs(b).sum(0)
        assert (np.abs(found - wanted) <= 2 * k * np.finfo(dtype).eps * terms).all()


@pytest.mark.parametrize("turned", [False, True])
def test_values_other_than_the_background_always_count(turned: bool) -> None:
    m, k, n = 6, 96, 128
    a, b = operands(m, k, n, "float32", 0.0, 0)
    a[0] = -0.0
    a[1, 5], a[2, 6], a[3, 95] = np.nan, np.inf, 1e-42
    a[4] = np.arange(k)  # nothing to skip
    given = np.ascontiguousarray(a.T) if turned else a
    x, w = make_input("x", given.shape, "float32", ZERO), make_input("w", b.shape, "float32")
    graph = Graph((x, w), ((transpose(x, (1, 0)) if turned else x) @ w,))
    (found,) = run_graph(graph, [given, b])
    (wanted,) = evaluate(graph, [given, b])
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-3)
    assert not found[0].any()
    assert np.isnan(found[1]).all()
    assert np.isinf(found[2]).all()


def task(
    layers: Sequence[Layer], inputs: tuple[int, ...], batch: int, background: float | None, **options: object
) -> tuple[Program, Feed]:
    network, made = Sequential(*layers), optimizer("adam(0.01)")
    program = training_program(
        network,
        inputs,
        loss("cross_entropy"),
        made,
        batch=batch,
        targets=None,
        background=kind(background),
        **options,
    )  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    rows = 3 * batch + 5
    features = rng.normal(size=(rows, *inputs))
    features[rng.random(features.shape) < 0.8] = background or 0.0
    dtype = program.data[0].type.dtype
    feed = Feed(
        {FEATURES: features.astype(dtype), TARGETS: rng.integers(0, 3, rows).astype(np.int32)},
        rng.permutation(rows).astype(np.int32),
        initial_weights(network, inputs, seed=0, dtype=dtype),
        {item.name: np.zeros(item.type.shape, item.type.dtype) for item in program.state},
        made.hyperparameters() | hyperparameter(background),
    )
    return program, feed


def everything(result: Result) -> dict[str, np.ndarray]:
    return result.params | result.state | result.outputs


def assert_same_bits(found: Result, wanted: Result) -> None:
    for name, array in everything(wanted).items():
        assert everything(found)[name].tobytes() == array.tobytes(), name


DENSE = [Dense(128, "relu"), Dense(3)]


@pytest.mark.parametrize("background", [None, 0.0, 0.25])
@pytest.mark.parametrize("batch", [1, 6, 64])
def test_training_agrees_with_the_reference(batch: int, background: float | None) -> None:
    program, feed = task(DENSE, (150,), batch, background, dtype="float64")
    shown = inspect(program, "schedule")
    assert shown.count("passes over") == (
        0 if background is None else 2
    )  # forward, and the gradient of the weights
    assert "its rows are read where they lie" in shown
    found = NativeBackend(threads=2, cached=False).compile(program).run(feed)
    wanted = ReferenceBackend().compile(program).run(feed)
    for name, array in everything(wanted).items():
        np.testing.assert_allclose(everything(found)[name], array, rtol=1e-7, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("background", [None, 0.0, 0.25])
def test_threads_do_not_change_the_bits(background: float | None) -> None:
    program, feed = task([Dense(256, "tanh"), Dense(3)], (400,), 64, background)
    runs = [NativeBackend(threads=threads, cached=False).compile(program).run(feed) for threads in (1, 2, 3)]
    assert_same_bits(runs[1], runs[0])
    assert_same_bits(runs[2], runs[0])


@pytest.mark.parametrize("background", [None, 0.0])
def test_inspecting_changes_no_bit(background: float | None) -> None:
    """Lenses need the batch itself; it is copied only for the probed steps."""
    plain, feed = task(DENSE, (150,), 16, background)
    watched, _ = task(DENSE, (150,), 16, background, watch=True)
    assert schedule_program(watched, host()).tables
    steps = -(-len(feed.order) // 16)
    probed = np.arange(steps) % 2 == 1
    backend = NativeBackend(threads=2, cached=False)
    found = backend.compile(watched).run(Feed(**{**vars(feed), "probed": probed}))
    assert_same_bits(found, backend.compile(plain).run(feed))
    wanted = ReferenceBackend().compile(watched).run(Feed(**{**vars(feed), "probed": probed}))
    for name, array in wanted.probes.items():
        np.testing.assert_allclose(found.probes[name], array, rtol=2e-3, atol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    ("layers", "inputs", "stay"),
    [
        (DENSE, (150,), True),
        ([Reshape((150,)), *DENSE], (10, 15), True),
        ([ActivationLayer("relu"), *DENSE], (150,), False),  # something else reads the batch
        ([Dropout(0.5), *DENSE], (150,), False),
        ([Dense(3)], (1024,), True),
        (
            [Dense(64), Dense(3)],
            (1024,),
            False,
        ),  # its rows lie a multiple of 4096 bytes apart: copied into panels
    ],
)
def test_rows_that_only_products_read_are_read_in_place(
    layers: Sequence[Layer], inputs: tuple[int, ...], stay: bool
) -> None:
    program, feed = task(layers, inputs, 128, None)
    assert bool(schedule_program(program, host()).tables) == stay
    found = NativeBackend(threads=2, cached=False).compile(program).run(feed)
    wanted = ReferenceBackend().compile(program).run(feed)
    for name, array in wanted.outputs.items():
        np.testing.assert_allclose(found.outputs[name], array, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("inputs", [63, 64, 100, 150])
@pytest.mark.parametrize("background", [None, 0.0])
def test_nothing_past_the_last_row_is_read(inputs: int, background: float | None) -> None:
    """The data ends at the end of a page; the next page must not be touched."""
    program, feed = task(DENSE, (inputs,), 8, background)
    features = feed.data[FEATURES]
    data = {**feed.data, FEATURES: at_the_end_of_a_page(features)}
    backend = NativeBackend(threads=1, cached=False)
    executable = backend.compile(program)
    assert_same_bits(executable.run(Feed(**{**vars(feed), "data": data})), executable.run(feed))


def at_the_end_of_a_page(array: np.ndarray) -> np.ndarray:
    """A copy that is followed by a page without read access."""
    import ctypes
    import mmap

    size = -(-array.nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
    memory = mmap.mmap(-1, size + mmap.PAGESIZE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    library = ctypes.CDLL(None)
    if not hasattr(library, "mprotect"):
        pytest.skip("this system protects pages in another way")
    assert library.mprotect(ctypes.c_void_p(start + size), ctypes.c_size_t(mmap.PAGESIZE), 0) == 0
    copy = np.frombuffer(memory, array.dtype, array.size, size - array.nbytes).reshape(array.shape)
    copy[...] = array
    return copy


def test_a_batched_product_uses_no_background() -> None:
    """Its code is that of the plain product, and so must be its scratch memory."""
    rng = np.random.default_rng(0)
    a = (rng.normal(size=(2, 128, 128)) * (rng.random((2, 128, 128)) < 0.1)).astype(np.float32)
    b = rng.normal(size=(2, 128, 1024)).astype(np.float32)
    x, w = make_input("x", a.shape, "float32", ZERO), make_input("w", b.shape, "float32")
    (found,) = run_graph(Graph((x, w), (x @ w,)), [a, b])
    np.testing.assert_allclose(found, a @ b, rtol=1e-4, atol=1e-4)


def test_the_background_is_a_scalar_input() -> None:
    x = make_input("x", (4, 64), "float32", "c")
    for other in ((), (make_input("c", (2,), "float32"),), (make_input("c", (), "float64"),)):
        inputs = Input("x", "data", x), *(Input("c", "state", value) for value in other)
        with pytest.raises(GraphError, match="the background of 'x' is 'c'"):
            Program("p", 4, inputs, {}, (Output("y", reduce_sum(x)),))


def test_an_infinite_gradient_reaches_the_weights_of_all_inputs() -> None:
    """Zero times Inf is NaN in the plain product, and must be NaN if zeros are skipped."""
    a, _ = operands(9, 100, 128, "float32", 0.0, 1)
    a[:, 7] = 0.0
    gradient = np.random.default_rng(2).normal(size=(9, 128)).astype(np.float32)
    gradient[4, 3], gradient[5, 64] = np.inf, np.nan
    x, g = make_input("x", a.shape, "float32", ZERO), make_input("g", gradient.shape, "float32")
    (found,) = run_graph(Graph((x, g), (transpose(x, (1, 0)) @ g,)), [a, gradient])
    assert np.isnan(found[7, [3, 64]]).all()
    finite = np.delete(np.arange(128), [3, 64])
    np.testing.assert_allclose(found[:, finite], a.T @ gradient[:, finite], rtol=1e-4, atol=1e-5)
