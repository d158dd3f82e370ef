"""Ops that move elements from one affine index to another: ``transpose``, ``slice``, ``windows``, ``pad`` and others.

All use one routine, ``move``.
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
    """Strided access to a buffer: a multi-index selects element ``base`` + the sum of index * stride."""

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
        source_start = dot(f, indices, [s for _, s, _ in outer], source.base)
        target_start = dot(f, indices, [s for _, _, s in outer], target.base)
        full, rest = divmod(inner[0], lanes)

        def move_vector(index: Reg, count: int) -> None:
            source_index = f.add(source_start, f.mul(index, inner[1]) if inner[1] != 1 else index)
            target_index = f.add(target_start, f.mul(index, inner[2]) if inner[2] != 1 else index)
            value = load(f, address(f, source.buffer, source_index), dtype, lanes)
            pointer = address(f, target.buffer, target_index)
            if accumulate:
                old = load(f, pointer, dtype, lanes)
                value = f.fadd(old, value) if source.buffer.type.is_float else f.add(old, value)
            store(f, value, pointer, dtype, count)

        if full:
            with f.loop(full * lanes, step=lanes) as index:
                move_vector(index, lanes)
        if rest:
            move_vector(Reg(str(full * lanes), "i64"), rest)


def _merged_axes(shape: Ints, source: Ints, target: Ints) -> list[tuple[int, int, int]]:
    """(extent, source stride, target stride) per axis, without axes of extent 1.

    Adjacent axes are merged if both arrays are contiguous across them.
    """
    axes: list[tuple[int, int, int]] = []
    for extent, s, d in zip(shape, source, target, strict=True):
        if extent == 1:
            continue
        if axes and axes[-1][1] == s * extent and axes[-1][2] == d * extent:
            axes[-1] = (axes[-1][0] * extent, s, d)
        else:
            axes.append((extent, s, d))
    return axes


def _strided_copy(strides: Callable[[Node], tuple[list[int], int]]) -> Emit:
    """The emitter of an op that copies elements; ``strides`` gives the strides and the base in the input."""

    def emit(t: EmitContext, node: Node, inputs: Sequence[Buffer], outputs: Sequence[Buffer]) -> None:
        shape = node.types[0].shape
        input_strides, base = strides(node)
        move(t, shape, Strided(inputs[0], input_strides, base), row_major(outputs[0], shape))

    return emit


def _transpose(node: Node) -> tuple[list[int], int]:
    input_strides = strides_of(node.inputs[0].shape)
    return [input_strides[axis] for axis in node.attributes["order"]], 0


def _reverse(node: Node) -> tuple[list[int], int]:
    input_strides, axis = strides_of(node.inputs[0].shape), node.attributes["axis"]
    base = (node.inputs[0].shape[axis] - 1) * input_strides[axis]
    return [-s if a == axis else s for a, s in enumerate(input_strides)], base


def _slice(node: Node) -> tuple[list[int], int]:
    input_strides, a = strides_of(node.inputs[0].shape), node.attributes
    base = sum(start * s for start, s in zip(a["starts"], input_strides, strict=True))
    return [step * s for step, s in zip(a["steps"], input_strides, strict=True)], base


def _broadcast(node: Node) -> tuple[list[int], int]:
    input_strides, axes = strides_of(node.inputs[0].shape), node.attributes["axes"]
    output_strides = [0] * len(node.types[0].shape)
    for axis, stride in zip(axes, input_strides, strict=True):
        output_strides[axis] = stride
    return output_strides, 0


def _window_strides(image: Shape, stride: Ints) -> list[int]:
    rows, high, wide, channel = strides_of(image)
    return [rows, high * stride[0], wide * stride[1], high, wide, channel]


def _windows(node: Node) -> tuple[list[int], int]:
    return _window_strides(node.inputs[0].shape, node.attributes["stride"]), 0


def _fold_windows(t: EmitContext, node: Node, inputs: Sequence[Buffer], outputs: Sequence[Buffer]) -> None:
    shape = node.inputs[0].shape
    output_strides = _window_strides(node.types[0].shape, node.attributes["stride"])
    t.f.clear(address(t.f, outputs[0]), outputs[0].size)
    move(t, shape, row_major(inputs[0], shape), Strided(outputs[0], output_strides), accumulate=True)


def _pad(t: EmitContext, node: Node, inputs: Sequence[Buffer], outputs: Sequence[Buffer]) -> None:
    a, shape = node.attributes, node.inputs[0].shape
    out = strides_of(node.types[0].shape)
    output_strides = [s * (inner + 1) for s, inner in zip(out, a["inner"], strict=True)]
    base = sum(before * s for before, s in zip(a["before"], out, strict=True))
    t.f.clear(address(t.f, outputs[0]), outputs[0].size)
    move(t, shape, row_major(inputs[0], shape), Strided(outputs[0], output_strides, base))


def _concatenate(t: EmitContext, node: Node, inputs: Sequence[Buffer], outputs: Sequence[Buffer]) -> None:
    axis, out, start = node.attributes["axis"], strides_of(node.types[0].shape), 0
    for value, buffer in zip(node.inputs, inputs, strict=True):
        target = Strided(outputs[0], out, start * out[axis])
        move(t, value.shape, row_major(buffer, value.shape), target)
        start += value.shape[axis]


MOVES: dict[str, Emit] = {
    "transpose": _strided_copy(_transpose),
    "reverse": _strided_copy(_reverse),
    "slice": _strided_copy(_slice),
    "broadcast": _strided_copy(_broadcast),
    "windows": _strided_copy(_windows),
    "fold_windows": _fold_windows,
    "pad": _pad,
    "concatenate": _concatenate,
}
