"""Sliding windows: the one linear pair of ops from which 2-D convolution and pooling are made.

``windows`` copies every window of an image to its own place, ``fold_windows`` adds them back: each is the
transpose of the other. A convolution is then a matrix product of windows and weights (K. Chellapilla et al.,
"High performance convolutional neural networks for document processing", 2006), and pooling is a maximum or
a mean over windows; their derivatives of every order follow. Images are (rows, height, width, channels).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from glassgrad.common.errors import GraphError
from glassgrad.graph.node import Graph, Type, Value
from glassgrad.ops.op import Op, expect, record
from glassgrad.ops.parts import pad
from glassgrad.ops.products import matmul
from glassgrad.ops.reductions import reduce_max, reduce_mean
from glassgrad.ops.structure import Linear, reshape

Pair = tuple[int, int]


def _infer_windows(
    types: Sequence[Type], attributes: Mapping[str, Any], _: Sequence[Graph]
) -> tuple[Type, ...]:
    (image,), size, stride = types, attributes["size"], attributes["stride"]
    expect(image.is_float and len(image.shape) == 4, "takes float images (rows, height, width, channels)")
    rows, high, wide, channels = image.shape
    extents = (high, wide)
    expect(min(*size, *stride) >= 1, "window and stride must be at least 1")
    expect(
        all(s <= n for s, n in zip(size, extents, strict=True)),
        f"a window of {size} does not fit in {extents}",
    )
    places = [(n - s) // d + 1 for n, s, d in zip(extents, size, stride, strict=True)]
    return (Type((rows, *places, *size, channels), image.dtype),)


def _infer_fold(types: Sequence[Type], attributes: Mapping[str, Any], _: Sequence[Graph]) -> tuple[Type, ...]:
    (parts,), image = types, attributes["image"]
    expect(len(parts.shape) == 6, "takes windows of six axes")
    rows, channels = parts.shape[0], parts.shape[-1]
    result = Type((rows, *image, channels), parts.dtype)
    sizes = {"size": parts.shape[3:5], "stride": attributes["stride"]}
    expect(
        _infer_windows([result], sizes, ()) == (parts,), f"these are not the windows of an image of {image}"
    )
    return (result,)


def _windows(x: np.ndarray, size: Pair, stride: Pair) -> np.ndarray:
    every = np.lib.stride_tricks.sliding_window_view(x, size, axis=(1, 2))
    return every[:, :: stride[0], :: stride[1]].transpose(0, 1, 2, 4, 5, 3)


def _fold(parts: np.ndarray, image: Pair, stride: Pair) -> np.ndarray:
    rows, high, wide, *size, channels = parts.shape
    result = np.zeros((rows, *image, channels), parts.dtype)
    for i in range(size[0]):
        for j in range(size[1]):
            spots = slice(i, i + high * stride[0], stride[0]), slice(j, j + wide * stride[1], stride[1])
            result[:, spots[0], spots[1]] += parts[:, :, :, i, j]
    return result


WINDOWS = record(
    Op(
        "windows",
        _infer_windows,
        _windows,
        Linear(lambda ctx, ct, inputs: [fold_windows(ct, inputs[0].shape[1:3], ctx.attributes["stride"])]),
    )
)
FOLD_WINDOWS = record(
    Op(
        "fold_windows",
        _infer_fold,
        _fold,
        Linear(lambda ctx, ct, inputs: [windows(ct, inputs[0].shape[3:5], ctx.attributes["stride"])]),
    )
)


def windows(image: Value, size: Sequence[int], stride: Sequence[int] = (1, 1)) -> Value:
    """Every window of ``image``: (rows, h, w, c) -> (rows, h', w', size[0], size[1], c)."""
    return WINDOWS(image, size=tuple(size), stride=tuple(stride))


def fold_windows(parts: Value, image: Sequence[int], stride: Sequence[int] = (1, 1)) -> Value:
    """Add every window back to its place in an image of extents ``image``; the transpose of ``windows``."""
    return FOLD_WINDOWS(parts, image=tuple(image), stride=tuple(stride))


def pad_image(image: Value, size: Pair, stride: Pair, padding: str) -> Value:
    """``valid``: no padding; ``same``: zeros around, so that the output has ceil(extent / stride) places."""
    if padding == "valid":
        return image
    if padding != "same":
        raise GraphError(f"padding is 'valid' or 'same', not {padding!r}")
    need = [
        max((-(-n // d) - 1) * d + s - n, 0) for n, s, d in zip(image.shape[1:3], size, stride, strict=True)
    ]
    return pad(
        image, (0, need[0] // 2, need[1] // 2, 0), (0, need[0] - need[0] // 2, need[1] - need[1] // 2, 0)
    )


def conv2d(image: Value, weights: Value, stride: Pair = (1, 1), padding: str = "valid") -> Value:
    """Cross-correlate (rows, h, w, c) with weights (kh, kw, c, k): (rows, h', w', k)."""
    if len(weights.shape) != 4 or len(image.shape) != 4 or weights.shape[2] != image.shape[3]:
        raise GraphError(f"conv2d: weights {weights.type} do not fit images {image.type}")
    kh, kw, channels, kernels = weights.shape
    parts = windows(pad_image(image, (kh, kw), stride, padding), (kh, kw), stride)
    rows, high, wide = parts.shape[:3]
    flat = matmul(reshape(parts, (rows * high * wide, -1)), reshape(weights, (kh * kw * channels, kernels)))
    return reshape(flat, (rows, high, wide, kernels))


def max_pool2d(image: Value, size: Pair, stride: Pair | None = None) -> Value:
    """The maximum of every window, channel by channel; equal maxima share the gradient."""
    return reduce_max(windows(image, size, stride or size), (3, 4))


def average_pool2d(image: Value, size: Pair, stride: Pair | None = None) -> Value:
    """The mean of every window, channel by channel."""
    return reduce_mean(windows(image, size, stride or size), (3, 4))
