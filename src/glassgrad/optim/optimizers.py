"""Optimizers: from gradients and old weights to new weights, as graph.

Every number of an optimizer is a run-time input of the compiled step; the numbers given when it is made are
their defaults. What the step looks like is decided when the optimizer is made: ``momentum=0`` or
``weight_decay=0`` leaves out the term, and with it the state and the input that it would need.

Weight decay is decoupled everywhere (I. Loshchilov and F. Hutter, Decoupled weight decay regularization,
ICLR 2019): ``w`` shrinks by ``learning_rate * weight_decay * w`` beside the step, and the gradient does not
see it. It applies to parameters of two or more axes only: biases, and the scales and shifts of normalization,
are left alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, final

from glassgrad.common.constraints import SHARE, Constraint, Flag, Real, check_fields
from glassgrad.common.errors import GraphError, InputError
from glassgrad.common.layer_names import layer_of
from glassgrad.common.part import Part
from glassgrad.common.registry import Registry
from glassgrad.graph.node import Value, scope
from glassgrad.ops.elementwise import sqrt
from glassgrad.ops.structure import convert

Values = Mapping[str, Value]

OPTIONAL = ("momentum", "weight_decay")
"""Hyperparameters whose term is not built at all where the default is 0."""

HYPERPARAMETERS: Mapping[str, Constraint] = {
    "momentum": SHARE,
    "beta1": SHARE,
    "beta2": SHARE,
    "decay": SHARE,
    "epsilon": Real(above=0),
}
"""What hyperparameters of these names may be; any other is a number of at least 0."""


@dataclass(frozen=True, eq=False)
class Optimizer(Part, ABC):
    """How weights follow their gradients. A subclass is final: its fields, and the three methods below.

    Fields are hyperparameters (numbers, ``learning_rate`` first) or structural choices (booleans). Raises
    InputError for a number that is negative or not finite, and for a rate of averaging of 1 or more. A class may
    state other ``constraints`` for its fields.
    """

    def __post_init__(self) -> None:
        constraints: dict[str, Constraint] = {
            field.name: Flag() if isinstance(field.default, bool) else Real(minimum=0)
            for field in fields(self)
        }
        constraints |= {name: HYPERPARAMETERS[name] for name in constraints if name in HYPERPARAMETERS}
        check_fields(self, constraints | dict(self.constraints), self.label())

    @final
    def options(self) -> dict[str, float | bool]:
        """The fields, hyperparameters and choices, and their values."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @final
    def default(self, name: str) -> float | None:
        """The default of the hyperparameter ``name``; None where there is no such number."""
        value = next((field.default for field in fields(self) if field.name == name), None)
        return float(value) if isinstance(value, float | int) and not isinstance(value, bool) else None

    @abstractmethod
    def slots(self) -> dict[str, float]:
        """The arrays kept per parameter between steps, and what they are filled with at the start.

        Each has the shape and dtype of its parameter; the program calls it ``f"{slot}/{parameter}"``.
        """

    @abstractmethod
    def scalars(self, hyper: Values, t: Value) -> Values:
        """What every parameter's move needs, from the hyperparameters and the step's number ``t``, from 1."""

    @abstractmethod
    def move(self, gradient: Value, slots: Values, scalars: Values) -> tuple[Value, dict[str, Value]]:
        """For one parameter: what to subtract from it, and its new slots."""

    @final
    def hyperparameters(self) -> dict[str, float]:
        """The run-time inputs of the step and their default values, the learning rate first."""
        return {
            name: float(value)
            for name, value in self.options().items()
            if not isinstance(value, bool) and not (name in OPTIONAL and value == 0)
        }

    @final
    def update(
        self, gradients: Values, params: Values, state: Values, hyper: Values, step: Value
    ) -> tuple[dict[str, Value], dict[str, Value]]:
        """The new parameters and the new state by name, all computed from the old ones.

        ``gradients`` and ``params`` have the same names, shapes and dtype. ``hyper`` holds scalars of that
        dtype, at least those of ``hyperparameters()``. ``step`` is the program's uint32 scalar, from 0.
        Raises GraphError naming what is missing.
        """
        slots = self.slots()
        _need("a gradient for parameter", params, gradients)
        _need("parameter", gradients, params)
        _need("state", (f"{slot}/{name}" for slot in slots for name in params), state)
        _need("hyperparameter", self.hyperparameters(), hyper)
        rate = hyper["learning_rate"]
        with scope("update", type(self).__name__):
            # Converted first: a uint32 step would wrap around to t = 0 at its end.
            scalars = self.scalars(hyper, convert(step, rate.dtype) + 1)
            keep = 1 - rate * hyper["weight_decay"] if "weight_decay" in self.hyperparameters() else None
        new_params: dict[str, Value] = {}
        new_state: dict[str, Value] = {}
        for name, old in params.items():
            with scope("update", layer_of(name)):
                moved, fresh = self.move(
                    gradients[name], {slot: state[f"{slot}/{name}"] for slot in slots}, scalars
                )
                kept = old * keep if keep is not None and len(old.shape) >= 2 else old
                new_params[name] = kept - moved
                new_state |= {f"{slot}/{name}": fresh[slot] for slot in slots}
        return new_params, new_state


