"""Sliding windows, and the 2-D convolution and pooling that are built from them.

``windows`` extracts every window of an image (im2col), and ``fold_windows`` adds windows back into an image (col2im).
Both are linear, and each is the transpose of the other. A convolution is a matrix product of windows and weights
(K. Chellapilla et al., "High performance convolutional neural networks for document processing", 2006). Pooling is a
maximum or mean over windows. Their derivatives of every order follow. Images are (rows, height, width, channels).
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
    counts = [(n - s) // d + 1 for n, s, d in zip(extents, size, stride, strict=True)]
    return (Type((rows, *counts, *size, channels), image.dtype),)


def _infer_fold(types: Sequence[Type], attributes: Mapping[str, Any], _: Sequence[Graph]) -> tuple[Type, ...]:
    (parts,), image = types, attributes["image"]
    expect(len(parts.shape) == 6, "takes windows with six axes")
    rows, channels = parts.shape[0], parts.shape[-1]
    result = Type((rows, *image, channels), parts.dtype)
    sizes = {"size": parts.shape[3:5], "stride": attributes["stride"]}
    expect(
        _infer_windows([result], sizes, ()) == (parts,), f"these are not the windows of an image of {image}"
    )
    return (result,)


def _windows(x: np.ndarray, size: Pair, stride: Pair) -> np.ndarray:
    views = np.lib.stride_tricks.sliding_window_view(x, size, axis=(1, 2))
    return views[:, :: stride[0], :: stride[1]].transpose(0, 1, 2, 4, 5, 3)


def _fold(parts: np.ndarray, image: Pair, stride: Pair) -> np.ndarray:
    rows, high, wide, *size, channels = parts.shape
    result = np.zeros((rows, *image, channels), parts.dtype)
    for i in range(size[0]):
        for j in range(size[1]):
            down = slice(i, i + high * stride[0], stride[0])
            across = slice(j, j + wide * stride[1], stride[1])
            result[:, down, across] += parts[:, :, :, i, j]
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
    """All windows of ``image``: (rows, h, w, c) -> (rows, h', w', size[0], size[1], c)."""
    return WINDOWS(image, size=tuple(size), stride=tuple(stride))


def fold_windows(parts: Value, image: Sequence[int], stride: Sequence[int] = (1, 1)) -> Value:
    """Add each window into an image of height and width ``image`` where ``windows`` takes it from.

    (rows, h', w', kh, kw, c) -> (rows, image[0], image[1], c). It is the transpose of ``windows``.
    """
    return FOLD_WINDOWS(parts, image=tuple(image), stride=tuple(stride))


def pad_image(image: Value, size: Pair, stride: Pair, padding: str) -> Value:
    """Pad the height and width of ``image`` (rows, h, w, c) with zeros.

    ``padding`` is ``valid`` for none, or ``same`` for an output of ceil(extent / stride) windows per axis. Raises
    GraphError for any other.
    """
    if padding == "valid":
        return image
    if padding != "same":
        raise GraphError(f"padding must be 'valid' or 'same', not {padding!r}")
    total = [
        max((-(-n // d) - 1) * d + s - n, 0) for n, s, d in zip(image.shape[1:3], size, stride, strict=True)
    ]
    before = (0, total[0] // 2, total[1] // 2, 0)
    return pad(image, before, (0, total[0] - before[1], total[1] - before[2], 0))


def conv2d(image: Value, weights: Value, stride: Pair = (1, 1), padding: str = "valid") -> Value:
    """Cross-correlate images (rows, h, w, c) with weights (kh, kw, c, k): (rows, h', w', k).

    ``padding`` is ``valid`` or ``same`` (see ``pad_image``). Raises GraphError for shapes that do not fit.
    """
    if len(weights.shape) != 4 or len(image.shape) != 4 or weights.shape[2] != image.shape[3]:
        raise GraphError(f"conv2d: weights {weights.type} do not fit images {image.type}")
    kh, kw, channels, kernels = weights.shape
    parts = windows(pad_image(image, (kh, kw), stride, padding), (kh, kw), stride)
    rows, high, wide = parts.shape[:3]
    flat = matmul(reshape(parts, (rows * high * wide, -1)), reshape(weights, (kh * kw * channels, kernels)))
    return reshape(flat, (rows, high, wide, kernels))


def max_pool2d(image: Value, size: Pair, stride: Pair | None = None) -> Value:
    """The maximum of each window per channel: (rows, h, w, c) -> (rows, h', w', c).

    Equal maxima share the gradient.
    """
    return reduce_max(windows(image, size, stride or size), (3, 4))


def average_pool2d(image: Value, size: Pair, stride: Pair | None = None) -> Value:
    """The mean of each window per channel: (rows, h, w, c) -> (rows, h', w', c)."""
    return reduce_mean(windows(image, size, stride or size), (3, 4))
