"""Activations: the nonlinearities between layers, built of ops, so that no derivatives are needed here.

The value and the gradient of an activation are finite for any finite input, and the value at infinity is its limit.
If a branch of a ``select`` could overflow, its *input* is replaced first, because a zero gradient times an overflow
is NaN.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, final

import glassgrad.ops.table as ops
from glassgrad.common.constraints import Real
from glassgrad.common.part import Part
from glassgrad.common.registry import Registry
from glassgrad.graph.node import Value

INF = math.inf


@dataclass(frozen=True, eq=False)
class Activation(Part, ABC):
    """Base of all activations: a function of a float value of any shape; the output has its shape and dtype.

    A subclass without options needs no ``@dataclass`` of its own.
    """

    name: ClassVar[str]
    """The name in the registry."""

    @abstractmethod
    def __call__(self, x: Value) -> Value:
        """Build the graph of the activation of ``x``."""

    def output_range(self) -> tuple[float, float]:
        """The infimum and the supremum of the outputs. A target outside this range cannot be learned."""
        return (-math.inf, math.inf)


ACTIVATIONS: Registry[Activation] = Registry("activation", Activation)  # type: ignore[type-abstract]


def activation(spec: str | Mapping[str, Any] | Activation | None) -> Activation:
    """The activation for a specification such as ``"elu(0.5)"``; None: identity. See ``Registry.make``."""
    return Identity() if spec is None else ACTIVATIONS.make(spec)


@final
class Identity(Activation):
    """x: a linear unit."""

    name = "identity"

    def __call__(self, x: Value) -> Value:
        """x."""
        return x

    def output_range(self) -> tuple[float, float]:
        """All numbers."""
        return (-INF, INF)


@final
class Step(Activation):
    """1 if x >= 0, else 0: the threshold unit of the classical perceptron (McCulloch and Pitts 1943).

    Its derivative is defined as 0 everywhere, so no gradient reaches the layers before it. To train a perceptron
    by Rosenblatt's rule, use the loss ``perceptron`` on outputs without an activation.
    """

    name = "step"

    def __call__(self, x: Value) -> Value:
        """[x >= 0]."""
        return ops.convert(x >= 0, x.dtype)

    def output_range(self) -> tuple[float, float]:
        """0 and 1."""
        return (0.0, 1.0)


@final
class Sigmoid(Activation):
    """1 / (1 + exp(-x)): the logistic function (Verhulst 1845; Rumelhart, Hinton, Williams 1986)."""

    name = "sigmoid"

    def __call__(self, x: Value) -> Value:
        """1 / (1 + exp(-x))."""
        return ops.sigmoid(x)

    def output_range(self) -> tuple[float, float]:
        """0 to 1."""
        return (0.0, 1.0)


@final
class Tanh(Activation):
    """(exp(x) - exp(-x)) / (exp(x) + exp(-x)): a sigmoid centered at 0 (LeCun et al. 1998)."""

    name = "tanh"

    def __call__(self, x: Value) -> Value:
        """tanh(x)."""
        return ops.tanh(x)

    def output_range(self) -> tuple[float, float]:
        """-1 to 1."""
        return (-1.0, 1.0)


@final
class ReLU(Activation):
    """max(0, x), with derivative 0 at 0 (Nair and Hinton 2010; Glorot, Bordes, Bengio 2011)."""

    name = "relu"

    def __call__(self, x: Value) -> Value:
        """x if x > 0, else 0."""
        return ops.select(x <= 0, 0.0, x)  # with x > 0 as the condition, NaN would become 0

    def output_range(self) -> tuple[float, float]:
        """At least 0."""
        return (0.0, INF)


@final
@dataclass(frozen=True, eq=False)
class LeakyReLU(Activation):
    """x if x > 0, else slope * x (Maas, Hannun, Ng 2013)."""

    name = "leaky_relu"
    slope: float = 0.01

    constraints = MappingProxyType({"slope": Real()})

    def __call__(self, x: Value) -> Value:
        """x if x > 0, else slope * x."""
        return ops.select(x > 0, x, self.slope * x)

    def output_range(self) -> tuple[float, float]:
        """All numbers if the slope is above 0; else at least 0."""
        return (-INF if self.slope > 0 else 0.0, INF)


@final
@dataclass(frozen=True, eq=False)
class ELU(Activation):
    """x if x > 0, else alpha * (exp(x) - 1) (Clevert, Unterthiner, Hochreiter 2016)."""

    name = "elu"
    alpha: float = 1.0

    constraints = MappingProxyType({"alpha": Real(above=0)})

    def __call__(self, x: Value) -> Value:
        """x if x > 0, else alpha * expm1(x)."""
        return _elu(x, self.alpha)

    def output_range(self) -> tuple[float, float]:
        """At least -alpha."""
        return (-float(self.alpha), INF)


# Klambauer et al. 2017, appendix 1: with these constants, mean 0 and variance 1 are a fixed point.
SELU_ALPHA = 1.6732632423543772
SELU_SCALE = 1.0507009873554805


@final
class SELU(Activation):
    """scale * elu(x, alpha): keeps mean 0 and variance 1 from layer to layer (Klambauer et al. 2017).

    This needs initial weights of variance 1 / fan_in: the initializer ``lecun_normal``.
    """

    name = "selu"

    def __call__(self, x: Value) -> Value:
        """1.0507 * elu(x, 1.6733)."""
        return SELU_SCALE * _elu(x, SELU_ALPHA)

    def output_range(self) -> tuple[float, float]:
        """At least -1.7581."""
        return (-SELU_SCALE * SELU_ALPHA, INF)


@final
class GELU(Activation):
    """x * Phi(x), with the normal distribution function Phi computed by erf (Hendrycks and Gimpel 2016)."""

    name = "gelu"

    def __call__(self, x: Value) -> Value:
        """x * (1 + erf(x / sqrt(2))) / 2."""
        return _gated(x, lambda x: 0.5 * (1 + ops.erf(x * math.sqrt(0.5))))

    def output_range(self) -> tuple[float, float]:
        """At least the minimum, at x = -0.7518."""
        return (-0.16997120747990369, INF)


@final
class SiLU(Activation):
    """x * sigmoid(x), also called swish (Elfwing, Uchibe, Doya 2018; Ramachandran, Zoph, Le 2017)."""

    name = "silu"

    def __call__(self, x: Value) -> Value:
        """x * sigmoid(x)."""
        return _gated(x, ops.sigmoid)

    def output_range(self) -> tuple[float, float]:
        """At least the minimum, at x = -1.2785."""
        return (-0.27846454276107379, INF)


@final
class Mish(Activation):
    """x * tanh(softplus(x)) (Misra 2019)."""

    name = "mish"

    def __call__(self, x: Value) -> Value:
        """x * tanh(log(1 + exp(x)))."""
        return _gated(x, lambda x: ops.tanh(softplus(x)))

    def output_range(self) -> tuple[float, float]:
        """At least the minimum, at x = -1.1924."""
        return (-0.30884341301725043, INF)


@final
class Softplus(Activation):
    """log(1 + exp(x)): a smooth ReLU (Dugas et al. 2001)."""

    name = "softplus"

    def __call__(self, x: Value) -> Value:
        """log(1 + exp(x))."""
        return softplus(x)

    def output_range(self) -> tuple[float, float]:
        """At least 0."""
        return (0.0, INF)


@final
class Softmax(Activation):
    """exp(x) / sum(exp(x)) along the last axis: probabilities of K classes (Bridle 1990).

    Not for the last layer with the loss ``categorical_cross_entropy``, which takes logits.
    """

    name = "softmax"

    def __call__(self, x: Value) -> Value:
        """exp(x) / sum(exp(x)) along the last axis."""
        return ops.softmax(x)

    def output_range(self) -> tuple[float, float]:
        """0 to 1."""
        return (0.0, 1.0)


@final
class LogSoftmax(Activation):
    """x - log(sum(exp(x))) along the last axis: log-probabilities, for ``negative_log_likelihood``."""

    name = "log_softmax"

    def __call__(self, x: Value) -> Value:
        """x - logsumexp(x) along the last axis."""
        return ops.log_softmax(x)

    def output_range(self) -> tuple[float, float]:
        """At most 0."""
        return (-INF, 0.0)


def softplus(x: Value) -> Value:
    """log(1 + exp(x)), computed as max(x, 0) + log(1 + exp(-|x|)), which does not overflow.

    Built of ``select`` instead of ``maximum`` and ``absolute``, so that the first and the second derivative at
    x = 0 (1/2 and 1/4) are right: the derivative of ``absolute`` at 0 is 0.
    """
    positive = x > 0
    return ops.select(positive, x, 0.0) + ops.log1p(ops.exp(ops.select(positive, -x, x)))


SATURATION = 1e4
"""For |x| above it, the gates of GELU, SiLU and Mish are exactly 0 or 1 in float32 and float64."""


def _gated(x: Value, gate: Callable[[Value], Value]) -> Value:
    """x * gate(x); ``gate`` rises from 0 at minus infinity to 1 at infinity.

    If the gate is saturated, the result is x or 0 without the product. In the product, infinity times 0 would give
    NaN, in the value and in its derivatives.
    """
    saturated = ops.absolute(x) > SATURATION
    unsaturated_x = ops.select(saturated, 0.0, x)
    return ops.select(saturated, ops.select(x > 0, x, 0.0), unsaturated_x * gate(unsaturated_x))


def _elu(x: Value, alpha: float) -> Value:
    positive = x > 0
    return ops.select(positive, x, alpha * ops.expm1(ops.select(positive, 0.0, x)))


_CLASSES: tuple[type[Activation], ...] = (
    Identity,
    Step,
    Sigmoid,
    Tanh,
    ReLU,
    LeakyReLU,
    ELU,
    SELU,
    GELU,
    SiLU,
    Mish,
    Softplus,
    Softmax,
    LogSoftmax,
)
for _class in _CLASSES:
    ACTIVATIONS.add(_class.name, _class)
