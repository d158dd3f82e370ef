"""Dropout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import final

from glassgrad.common.constraints import SHARE
from glassgrad.graph.node import Shape, Value
from glassgrad.nn.layer import LAYERS, BuildContext, Built, Layer, one
from glassgrad.ops.elementwise import select


@final
@dataclass(frozen=True, eq=False)
class Dropout(Layer):
    """In training, each element is 0 with probability ``rate``, and the others are scaled by 1 / (1 - rate).

    N. Srivastava et al., "Dropout", JMLR 2014, in the "inverted" form: prediction changes nothing.
    """

    rate: float = 0.5

    constraints = MappingProxyType({"rate": SHARE})

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        """The shape of the input."""
        return one(self, inputs)

    def build(
        self,
        context: BuildContext,
        inputs: Sequence[Value],
        weights: Mapping[str, Value],
        state: Mapping[str, Value],
    ) -> Built:
        """x / (1 - rate) where the mask holds, else 0; x outside of training."""
        (x,) = inputs
        if not context.training or self.rate == 0:
            return x, {}
        mask = context.mask(x.shape[1:], 1 - self.rate)
        return select(mask, x * (1 / (1 - self.rate)), 0.0), {}


LAYERS.add("dropout", Dropout)
