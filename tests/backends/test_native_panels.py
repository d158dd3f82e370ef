"""Weights in panels: the choice of weights, and that results do not depend on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from backends.test_native_sparse import assert_same_bits, everything, task
from glassgrad.backends.base import Feed, Result
from glassgrad.backends.native.backend import NativeBackend
from glassgrad.backends.native.driver.generate import schedule_program
from glassgrad.backends.native.driver.inspect import inspect
from glassgrad.backends.native.plan import schedule
from glassgrad.backends.native.runtime.machine import host, machine
from glassgrad.backends.reference import ReferenceBackend
from glassgrad.nn.layers.dense import Dense
from glassgrad.nn.network import Layer
from glassgrad.program import Output, Program

MACHINES = [
    name
    for name, least in (("host", 0), ("avx2", 32), ("sse2", 16))
    if host().vector_bytes >= least and machine(name).triple == host().triple
]
WIDE = [Dense(128, "relu"), Dense(3)]


def panels(program: Program, target: str = "host") -> dict[str, int]:
    """Columns of a panel, by the name of the input that lies in panels."""
    planned = schedule_program(program, machine(target))
    buffers = [planned.buffers[value] for value in planned.graph.inputs]
    return {
        item.name: buffer.panel for item, buffer in zip(program.inputs, buffers, strict=True) if buffer.panel
    }


def run(program: Program, feed: Feed, threads: int = 2, target: str = "host") -> Result:
    return NativeBackend(machine(target), threads, cached=False).compile(program).run(feed)


@pytest.mark.parametrize("target", MACHINES)
@pytest.mark.parametrize("background", [None, 0.0])
def test_first_weights_and_their_moments_lie_in_panels(target: str, background: float | None) -> None:
    program, _ = task(WIDE, (150,), 64, background)
    found = panels(program, target)
    assert set(found) == {f"{slot}dense_1.weights" for slot in ("", "first_moment/", "second_moment/")}
    assert len(set(found.values())) == 1
    assert 128 % found["dense_1.weights"] == 0
    if target == "host":
        assert inspect(program, "schedule").count("in panels of") == 3


@pytest.mark.parametrize(
    ("layers", "inputs", "batch", "options", "why"),
    [
        (WIDE, 150, 8, {}, "too little to do for more than one thread"),
        ([Dense(100, "relu"), Dense(3)], 150, 64, {}, "panels would not be equally wide"),
        ([Dense(16, "relu"), Dense(3)], 1500, 64, {}, "one panel would be all of it"),
        ([Dense(1024, "relu"), Dense(3)], 150, 64, {}, "rows 4096 bytes apart are copied into panels anyway"),
        ([Dense(128, "relu"), Dense(3)], 100, 512, {}, "a block of rows goes through several products"),
    ],
)
def test_other_weights_are_row_major(
    layers: Sequence[Layer], inputs: int, batch: int, options: dict[str, Any], why: str
) -> None:
    program, _ = task(layers, (inputs,), batch, None, **options)
    assert "dense_1.weights" not in panels(program), why


def test_weights_that_are_also_read_transposed_are_row_major() -> None:
    program, _ = task([Dense(128, "relu"), Dense(128, "relu"), Dense(3)], (150,), 64, None)
    found = panels(program)
    assert "dense_1.weights" in found
    assert "dense_2.weights" not in found


def test_weights_in_panels_are_returned_row_major() -> None:
    program, feed = task(WIDE, (150,), 64, None)
    shown = Output("weights", program.updates["dense_1.weights"])
    told = Program(program.name, program.batch, program.inputs, program.updates, (*program.outputs, shown))
    assert "dense_1.weights" in panels(told)
    found, wanted = run(told, feed), run(program, feed)
    assert found.outputs["weights"][-1].tobytes() == wanted.params["dense_1.weights"].tobytes()


@pytest.mark.parametrize("target", MACHINES)
@pytest.mark.parametrize("background", [None, 0.0, -0.4240269362926483])
def test_panels_change_no_bit(target: str, background: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    program, feed = task(WIDE, (150,), 64, background)
    assert panels(program, target)
    found = [run(program, feed, threads, target) for threads in (1, 2, 3)]
    monkeypatch.setattr(schedule, "panel_width", lambda *_: 0)
    assert not panels(program, target)
    wanted = run(program, feed, 2, target)
    for result in found:
        assert_same_bits(result, wanted)


@pytest.mark.parametrize("background", [None, 0.0, 0.25])
def test_training_in_panels_agrees_with_the_reference(background: float | None) -> None:
    program, feed = task([Dense(256, "tanh"), Dense(3)], (150,), 64, background, dtype="float64")
    assert panels(program)
    found, wanted = run(program, feed), ReferenceBackend().compile(program).run(feed)
    for name, array in everything(wanted).items():
        np.testing.assert_allclose(everything(found)[name], array, rtol=1e-7, atol=1e-9, err_msg=name)


def test_results_can_be_fed_in_again() -> None:
    program, feed = task(WIDE, (150,), 64, None)
    executable = NativeBackend(threads=2, cached=False).compile(program)
    first = executable.run(feed)
    for item in (*program.params, *program.state):
        array = (first.params | first.state)[item.name]
        assert item.type.fits(array)
        assert array.flags.c_contiguous
        assert array.base is None or array.base.base is None, "it must not keep the arena"
    again = Feed(**{**vars(feed), "params": first.params, "state": first.state})
    kept = {name: array.copy() for name, array in first.params.items()}
    second = executable.run(again)
    assert all(first.params[name].tobytes() == array.tobytes() for name, array in kept.items())
    assert_same_bits(executable.run(again), second)


@pytest.mark.parametrize("background", [None, 0.0])
def test_lenses_see_weights_in_panels(background: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, feed = task(WIDE, (150,), 64, background)
    watched, _ = task(WIDE, (150,), 64, background, watch=True)
    assert panels(watched) == panels(plain) != {}
    steps = -(-len(feed.order) // 64)
    feed = Feed(**{**vars(feed), "probed": np.arange(steps) % 2 == 1})
    found = run(watched, feed)
    assert_same_bits(found, run(plain, feed))
    monkeypatch.setattr(schedule, "panel_width", lambda *_: 0)
    wanted = run(watched, feed)
    assert wanted.probes
    for name, array in wanted.probes.items():
        assert found.probes[name].tobytes() == array.tobytes(), name
