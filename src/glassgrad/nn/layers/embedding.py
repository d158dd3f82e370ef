"""The embedding layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import final

from glassgrad.common.constraints import COUNT
from glassgrad.graph.node import Shape, Value
from glassgrad.init.initializers import Initializer, initializer
from glassgrad.nn.layer import LAYERS, BuildContext, Built, Layer, ParameterSpec, Spec, single_input
from glassgrad.ops.indexing import gather_rows
from glassgrad.ops.structure import convert


@final
@dataclass(frozen=True, eq=False)
class Embedding(Layer):
    """A learned vector of ``dimension`` numbers for each of ``entries`` token indices.

    Rows (...) of indices -> (..., dimension). An index outside 0 to entries - 1 is clipped to this range.
    """

    entries: int
    dimension: int
    init: Initializer | Spec = "normal(1.0)"

    constraints = MappingProxyType({"entries": COUNT, "dimension": COUNT})

    def __post_init__(self) -> None:
        """Check the options."""
        super().__post_init__()
        object.__setattr__(self, "init", initializer(self.init))

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        """The input shape with ``dimension`` as an additional last axis."""
        return (*single_input(self, inputs), self.dimension)

    def weights(self, inputs: Sequence[Shape]) -> dict[str, ParameterSpec]:
        """``weights`` (entries, dimension)."""
        shape = (self.entries, self.dimension)
        return {"weights": ParameterSpec(shape, initializer(self.init), shape)}

    def build(
        self,
        context: BuildContext,
        inputs: Sequence[Value],
        weights: Mapping[str, Value],
        state: Mapping[str, Value],
    ) -> Built:
        """weights[index]."""
        return gather_rows(weights["weights"], convert(inputs[0], "int32")), {}


LAYERS.add("embedding", Embedding)
