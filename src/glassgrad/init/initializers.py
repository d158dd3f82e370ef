"""Initial weights, drawn once by NumPy on the host from named random streams.

Shapes of weights: dense ``(inputs, units)``, convolution ``(height, width, channels_in, channels_out)``. The
last axis is always the output. A deep network trains only if the variance of its signal neither vanishes nor
explodes from layer to layer. Most initializers here therefore follow ``variance = scale / fan`` (Glorot and
Bengio 2010; He et al. 2015); they differ in the scale, the fan and the distribution.
"""

from __future__ import annotations

import hashlib
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Literal, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from glassgrad.common.constraints import COUNT, Real, check
from glassgrad.common.errors import InputError
from glassgrad.common.part import Part
from glassgrad.common.registry import Registry

Array: TypeAlias = NDArray[np.float64]


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """The random stream with these ``names`` in a run with this seed: ``stream(0, "dense_2", "weight")``.

    The generator is counter-based (Philox; Salmon et al. 2011). Its key depends only on the seed and the names,
    so adding a layer does not change the weights of other layers. ``1`` and ``"1"`` are different names.
    """
    # JSON is unambiguous and the same on every machine; Python's hash() is salted per process.
    label = json.dumps([int(seed), *(name if isinstance(name, str) else int(name) for name in names)])
    key = hashlib.blake2b(label.encode("ascii"), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(key, "little")))


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """``(fan_in, fan_out)`` of a weight: the inputs per output, and the outputs per input.

    A convolution counts every position of its window, at stride 1. A vector of n elements counts as n by n, a
    scalar as 1 by 1. Raises InputError for an axis of size 0.
    """
    if 0 in shape:
        raise InputError(f"a weight of shape {shape} is empty: every axis needs a size of at least 1")
    if len(shape) < 2:
        return math.prod(shape), math.prod(shape)
    window_size = math.prod(shape[:-2])
    return window_size * shape[-2], window_size * shape[-1]


@dataclass(frozen=True, eq=False)
class Initializer(Part, ABC):
    """Base of all initializers: how the initial values of one weight are drawn."""

    data_dependent: ClassVar[bool] = False
    """Whether training rescales the drawn weights by the outputs of a first batch (see ``LSUV``)."""

    @abstractmethod
    def __call__(
        self, generator: np.random.Generator, shape: tuple[int, ...], *, fan_in: int, fan_out: int
    ) -> Array:
        """Draw a weight of ``shape`` in float64; the caller casts it. Both fans are at least 1 (see ``fans``)."""


INITIALIZERS: Registry[Initializer] = Registry("initializer", Initializer)  # type: ignore[type-abstract]


def initializer(spec: str | Mapping[str, Any] | Initializer) -> Initializer:
    """The initializer for a specification such as ``"normal(0.02)"``; see ``Registry.make``."""
    return INITIALIZERS.make(spec)


@final
class Zeros(Initializer):
    """All zeros, for biases. Units of a hidden layer whose weights start at zero stay equal during training."""

    def __call__(
        self, generator: np.random.Generator, shape: tuple[int, ...], *, fan_in: int, fan_out: int
    ) -> Array:
        """Zeros of ``shape``."""
        return np.zeros(shape)


@final
@dataclass(frozen=True, eq=False)
class Constant(Initializer):
    """Every element is ``value``."""

    value: float

    constraints = MappingProxyType({"value": Real()})

    def __call__(
        self, generator: np.random.Generator, shape: tuple[int, ...], *, fan_in: int, fan_out: int
    ) -> Array:
        """``value`` everywhere in ``shape``."""
        return np.full(shape, self.value, dtype=np.float64)


@final
@dataclass(frozen=True, eq=False)
class Uniform(Initializer):
    """Uniform between ``low`` and ``high``."""

    low: float
    high: float

    constraints = MappingProxyType({"low": Real(), "high": Real()})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low > self.high:
            raise InputError(f"initializer 'uniform': low={self.low} is above high={self.high}; swap them")
        check("initializer 'uniform': high - low", self.high - self.low, Real())

    def __call__(
        self, generator: np.random.Generator, shape: tuple[int, ...], *, fan_in: int, fan_out: int
    ) -> Array:
        """Draw from U(low, high)."""
        return generator.uniform(self.low, self.high, shape)


