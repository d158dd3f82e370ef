"""The arena: buffers alive at the same time do not overlap, and its size is bounded."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from backends.nets import NETS, feed, program
from backends.rounding import same_bits
from glassgrad.backends.native.backend import NativeBackend, NativeExecutable, _Arena
from glassgrad.backends.native.driver.generate import schedule_program
from glassgrad.backends.native.plan.fusion import look_through, operand
from glassgrad.backends.native.plan.items import Chain, Copy, Item, Loop, Schedule, Spread
from glassgrad.backends.native.plan.memory import Buffer, memory_of
from glassgrad.backends.native.runtime.machine import host
from glassgrad.graph.node import Value
from glassgrad.program import Program

BYTES = {"float32": 4, "float64": 8, "int32": 4, "uint32": 4, "bool": 1}
VECTOR = 64  # room behind a buffer, for a vector that begins in its last element


def size_of(value: Value) -> int:
    return value.type.size * BYTES[value.dtype]


def lives(schedule: Schedule) -> dict[Buffer, tuple[int, int]]:
    """From when to when each buffer has to keep its content, worked out again from the items alone.

    A kernel touches what its nodes read from elsewhere and what it leaves; loops, chains and spreads hold
    all that they touch.
    Inputs are there before the first item, outputs until after the last.
    """
    found: dict[Buffer, tuple[int, int]] = {}
    position = 0

    def touch(buffer: Buffer, start: int, end: int) -> None:
        before = found.get(buffer, (start, end))
        found[buffer] = (min(before[0], start), max(before[1], end))

    def buffers_of(item: Item) -> set[Buffer]:
        if isinstance(item, Copy):
            return {item.target, item.source}
        assert not isinstance(item, Loop | Chain | Spread)
        own = {value for node in item.group.nodes for value in node.outputs}
        read: set[Value] = set()
        for node in item.group.nodes:
            for value in node.inputs:
                if node.op.name == "matmul":
                    read.add(memory_of(operand(value)[0]))
                elif look_through(value).number is None:
                    read.add(memory_of(look_through(value).value))
        return {schedule.buffers[value] for value in {*read, *item.outputs} - (own - set(item.outputs))}

    def walk(items: Sequence[Item]) -> set[Buffer]:
        nonlocal position
        touched: set[Buffer] = set()
        for item in items:
            position += 1
            if isinstance(item, Loop | Chain | Spread):
                start = position
                inside = walk(item.items)
                for buffer in inside:
                    touch(buffer, start, position)
                touched |= inside
            else:
                for buffer in buffers_of(item):
                    touch(buffer, position, position)
                    touched.add(buffer)
        return touched

    for value in schedule.graph.inputs:
        touch(schedule.buffers[value], 0, 0)
    walk([*schedule.items, *schedule.replacements])
    for buffer in schedule.outputs:
        touch(buffer, position, position)
    return found


def scheduled(name: str) -> tuple[Program, Schedule]:
    given = program(name)
    return given, schedule_program(given, host())


@pytest.mark.parametrize("name", NETS)
def test_buffers_alive_at_the_same_time_do_not_overlap(name: str) -> None:
    _, schedule = scheduled(name)
    found = lives(schedule)
    lasting = [buffer for buffer in schedule.buffers.values() if buffer.lasting]
    lasting += [schedule.scratch] if schedule.scratch is not None else []
    end = max(last for _, last in found.values())
    spans = dict.fromkeys(lasting, (0, end)) | {b: s for b, s in found.items() if not b.lasting}
    listed = sorted(spans, key=lambda buffer: buffer.offset)
    assert all(buffer.offset >= 0 and buffer.offset % 64 == 0 for buffer in listed)
    for i, low in enumerate(listed):
        assert low.offset + low.size + VECTOR <= schedule.size
        for high in listed[i + 1 :]:
            if high.offset >= low.offset + low.size + VECTOR:
                break
            apart = spans[low][1] < spans[high][0] or spans[high][1] < spans[low][0]
            assert apart, f"{low} and {high} share memory while both are needed"


@pytest.mark.parametrize("name", NETS)
def test_the_arena_is_bounded(name: str) -> None:
    """arena <= parameters + state + gradients + 2 x the largest set of activations alive at once.

    Counted on the right: parameters and state as the program declares them; gradients, one number per updated
    parameter; activations, what the forward pass leaves in memory for anybody (the batch itself included), as
    large as it ever is at one moment by the lives above. Everything else is on the left only: gradients of
    activations, panels of packed products, constants, hyperparameters, alignment, and gaps.
    """
    given, schedule = scheduled(name)
    made = NativeBackend(cached=False).compile(given)
    assert isinstance(made, NativeExecutable)
    arena = made.code.arena
    assert arena == schedule.size
    parameters = sum(size_of(item.value) for item in given.params)
    state = sum(size_of(item.value) for item in given.state)
    gradients = sum(size_of(item.value) for item in given.params if item.name in given.updates)
    found = lives(schedule)
    forward = {
        buffer
        for value, buffer in schedule.buffers.items()
        if not buffer.lasting and value.node.scope.section == "forward" and buffer in found
    }
    end = max(last for _, last in found.values())
    activations = max(
        sum(buffer.size for buffer in forward if found[buffer][0] <= moment <= found[buffer][1])
        for moment in range(end + 1)
    )
    bound = parameters + state + gradients + 2 * activations
    assert arena <= bound, f"the arena is {arena - bound} bytes ({arena / bound:.2f} times) too large"


def test_fused_values_are_not_in_memory() -> None:
    """Of a dense layer's forward pass only what the backward pass reads: not the product, not the sum."""
    _, schedule = scheduled("dense")
    hidden = [
        value
        for value in schedule.buffers
        if value.shape == (128, 256) and value.node.scope.section == "forward" and value.dtype == "float32"
    ]
    assert len(hidden) == 2  # the outputs of the two hidden layers
    first = next(iter(schedule.kernels()))
    assert len(first.group.nodes) > len(first.outputs)


def test_every_weight_is_replaced_in_place() -> None:
    _, schedule = scheduled("dense")
    assert schedule.replacements == []


@pytest.mark.parametrize("name", NETS)
def test_the_initial_content_of_the_arena_does_not_matter(name: str) -> None:
    """Nothing is read before it is written, and no lane past the end of a row counts."""
    given = program(name, batch=13)
    executable = NativeBackend(threads=1, cached=False).compile(given)
    assert isinstance(executable, NativeExecutable)
    results = []
    for byte in (0x00, 0xFF, 0x7F):  # zeros, NaN, huge numbers
        arena = _Arena(given, executable.code)
        arena._memory[:] = byte
        for offset, content in executable.code.constants:
            arena._memory[offset : offset + content.nbytes] = np.frombuffer(content.tobytes(), np.uint8)
        executable._arenas = [arena]
        results.append(executable.run(feed(name, given)))
    assert same_bits(results[0], results[1]) == []
    assert same_bits(results[0], results[2]) == []
