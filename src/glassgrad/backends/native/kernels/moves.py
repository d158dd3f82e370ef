"""Ops that move elements by a rule that is affine in the indices: ``transpose``, ``slice``, ``windows``, ``pad`` ...

One routine, ``move``, serves them all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from glassgrad.backends.native.ir.types import Reg
from glassgrad.backends.native.kernels.loop_nests import Emit, EmitContext, Ints, dot, nest, strides_of
from glassgrad.backends.native.kernels.memory_access import address, load, store
from glassgrad.backends.native.plan.memory import Buffer
from glassgrad.common.frozen import frozen
from glassgrad.graph.node import Node, Shape


@frozen
class Strided:
    """Elements of a buffer: an index names element ``base`` + the sum of index * stride."""

    buffer: Buffer
    strides: Ints
    base: int = 0


def row_major(buffer: Buffer, shape: Ints) -> Strided:
    """All elements of a buffer that holds an array of ``shape``."""
    return Strided(buffer, strides_of(shape))


def move(t: EmitContext, shape: Ints, source: Strided, target: Strided, *, accumulate: bool = False) -> None:
    """For every index of ``shape``: target[index] = (or +=) source[index]."""
    f, dtype = t.f, source.buffer.type.dtype
    axes = _merged_axes(shape, source.strides, target.strides)
    inner = axes[-1] if axes else (1, 1, 1)
    outer = axes[:-1]
    contiguous = inner[1:] == (1, 1)
    lanes = t.lanes(dtype) if contiguous else 1
    with nest(f, [extent for extent, _, _ in outer]) as indices:
        at_source = dot(f, indices, [s for _, s, _ in outer], source.base)
        at_target = dot(f, indices, [s for _, _, s in outer], target.base)
        full, rest = divmod(inner[0], lanes)

        def piece(index: Reg, count: int, width: int) -> None:
            here = f.add(at_source, f.mul(index, inner[1]) if inner[1] != 1 else index)
            there = f.add(at_target, f.mul(index, inner[2]) if inner[2] != 1 else index)
            value = load(f, address(f, source.buffer, here), dtype, width)
            where = address(f, target.buffer, there)
            if accumulate:
                before = load(f, where, dtype, width)
                value = f.fadd(before, value) if source.buffer.type.is_float else f.add(before, value)
            store(f, value, where, dtype, count)

        if full:
            with f.loop(full * lanes, step=lanes) as index:
                piece(index, lanes, lanes)
        if rest:
            piece(Reg(str(full * lanes), "i64"), rest, lanes)


def _merged_axes(shape: Ints, source: Ints, target: Ints) -> list[tuple[int, int, int]]:
    """(extent, source stride, target stride), without axes of 1, neighbours merged where both run on."""
    axes: list[tuple[int, int, int]] = []
    for extent, s, d in zip(shape, source, target, strict=True):
        if extent == 1:
            continue
        if axes and axes[-1][1] == s * extent and axes[-1][2] == d * extent:
            axes[-1] = (axes[-1][0] * extent, s, d)
        else:
            axes.append((extent, s, d))
    return axes


def _pull(strides: Callable[[Node], tuple[list[int], int]]) -> Emit:
    """An op of which every output element is one input element, at affine strides."""

    def emit(t: EmitContext, node: Node, inputs: Sequence[Buffer], outputs: Sequence[Buffer]) -> None:
        shape = node.types[0].shape
        steps, base = strides(node)
        move(t, shape, Strided(inputs[0], steps, base), row_major(outputs[0], shape))

    return emit


def _transpose(node: Node) -> tuple[list[int], int]:
    given = strides_of(node.inputs[0].shape)
    return [given[axis] for axis in node.attributes["order"]], 0


def _reverse(node: Node) -> tuple[list[int], int]:
    given, axis = strides_of(node.inputs[0].shape), node.attributes["axis"]
    base = (node.inputs[0].shape[axis] - 1) * given[axis]
    return [-s if a == axis else s for a, s in enumerate(given)], base


def _slice(node: Node) -> tuple[list[int], int]:
    given, a = strides_of(node.inputs[0].shape), node.attributes
    base = sum(start * s for start, s in zip(a["starts"], given, strict=True))
    return [step * s for step, s in zip(a["steps"], given, strict=True)], base


def _broadcast(node: Node) -> tuple[list[int], int]:
    given, axes = strides_of(node.inputs[0].shape), node.attributes["axes"]
    steps = [0] * len(node.types[0].shape)
    for axis, stride in zip(axes, given, strict=True):
        steps[axis] = stride
    return steps, 0


def _window_strides(image: Shape, stride: Ints) -> list[int]:
    rows, high, wide, channel = strides_of(image)
    return [rows, high * stride[0], wide * stride[1], high, wide, channel]


def _windows(node: Node) -> tuple[list[int], int]:
    return _window_strides(node.inputs[0].shape, node.attributes["stride"]), 0


def _fold_windows(t: EmitContext, node: Node, inputs: Sequence[Buffer], outputs: Sequence[Buffer]) -> None:
    shape = node.inputs[0].shape
    steps = _window_strides(node.types[0].shape, node.attributes["stride"])
    t.f.clear(address(t.f, outputs[0]), outputs[0].size)
    move(t, shape, row_major(inputs[0], shape), Strided(outputs[0], steps), accumulate=True)


def _pad(t: EmitContext, node: Node, inputs: Sequence[Buffer], outputs: Sequence[Buffer]) -> None:
    a, shape = node.attributes, node.inputs[0].shape
    out = strides_of(node.types[0].shape)
    steps = [s * (inner + 1) for s, inner in zip(out, a["inner"], strict=True)]
    base = sum(before * s for before, s in zip(a["before"], out, strict=True))
    t.f.clear(address(t.f, outputs[0]), outputs[0].size)
    move(t, shape, row_major(inputs[0], shape), Strided(outputs[0], steps, base))


def _concatenate(t: EmitContext, node: Node, inputs: Sequence[Buffer], outputs: Sequence[Buffer]) -> None:
    axis, out, start = node.attributes["axis"], strides_of(node.types[0].shape), 0
    for value, buffer in zip(node.inputs, inputs, strict=True):
        target = Strided(outputs[0], out, start * out[axis])
        move(t, value.shape, row_major(buffer, value.shape), target)
        start += value.shape[axis]


MOVES: dict[str, Emit] = {
    "transpose": _pull(_transpose),
    "reverse": _pull(_reverse),
    "slice": _pull(_slice),
    "broadcast": _pull(_broadcast),
    "windows": _pull(_windows),
    "fold_windows": _fold_windows,
    "pad": _pad,
    "concatenate": _concatenate,
}
