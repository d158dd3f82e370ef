"""Counter-based random numbers: a pure function of (seed, stream, step, row, element).

Threefry-2x32 with 20 rounds (J. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011). Every backend
generates the same integers, however the rows are split into batches. A random mask compares these integers, so it is
equal on all backends.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from glassgrad.graph.node import DType, Graph, Shape, Type, Value
from glassgrad.ops.elementwise import cos, elementwise, less, log, sqrt
from glassgrad.ops.op import NO_GRADIENT, Op, constant, expect, record
from glassgrad.ops.parts import slice_axis
from glassgrad.ops.structure import convert, reshape

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA


def threefry2x32(key: tuple[Any, Any], counter: tuple[Any, Any]) -> tuple[Any, Any]:
    """Two random words from two key words and two counter words: uint32 arrays, broadcast together."""
    keys = (key[0], key[1], key[0] ^ key[1] ^ np.uint32(PARITY))
    a, b = counter[0] + keys[0], counter[1] + keys[1]
    for group in range(5):
        for rotation in ROTATIONS[group % 2]:
            a = a + b
            b = (b << np.uint32(rotation)) | (b >> np.uint32(32 - rotation))
            b = b ^ a
        a = a + keys[(group + 1) % 3]
        b = b + keys[(group + 2) % 3] + np.uint32(group + 1)
    return a, b


def random_words(seed: Any, step: Any, rows: Any, stream: int, elements: int, xp: Any = np) -> Any:
    """``elements`` random words per row, uint32 (rows, elements). ``xp`` is NumPy or ``jax.numpy``.

    The first Threefry call derives the key of the step from (seed, stream, step). The second one uses (row, column)
    as its counter; its two output words fill the first and the second half of each row.
    """
    key = threefry2x32((seed[0:1], seed[1:2]), (xp.full(1, stream, xp.uint32), xp.reshape(step, (1,))))
    half = -(-elements // 2)
    columns = xp.reshape(xp.arange(half, dtype=xp.uint32), (1, half))
    first, second = threefry2x32(key, (xp.reshape(rows, (-1, 1)), columns))
    return xp.concatenate([first, second], axis=1)[:, :elements]


def _infer_bits(types: Sequence[Type], attributes: Mapping[str, Any], _: Sequence[Graph]) -> tuple[Type, ...]:
    seed, step, rows = types
    expect(seed == Type((2,), "uint32"), "the seed must be uint32[2]")
    expect(step == Type((), "uint32"), "the step must be a uint32")
    expect(rows.dtype == "uint32" and len(rows.shape) == 1, "the rows must be uint32[rows]")
    return (Type((*rows.shape, *attributes["shape"]), "uint32"),)


def _bits(seed: np.ndarray, step: np.ndarray, rows: np.ndarray, stream: int, shape: Shape) -> np.ndarray:
    with np.errstate(over="ignore"):
        words = random_words(seed, step, rows, stream, math.prod(shape))
    return np.asarray(words).reshape(rows.shape[0], *shape)


RANDOM_BITS = record(Op("random_bits", _infer_bits, _bits, NO_GRADIENT))

shift_right = elementwise("shift_right", np.right_shift, NO_GRADIENT, ("uint32",))


def random_bits(seed: Value, step: Value, rows: Value, *, stream: int, shape: Shape) -> Value:
    """32 random bits per element, uint32 (rows, *shape).

    ``seed`` is uint32[2], ``step`` a uint32 scalar, and ``rows`` uint32[rows], the index of each row in the data set.
    ``stream`` separates the purposes that random numbers serve in one step.
    """
    return RANDOM_BITS(seed, step, rows, stream=stream, shape=tuple(shape))


def random_uniform(
    seed: Value, step: Value, rows: Value, *, stream: int, shape: Shape, dtype: DType = "float32"
) -> Value:
    """Uniform random numbers in [0, 1), ``dtype`` (rows, *shape).

    They are multiples of 2**-24 (float32) or 2**-32 (float64).
    """
    bits = random_bits(seed, step, rows, stream=stream, shape=shape)
    if dtype == "float64":
        return convert(bits, dtype) * 2.0**-32
    return convert(shift_right(bits, 8), dtype) * 2.0**-24


def random_normal(
    seed: Value, step: Value, rows: Value, *, stream: int, shape: Shape, dtype: DType = "float32"
) -> Value:
    """Standard normal random numbers, ``dtype`` (rows, *shape), by the Box-Muller transform (1958)."""
    pairs = random_uniform(seed, step, rows, stream=stream, shape=(2, *shape), dtype=dtype)
    radius, angle = (reshape(slice_axis(pairs, 1, i, i + 1), (rows.shape[0], *shape)) for i in range(2))
    return sqrt(log(1.0 - radius) * -2.0) * cos(angle * (2 * math.pi))


def random_mask(
    seed: Value, step: Value, rows: Value, *, stream: int, shape: Shape, probability: float
) -> Value:
    """A bool mask (rows, *shape): True with ``probability``, which is rounded to a multiple of 2**-32."""
    threshold = min(round(probability * 2**32), 2**32 - 1)
    return less(random_bits(seed, step, rows, stream=stream, shape=shape), constant(threshold, "uint32"))
