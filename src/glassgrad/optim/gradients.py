"""Gradient transformations: clipping of all gradients before the weights are updated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

from glassgrad.common.constraints import Constraint, Optional, Real, check_fields
from glassgrad.common.errors import GraphError
from glassgrad.common.frozen import frozen
from glassgrad.graph.node import Value, scope
from glassgrad.ops.elementwise import is_finite, maximum, minimum, select, sqrt
from glassgrad.ops.structure import reduce_sum

Values = Mapping[str, Value]

LIMITS: Mapping[str, Constraint] = {
    "clip_norm": Optional(Real(above=0)),
    "clip_value": Optional(Real(above=0)),
}


def global_norm(gradients: Values) -> Value:
    """The Euclidean norm over all elements of all ``gradients``: a scalar of their common float dtype.

    The norm is infinite if a square overflows: in float32, if an element exceeds 1.8e19. Raises GraphError for
    an empty mapping.
    """
    squares = [reduce_sum(gradient * gradient) for gradient in gradients.values()]
    if not squares:
        raise GraphError("global_norm got no gradients; pass at least one")
    total = squares[0]
    for square in squares[1:]:
        total = total + square
    return sqrt(total)


def clip_by_global_norm(gradients: Values, limit: Value) -> tuple[dict[str, Value], Value]:
    """Scale all ``gradients`` by one factor so that their global norm is at most ``limit``.

    Returns the clipped gradients and the norm before clipping. ``limit`` is a scalar of the gradients' dtype.
    Gradients with a norm of at most ``limit`` are unchanged to the bit. Source: R. Pascanu, T. Mikolov and
    Y. Bengio, On the difficulty of training recurrent neural networks, ICML 2013, algorithm 1.

    If the norm is infinite or NaN, every gradient is multiplied by the norm, so that the overflow is visible.
    The factor limit / infinity would give zero gradients, and training would stop silently.
    """
    with scope("update", "clip by global norm"):
        norm = global_norm(gradients)
        finite_factor = select(norm > limit, limit / norm, 1.0)
        factor = select(is_finite(norm), finite_factor, norm)
        return {name: gradient * factor for name, gradient in gradients.items()}, norm


def clip_by_value(gradients: Values, limit: Value) -> dict[str, Value]:
    """Clip every element of ``gradients`` to the range [-limit, limit]; ``limit`` is a scalar of their dtype.

    Clipping by value changes the direction of the step. NaN stays NaN; an infinite element becomes the limit.
    """
    with scope("update", "clip by value"):
        return {name: maximum(-limit, minimum(gradient, limit)) for name, gradient in gradients.items()}


@final
@frozen
class GradientTransformation:
    """Gradient clipping between the gradients and the update, with default limits; None means no clipping.

    With both limits, elements are clipped first, so that one outlier does not shrink all other gradients through
    the norm. Raises InputError for a limit that is not a finite number above 0.
    """

    clip_norm: float | None = None
    clip_value: float | None = None

    def __post_init__(self) -> None:
        check_fields(self, LIMITS)

    def hyperparameters(self) -> dict[str, float]:
        """The limits in use, by name. They are run-time inputs of the step; the values are their defaults."""
        limits = {"clip_norm": self.clip_norm, "clip_value": self.clip_value}
        return {name: float(limit) for name, limit in limits.items() if limit is not None}

    def apply(self, gradients: Values, hyper: Values) -> dict[str, Value]:
        """The clipped ``gradients``. ``hyper`` has the limits as scalars of the same dtype."""
        clipped = dict(gradients)
        if self.clip_value is not None:
            clipped = clip_by_value(clipped, hyper["clip_value"])
        if self.clip_norm is not None:
            clipped, _ = clip_by_global_norm(clipped, hyper["clip_norm"])
        return clipped
