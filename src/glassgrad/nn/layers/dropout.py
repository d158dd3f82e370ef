"""The dropout layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import final

from glassgrad.common.constraints import SHARE
from glassgrad.graph.node import Shape, Value
from glassgrad.nn.layer import LAYERS, BuildContext, Built, Layer, single_input
from glassgrad.ops.elementwise import select


@final
@dataclass(frozen=True, eq=False)
class Dropout(Layer):
    """In training, each element is set to 0 with probability ``rate``; the others are scaled by 1 / (1 - rate).

    In prediction the layer is the identity ("inverted" dropout). Source: N. Srivastava et al., "Dropout", JMLR 2014.
    """

    rate: float = 0.5

    constraints = MappingProxyType({"rate": SHARE})

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        """The shape of the input."""
        return single_input(self, inputs)

    def build(
        self,
        context: BuildContext,
        inputs: Sequence[Value],
        weights: Mapping[str, Value],
        state: Mapping[str, Value],
    ) -> Built:
        """x / (1 - rate) where the mask is True, else 0; x outside training."""
        (x,) = inputs
        if not context.training or self.rate == 0:
            return x, {}
        mask = context.mask(x.shape[1:], 1 - self.rate)
        return select(mask, x * (1 / (1 - self.rate)), 0.0), {}


LAYERS.add("dropout", Dropout)
