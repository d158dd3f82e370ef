"""Random draws of a layer: each draw has its own random stream, on every backend."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from backends.runners import RUNNERS
from glassgrad.common.errors import GraphError
from glassgrad.graph.node import Graph, Value
from glassgrad.nn.layer import BuildContext, Randomness, Weightless
from glassgrad.nn.layers.dropout import Dropout
from glassgrad.nn.network import Network, Sequential
from glassgrad.ops.loops import scan
from glassgrad.ops.op import constant, make_input
from glassgrad.ops.random import random_mask
from glassgrad.ops.structure import convert, transpose

ROWS, UNITS = 16, 64
SEED = np.array([7, 0], np.uint32)


def inputs() -> tuple[Value, Value, Value]:
    return (
        make_input("seed", (2,), "uint32"),
        make_input("step", (), "uint32"),
        constant(range(ROWS), "uint32"),
    )


def draw(
    build: Callable[[BuildContext], Sequence[Value]],
    backend: str = "reference",
    step: int = 0,
    name: str = "noisy",
) -> list[np.ndarray]:
    """The values that ``build`` draws in a layer with this name."""
    seed, step_input, rows = inputs()
    context = BuildContext(
        name, 11, True, constant(np.ones(ROWS), "bool"), Randomness(seed, step_input, rows)
    )
    return RUNNERS[backend](Graph((seed, step_input), tuple(build(context))), [SEED, np.uint32(step)])


def assert_independent(a: np.ndarray, b: np.ndarray) -> None:
    """For independent samples, the correlation exceeds 4 / sqrt(n) once in 16,000 times."""
    correlation = np.corrcoef(a.ravel().astype(float), b.ravel().astype(float))[0, 1]
    assert abs(correlation) < 4 / np.sqrt(a.size)


def two_masks(context: BuildContext) -> list[Value]:
    return [context.mask((UNITS,), 0.5) for _ in range(2)]


@pytest.mark.parametrize("backend", sorted(RUNNERS))
def test_two_masks_of_one_layer_are_independent(backend: str) -> None:
    first, second = draw(two_masks, backend)
    assert_independent(first, second)
    for actual, expected in zip((first, second), draw(two_masks), strict=True):
        np.testing.assert_array_equal(actual, expected)


def test_all_pairs_of_many_draws_are_independent() -> None:
    masks = draw(lambda context: [context.mask((UNITS,), 0.5) for _ in range(6)])
    for i, a in enumerate(masks):
        for b in masks[:i]:
            assert_independent(a, b)


def test_the_first_draw_uses_the_stream_of_the_layer() -> None:
    seed, step, rows = inputs()
    plain = random_mask(seed, step, rows, stream=11, shape=(UNITS,), probability=0.5)
    (expected,) = RUNNERS["reference"](Graph((seed, step), (plain,)), [SEED, np.uint32(0)])
    np.testing.assert_array_equal(draw(two_masks)[0], expected)


def test_draws_are_reproducible_and_depend_on_the_step() -> None:
    now, again, later = draw(two_masks), draw(two_masks), draw(two_masks, step=1)
    for a, b, c in zip(now, again, later, strict=True):
        np.testing.assert_array_equal(a, b)
        assert_independent(a, c)
    assert_independent(now[0], later[1])


@pytest.mark.parametrize("backend", sorted(RUNNERS))
def test_noise_and_masks_of_one_layer_are_independent(backend: str) -> None:
    def build(context: BuildContext) -> list[Value]:
        return [
            context.normal((UNITS,)),
            context.mask((UNITS,), 0.5),
            context.uniform((UNITS,), "float64"),
            context.normal((UNITS,), "float64"),
        ]

    draws = draw(build, backend)
    assert [str(item.dtype) for item in draws] == ["float32", "bool", "float64", "float64"]
    for i, a in enumerate(draws):
        assert a.shape == (ROWS, UNITS)
        for b in draws[:i]:
            assert_independent(a, b)
    assert abs(draws[0].mean()) < 4 / np.sqrt(draws[0].size)
    assert abs(draws[0].std() - 1) < 4 / np.sqrt(2 * draws[0].size)


@pytest.mark.parametrize("renamed", [False, True])
def test_layers_inside_a_layer_draw_from_separate_streams(renamed: bool) -> None:
    def build(context: BuildContext) -> list[Value]:
        ones = constant(np.ones((ROWS, UNITS)), "float32")
        inner = [replace(context, name=f"inner{i}") if renamed else context for i in range(2)]
        return [context.mask((UNITS,), 0.5)] + [Dropout(0.5).build(item, [ones], {}, {})[0] for item in inner]

    outer, first, second = draw(build)
    assert_independent(outer, first)
    assert_independent(outer, second)
    assert_independent(first, second)


def test_masks_drawn_before_a_scan_differ_from_element_to_element() -> None:
    length = 3

    def build(context: BuildContext) -> list[Value]:
        mask_sequence = convert(context.mask((length, UNITS), 0.5), "float32")
        start = constant(np.zeros((ROWS, UNITS)), "float32")
        _, (masks,) = scan(lambda h, mask: (h + mask, mask), [start], [transpose(mask_sequence, (1, 0, 2))])
        return [masks]

    (masks,) = draw(build)
    for i in range(length):
        for j in range(i):
            assert_independent(masks[i], masks[j])


def test_a_draw_inside_the_body_of_a_scan_is_refused() -> None:
    def build(context: BuildContext) -> list[Value]:
        start = constant(np.zeros((ROWS, UNITS)), "float32")
        return list(
            scan(lambda h: [h + convert(context.mask((UNITS,), 0.5), "float32")], [start], [], length=3)[0]
        )

    with pytest.raises(GraphError, match="a body uses 'seed' from outside"):
        draw(build)


@dataclass(frozen=True, eq=False)
class TwoMasks(Weightless):
    """The input times two random masks."""

    def output_shape(self, inputs):
        return inputs[0]

    def apply(self, inputs):
        raise NotImplementedError

    def build(self, context, inputs, weights, state):
        if not context.training:
            return inputs[0], {}
        first, second = (convert(context.mask(inputs[0].shape[1:], 0.5), "float32") for _ in range(2))
        context.inner["first"], context.inner["second"] = first, second
        return inputs[0] * first * second, {}


def network_masks(network: Network, names: Sequence[str]) -> list[np.ndarray]:
    seed, step, rows = inputs()
    x = constant(np.ones((ROWS, UNITS)), "float32")
    built = network.build(
        x, {}, {}, row_mask=constant(np.ones(ROWS), "bool"), random=Randomness(seed, step, rows)
    )
    values = built.outputs | built.inner
    return RUNNERS["reference"](Graph((seed, step), tuple(values[n] for n in names)), [SEED, np.uint32(3)])


def test_no_two_layers_of_a_network_share_a_draw() -> None:
    network = Sequential(("a", TwoMasks()), ("b", TwoMasks()), ("c", TwoMasks()))
    masks = network_masks(network, [f"{layer}.{which}" for layer in "abc" for which in ("first", "second")])
    for i, a in enumerate(masks):
        for b in masks[:i]:
            assert_independent(a, b)


def test_layers_whose_names_share_a_checksum_draw_from_separate_streams() -> None:
    assert zlib.crc32(b"plumless") == zlib.crc32(b"buckeroo")
    network = Sequential(("plumless", TwoMasks()), ("buckeroo", TwoMasks()))
    masks = network_masks(
        network, [f"{a}.{b}" for a in ("plumless", "buckeroo") for b in ("first", "second")]
    )
    for i, a in enumerate(masks):
        for b in masks[:i]:
            assert_independent(a, b)


def test_dropout_after_dropout_keeps_a_quarter() -> None:
    (output,) = network_masks(Sequential(Dropout(0.5), Dropout(0.5)), ["dropout_2"])
    share = float((output != 0).mean())
    assert abs(share - 0.25) < 4 * np.sqrt(0.25 * 0.75 / output.size)


def test_a_layer_of_two_masks_keeps_a_quarter() -> None:
    (output,) = network_masks(Sequential(("m", TwoMasks())), ["m"])
    share = float((output != 0).mean())
    assert abs(share - 0.25) < 4 * np.sqrt(0.25 * 0.75 / output.size)