OPTIMIZERS: Registry[Optimizer] = Registry("optimizer", Optimizer)  # type: ignore[type-abstract]


def optimizer(spec: str | Mapping[str, Any] | Optimizer) -> Optimizer:
    """The optimizer described, e.g. ``"adam"`` or ``"sgd(0.1, momentum=0.9)"``; see ``Registry.make``."""
    return OPTIMIZERS.make(spec)


@final
@dataclass(frozen=True, eq=False)
class SGD(Optimizer):
    """Gradient descent, with heavy-ball or Nesterov momentum (I. Sutskever et al., ICML 2013).

    ``v <- momentum v + g; w <- w - learning_rate v``, or with ``nesterov``
    ``w <- w - learning_rate (g + momentum v)``: the velocity does not contain the learning rate, so that a
    schedule acts at once. Without momentum there is no velocity: ``w <- w - learning_rate g``.
    """

    learning_rate: float = 0.01
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov and self.momentum == 0:
            raise InputError("optimizer 'sgd': nesterov needs a momentum above 0, for example momentum=0.9")

    def slots(self) -> dict[str, float]:
        """The velocity, where there is momentum."""
        return {"velocity": 0.0} if self.momentum > 0 else {}

    def scalars(self, hyper: Values, t: Value) -> Values:
        """The hyperparameters as they are."""
        return hyper

    def move(self, gradient: Value, slots: Values, scalars: Values) -> tuple[Value, dict[str, Value]]:
        """``learning_rate`` times gradient, velocity, or the gradient and the velocity that it leads to."""
        rate = scalars["learning_rate"]
        if self.momentum == 0:
            return rate * gradient, {}
        momentum = scalars["momentum"]
        velocity = momentum * slots["velocity"] + gradient
        ahead = gradient + momentum * velocity if self.nesterov else velocity
        return rate * ahead, {"velocity": velocity}


@dataclass(frozen=True, eq=False)
class _Adam(Optimizer):
    """What Adam and AdamW share; they differ in a default only."""

    learning_rate: float = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0

    @final
    def slots(self) -> dict[str, float]:
        """The running means of the gradient and of its square."""
        return {"first_moment": 0.0, "second_moment": 0.0}

    @final
    def scalars(self, hyper: Values, t: Value) -> Values:
        """Both corrections of the bias towards the zeros that the moments start from."""
        beta1, beta2 = hyper["beta1"], hyper["beta2"]
        return {
            **hyper,
            "1 - beta1": 1 - beta1,
            "1 - beta2": 1 - beta2,
            "rate": hyper["learning_rate"] / (1 - beta1**t),
            "correction": 1 / (1 - beta2**t),
        }

    @final
    def move(self, gradient: Value, slots: Values, scalars: Values) -> tuple[Value, dict[str, Value]]:
        """The corrected mean, divided by the root of the corrected mean square."""
        first = scalars["beta1"] * slots["first_moment"] + scalars["1 - beta1"] * gradient
        second = scalars["beta2"] * slots["second_moment"] + scalars["1 - beta2"] * (gradient * gradient)
        spread = sqrt(second * scalars["correction"]) + scalars["epsilon"]
        return scalars["rate"] * first / spread, {"first_moment": first, "second_moment": second}


