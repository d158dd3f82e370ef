"""Normalization layers: values get mean 0 and variance 1."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import final

from glassgrad.common.constraints import SHARE, Real
from glassgrad.graph.node import Shape, Value
from glassgrad.init.initializers import initializer
from glassgrad.nn.layer import (
    LAYERS,
    BufferSpec,
    BuildContext,
    Built,
    Layer,
    ParameterSpec,
    input_with_channels,
)
from glassgrad.ops.elementwise import select, sqrt
from glassgrad.ops.structure import broadcast, convert, reduce_sum, stop_gradient


@final
@dataclass(frozen=True, eq=False)
class BatchNorm(Layer):
    """Normalizes each channel (last axis) to mean 0 and variance 1 over the batch, then scales and shifts it.

    Training uses the statistics of the valid rows of the batch. It also updates the running statistics:
    ``running += momentum * (batch - running)``, with the unbiased batch variance. Prediction uses the running
    statistics. Sample weights have no effect. Source: S. Ioffe and C. Szegedy, "Batch normalization", 2015.
    """

    momentum: float = 0.1
    epsilon: float = 1e-5

    constraints = MappingProxyType({"momentum": SHARE, "epsilon": Real(above=0)})

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        """The shape of the input."""
        return input_with_channels(self, inputs)

    def weights(self, inputs: Sequence[Shape]) -> dict[str, ParameterSpec]:
        """``scale`` and ``shift``, both (channels,)."""
        n = inputs[0][-1]
        return {
            "scale": ParameterSpec((n,), initializer("constant(1.0)"), (n, n)),
            "shift": ParameterSpec((n,), initializer("zeros"), (n, n)),
        }

    def statistics(self, inputs: Sequence[Shape]) -> dict[str, BufferSpec]:
        """``running_mean`` and ``running_variance``, both (channels,)."""
        n = inputs[0][-1]
        return {"running_mean": BufferSpec((n,), 0.0), "running_variance": BufferSpec((n,), 1.0)}

    def build(
        self,
        context: BuildContext,
        inputs: Sequence[Value],
        weights: Mapping[str, Value],
        state: Mapping[str, Value],
    ) -> Built:
        """(x - mean) / sqrt(variance + epsilon) * scale + shift."""
        (x,) = inputs
        updates: dict[str, Value] = {}
        if context.training:
            axes = range(len(x.shape) - 1)
            per_row = math.prod(x.shape[1:-1])
            mask = broadcast(context.row_mask, x.shape, [0])
            # Every batch has at least one valid row, so count is above 0.
            count = reduce_sum(convert(context.row_mask, x.dtype)) * float(per_row)
            mean = reduce_sum(select(mask, x, 0.0), axes) / count
            offset = select(mask, x - mean, 0.0)
            variance = reduce_sum(offset * offset, axes) / count
            unbiased = variance * (count / select(count > 1.0, count - 1.0, 1.0))
            for name, value in (("running_mean", mean), ("running_variance", unbiased)):
                updates[name] = state[name] + (stop_gradient(value) - state[name]) * self.momentum
        else:
            mean, variance = state["running_mean"], state["running_variance"]
        factor = weights["scale"] / sqrt(variance + self.epsilon)
        return (x - mean) * factor + weights["shift"], updates


@final
@dataclass(frozen=True, eq=False)
class LayerNorm(Layer):
    """Normalizes the last axis to mean 0 and variance 1, then scales and shifts it (J. Ba et al., 2016)."""

    epsilon: float = 1e-5

    constraints = MappingProxyType({"epsilon": Real(above=0)})

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        """The shape of the input."""
        return input_with_channels(self, inputs)

    def weights(self, inputs: Sequence[Shape]) -> dict[str, ParameterSpec]:
        """``scale`` and ``shift``, both (channels,)."""
        return BatchNorm().weights(inputs)

    def build(
        self,
        context: BuildContext,
        inputs: Sequence[Value],
        weights: Mapping[str, Value],
        state: Mapping[str, Value],
    ) -> Built:
        """(x - mean) / sqrt(variance + epsilon) * scale + shift."""
        (x,) = inputs
        reciprocal = 1.0 / x.shape[-1]
        offset = x - reduce_sum(x, -1, keepdims=True) * reciprocal
        variance = reduce_sum(offset * offset, -1, keepdims=True) * reciprocal
        return offset / sqrt(variance + self.epsilon) * weights["scale"] + weights["shift"], {}


LAYERS.add("batch_norm", BatchNorm)
LAYERS.add("layer_norm", LayerNorm)