@final
@dataclass(frozen=True, eq=False)
class Normal(Initializer):
    """Normal with standard deviation ``std`` around ``mean``."""

    std: float
    mean: float = 0.0

    constraints = MappingProxyType({"std": Real(minimum=0), "mean": Real()})

    def __call__(
        self, generator: np.random.Generator, shape: tuple[int, ...], *, fan_in: int, fan_out: int
    ) -> Array:
        """Draw from N(mean, std²)."""
        return generator.normal(self.mean, self.std, shape)


@final
@dataclass(frozen=True, eq=False)
class TruncatedNormal(Initializer):
    """Normal around 0, truncated at two standard deviations: no element lies beyond ``2 * std``.

    ``std`` is the standard deviation *before* truncation. The standard deviation of the elements is 0.8796 times
    ``std``.
    """

    std: float

    constraints = MappingProxyType({"std": Real(minimum=0)})

    def __call__(
        self, generator: np.random.Generator, shape: tuple[int, ...], *, fan_in: int, fan_out: int
    ) -> Array:
        """Draw from N(0, std²); an element beyond ``2 * std`` is drawn again."""
        values = generator.standard_normal(shape)
        while (outside := np.abs(values) > 2).any():
            values[outside] = generator.standard_normal(np.count_nonzero(outside))
        return self.std * values


class VarianceScaling(Initializer):
    """Mean 0 and ``variance = scale / fan``; subclasses set the three attributes. Normals are not truncated."""

    scale: ClassVar[float]
    fan: ClassVar[Literal["in", "average"]]
    distribution: ClassVar[Literal["normal", "uniform"]]

    @final
    def __call__(
        self, generator: np.random.Generator, shape: tuple[int, ...], *, fan_in: int, fan_out: int
    ) -> Array:
        """Draw with variance ``scale / fan_in``, or ``scale / ((fan_in + fan_out) / 2)``."""
        std = math.sqrt(self.scale / (fan_in if self.fan == "in" else (fan_in + fan_out) / 2))
        if self.distribution == "normal":
            return generator.normal(0.0, std, shape)
        limit = math.sqrt(3) * std
        return generator.uniform(-limit, limit, shape)


@final
class FanInUniform(VarianceScaling):
    """Uniform within ±sqrt(1 / fan_in): the default of Torch and PyTorch.

    The variance is a third of LeCun's, so the variance of the signal falls by a factor of 3 per linear layer.
    """

    scale, fan, distribution = 1 / 3, "in", "uniform"


@final
class LecunNormal(VarianceScaling):
    """Variance 1 / fan_in: keeps the variance through linear layers (LeCun et al. 1998); also for SELU."""

    scale, fan, distribution = 1.0, "in", "normal"


@final
class LecunUniform(VarianceScaling):
    """Uniform with the variance of ``lecun_normal``."""

    scale, fan, distribution = 1.0, "in", "uniform"


@final
class XavierNormal(VarianceScaling):
    """Variance 2 / (fan_in + fan_out): balances signal and gradient (Glorot and Bengio 2010); for tanh."""

    scale, fan, distribution = 1.0, "average", "normal"


@final
class XavierUniform(VarianceScaling):
    """Uniform within ±sqrt(6 / (fan_in + fan_out)), with the variance of ``xavier_normal``."""

    scale, fan, distribution = 1.0, "average", "uniform"


@final
class HeNormal(VarianceScaling):
    """Variance 2 / fan_in: compensates for the half of the signal that ReLU sets to 0 (He et al. 2015)."""

    scale, fan, distribution = 2.0, "in", "normal"


@final
class HeUniform(VarianceScaling):
    """Uniform with the variance of ``he_normal``."""

    scale, fan, distribution = 2.0, "in", "uniform"


