"""Gradient transformations: clipping, applied to all gradients before any weight is updated."""

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
    """The Euclidean norm over all elements of all ``gradients`` (of one float dtype), a scalar of that dtype.

    Infinite from where a square overflows: in float32, for elements beyond 1.8e19. Raises GraphError for an
    empty mapping.
    """
    squares = [reduce_sum(gradient * gradient) for gradient in gradients.values()]
    if not squares:
        raise GraphError("the norm of no gradients at all is not defined")
    total = squares[0]
    for square in squares[1:]:
        total = total + square
    return sqrt(total)


def clip_by_global_norm(gradients: Values, limit: Value) -> tuple[dict[str, Value], Value]:
    """``gradients`` scaled by one factor so that their global norm is at most ``limit``; and the norm before.

    R. Pascanu, T. Mikolov and Y. Bengio, On the difficulty of training recurrent neural networks, ICML 2013,
    algorithm 1. ``limit`` is a scalar of the gradients' dtype. Up to it, they pass unchanged to the bit.

    Where the norm is infinite or NaN no factor is right: limit / infinity would turn an overflow into
    gradients of zero, and training would stand still without a sign. Such a norm goes into every gradient,
    where it shows.
    """
    with scope("update", "clip by global norm"):
        norm = global_norm(gradients)
        shrink = select(norm > limit, limit / norm, 1.0)
        factor = select(is_finite(norm), shrink, norm)
        return {name: gradient * factor for name, gradient in gradients.items()}, norm


def clip_by_value(gradients: Values, limit: Value) -> dict[str, Value]:
    """Every element of ``gradients`` cut to the range from ``-limit`` to ``limit``, a scalar of their dtype.

    This changes the direction of the step. NaN stays NaN; an infinite element becomes the limit.
    """
    with scope("update", "clip by value"):
        return {name: maximum(-limit, minimum(gradient, limit)) for name, gradient in gradients.items()}


@final
@frozen
class GradientTransformation:
    """The clippings applied between gradients and update, and their default limits; None leaves one out.

    With both, the elements are cut first: an outlier then does not shrink everything else by the norm.
    Raises InputError for a limit that is not a finite number above 0.
    """

    clip_norm: float | None = None
    clip_value: float | None = None

    def __post_init__(self) -> None:
        check_fields(self, LIMITS)

    def hyperparameters(self) -> dict[str, float]:
        """The run-time inputs of the clippings and their default values."""
        limits = {"clip_norm": self.clip_norm, "clip_value": self.clip_value}
        return {name: float(limit) for name, limit in limits.items() if limit is not None}

    def apply(self, gradients: Values, hyper: Values) -> dict[str, Value]:
        """``gradients`` after the clippings, with their limits from ``hyper`` (scalars of the same dtype)."""
        clipped = dict(gradients)
        if self.clip_value is not None:
            clipped = clip_by_value(clipped, hyper["clip_value"])
        if self.clip_norm is not None:
            clipped, _ = clip_by_global_norm(clipped, hyper["clip_norm"])
        return clipped