@final
@dataclass(frozen=True, eq=False)
class Adam(_Adam):
    """Adam (D. Kingma and J. Ba, ICLR 2015, algorithm 1; epsilon outside of the corrected root).

    ``m <- beta1 m + (1 - beta1) g``, ``s <- beta2 s + (1 - beta2) g^2``, and with t counted from 1
    ``w <- w - learning_rate (m / (1 - beta1^t)) / (sqrt(s / (1 - beta2^t)) + epsilon)``. Its weight decay, if
    any, is decoupled too, so ``adam(weight_decay=0.01)`` is ``adamw``.
    """


@final
@dataclass(frozen=True, eq=False)
class AdamW(_Adam):
    """Adam with decoupled weight decay, 0.01 by default (Loshchilov and Hutter, ICLR 2019, algorithm 2)."""

    weight_decay: float = 0.01


@final
@dataclass(frozen=True, eq=False)
class RMSprop(Optimizer):
    """Each weight's step divided by the running root mean square of its gradient; no momentum, not centred.

    ``s <- decay s + (1 - decay) g^2; w <- w - learning_rate g / (sqrt(s) + epsilon)`` (T. Tieleman and
    G. Hinton, Neural networks for machine learning, lecture 6.5, 2012).
    """

    learning_rate: float = 0.001
    decay: float = 0.9
    epsilon: float = 1e-8
    weight_decay: float = 0.0

    def slots(self) -> dict[str, float]:
        """The running mean of the squared gradient."""
        return {"mean_square": 0.0}

    def scalars(self, hyper: Values, t: Value) -> Values:
        """The weight of the new square."""
        return {**hyper, "1 - decay": 1 - hyper["decay"]}

    def move(self, gradient: Value, slots: Values, scalars: Values) -> tuple[Value, dict[str, Value]]:
        """The gradient divided by its root mean square."""
        square = scalars["decay"] * slots["mean_square"] + scalars["1 - decay"] * (gradient * gradient)
        spread = sqrt(square) + scalars["epsilon"]
        return scalars["learning_rate"] * gradient / spread, {"mean_square": square}


@final
@dataclass(frozen=True, eq=False)
class Adagrad(Optimizer):
    """Each weight's step divided by the root of the sum of all its squared gradients so far.

    ``s <- s + g^2; w <- w - learning_rate g / (sqrt(s) + epsilon)`` (J. Duchi, E. Hazan and Y. Singer,
    JMLR 12, 2011, diagonal form).
    """

    learning_rate: float = 0.01
    epsilon: float = 1e-10
    weight_decay: float = 0.0

    def slots(self) -> dict[str, float]:
        """The sum of the squared gradients."""
        return {"sum_of_squares": 0.0}

    def scalars(self, hyper: Values, t: Value) -> Values:
        """The hyperparameters as they are."""
        return hyper

    def move(self, gradient: Value, slots: Values, scalars: Values) -> tuple[Value, dict[str, Value]]:
        """The gradient divided by the root of its sum of squares."""
        total = slots["sum_of_squares"] + gradient * gradient
        spread = sqrt(total) + scalars["epsilon"]
        return scalars["learning_rate"] * gradient / spread, {"sum_of_squares": total}


def _need(kind: str, wanted: Iterable[str], given: Iterable[str]) -> None:
    known = set(given)
    for name in wanted:
        if name not in known:
            raise GraphError(f"the optimizer's update lacks {kind} {name!r}")


_CLASSES: dict[str, type[Optimizer]] = {
    "sgd": SGD,
    "adam": Adam,
    "adamw": AdamW,
    "rmsprop": RMSprop,
    "adagrad": Adagrad,
}
for _name, _class in _CLASSES.items():
    OPTIMIZERS.add(_name, _class)