@final
@dataclass(frozen=True, eq=False)
class Orthogonal(Initializer):
    """A random orthogonal matrix times ``gain`` (Saxe et al. 2014): every singular value is ``gain``.

    A weight with more than two axes is treated as the matrix ``(prod(shape[:-1]), shape[-1])``. Before the gain,
    its columns are orthonormal; if the matrix has fewer rows than columns, its rows are.
    """

    gain: float = 1.0

    constraints = MappingProxyType({"gain": Real(minimum=0)})

    def __call__(
        self, generator: np.random.Generator, shape: tuple[int, ...], *, fan_in: int, fan_out: int
    ) -> Array:
        """Draw from the uniform (Haar) distribution; InputError for a vector or a scalar."""
        return self.gain * _orthogonal("orthogonal", generator, shape)


@final
@dataclass(frozen=True, eq=False)
class LSUV(Initializer):
    """Layer-sequential unit variance (Mishkin and Matas 2016): orthogonal, then rescaled on a first batch.

    The initializer draws the orthogonal weights. Training then visits the layers from first to last. It
    multiplies each weight by ``lsuv_scale`` of the layer's outputs until their variance is within ``tolerance``
    of ``variance``, at most ``iterations`` times.
    """

    variance: float = 1.0
    tolerance: float = 0.02
    iterations: int = 10

    data_dependent: ClassVar[bool] = True

    constraints = MappingProxyType(
        {"variance": Real(above=0), "tolerance": Real(above=0), "iterations": COUNT}
    )

    def __call__(
        self, generator: np.random.Generator, shape: tuple[int, ...], *, fan_in: int, fan_out: int
    ) -> Array:
        """Draw the orthogonal weights; InputError for a vector or a scalar."""
        return _orthogonal("lsuv", generator, shape)


def lsuv_scale(outputs: NDArray[np.floating], variance: float) -> float:
    """The factor of a layer's weight that gives its ``outputs`` (any shape, valid rows only) this variance.

    The factor is exact for a layer that is linear in its weight. Raises InputError if the outputs are constant or
    not finite.
    """
    output_variance = float(np.var(outputs, dtype=np.float64))
    if not (math.isfinite(output_variance) and output_variance > 0):
        raise InputError(
            f"initializer 'lsuv': the layer's outputs have variance {output_variance} on the first batch, and no"
            f" factor can scale it to {variance}; check the input data, or choose another initializer"
        )
    return math.sqrt(variance / output_variance)


def _orthogonal(name: str, generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    if len(shape) < 2:
        raise InputError(
            f"initializer {name!r} needs rows and columns, not a weight of shape {shape};"
            " use 'zeros' or 'constant' there"
        )
    rows, columns = math.prod(shape[:-1]), shape[-1]
    q, r = np.linalg.qr(generator.standard_normal((max(rows, columns), min(rows, columns))))
    # q is uniformly distributed only if the diagonal of r is positive (Mezzadri 2007).
    q = q * np.where(np.diagonal(r) < 0, -1.0, 1.0)
    return np.ascontiguousarray(q if rows >= columns else q.T).reshape(shape)


_CLASSES: dict[str, type[Initializer]] = {
    "zeros": Zeros,
    "constant": Constant,
    "uniform": Uniform,
    "normal": Normal,
    "truncated_normal": TruncatedNormal,
    "fan_in_uniform": FanInUniform,
    "lecun_normal": LecunNormal,
    "lecun_uniform": LecunUniform,
    "xavier_normal": XavierNormal,
    "xavier_uniform": XavierUniform,
    "he_normal": HeNormal,
    "he_uniform": HeUniform,
    "orthogonal": Orthogonal,
    "lsuv": LSUV,
    # Aliases come last: a configuration uses the first registered name of a class.
    "glorot_normal": XavierNormal,
    "glorot_uniform": XavierUniform,
}
for _name, _class in _CLASSES.items():
    INITIALIZERS.add(_name, _class)
