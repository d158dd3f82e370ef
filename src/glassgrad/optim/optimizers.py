"""Optimizers: the graph that computes new weights from gradients and old weights.

Every hyperparameter is a run-time input of the compiled step. The values passed to the constructor are the
defaults of these inputs. The constructor also fixes the structure of the step: ``momentum=0`` or
``weight_decay=0`` leaves out the term, its state and its input.

All optimizers decouple weight decay (I. Loshchilov and F. Hutter, Decoupled weight decay regularization,
ICLR 2019): each step also subtracts ``learning_rate * weight_decay * w``, and the gradient does not include
the decay. Only parameters with two or more axes decay. Biases and the scales and shifts of normalization do not.
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

OMITTED_AT_ZERO = ("momentum", "weight_decay")
"""Hyperparameters whose term is left out of the graph if their default is 0."""

HYPERPARAMETER_CONSTRAINTS: Mapping[str, Constraint] = {
    "momentum": SHARE,
    "beta1": SHARE,
    "beta2": SHARE,
    "decay": SHARE,
    "epsilon": Real(above=0),
}
"""Constraints by hyperparameter name; any other hyperparameter is a number of at least 0."""


@dataclass(frozen=True, eq=False)
class Optimizer(Part, ABC):
    """Base of all optimizers: the rule that turns gradients into new weights.

    A subclass is final. It defines fields and the methods ``slots``, ``scalars`` and ``move``. Fields are
    hyperparameters (numbers, ``learning_rate`` first) or structural options (booleans). Raises InputError for a
    number that is negative or not finite, and for an averaging rate (momentum, beta, decay) of 1 or more. A class
    may replace these rules with ``constraints`` of its own.
    """

    def __post_init__(self) -> None:
        constraints: dict[str, Constraint] = {
            field.name: Flag() if isinstance(field.default, bool) else Real(minimum=0)
            for field in fields(self)
        }
        constraints |= {
            name: HYPERPARAMETER_CONSTRAINTS[name]
            for name in constraints
            if name in HYPERPARAMETER_CONSTRAINTS
        }
        check_fields(self, constraints | dict(self.constraints), self.label())

    @final
    def options(self) -> dict[str, float | bool]:
        """The values of all fields: hyperparameters and structural options."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @final
    def default(self, name: str) -> float | None:
        """The class's default of the hyperparameter ``name``; None if there is no such hyperparameter."""
        value = next((field.default for field in fields(self) if field.name == name), None)
        return float(value) if isinstance(value, float | int) and not isinstance(value, bool) else None

    @abstractmethod
    def slots(self) -> dict[str, float]:
        """The optimizer state per parameter: slot names and initial fill values.

        Each slot has the shape and dtype of its parameter; its name in the program is ``f"{slot}/{parameter}"``.
        """

    @abstractmethod
    def scalars(self, hyper: Values, t: Value) -> Values:
        """The scalars that ``move`` needs, from the hyperparameters and the step number ``t`` (counted from 1)."""

    @abstractmethod
    def move(self, gradient: Value, slots: Values, scalars: Values) -> tuple[Value, dict[str, Value]]:
        """For one parameter: the value to subtract from it, and its new slots."""

    @final
    def hyperparameters(self) -> dict[str, float]:
        """The hyperparameters in use and their defaults, ``learning_rate`` first. They are run-time inputs."""
        return {
            name: float(value)
            for name, value in self.options().items()
            if not isinstance(value, bool) and not (name in OMITTED_AT_ZERO and value == 0)
        }

    @final
    def update(
        self, gradients: Values, params: Values, state: Values, hyper: Values, step: Value
    ) -> tuple[dict[str, Value], dict[str, Value]]:
        """The new parameters and the new state by name. All are computed from the old parameters and state.

        ``gradients`` and ``params`` have the same names, shapes and dtype. ``hyper`` holds scalars of that
        dtype, at least those of ``hyperparameters()``. ``step`` is the program's uint32 scalar, from 0.
        Raises GraphError that names a missing gradient, parameter, state or hyperparameter.
        """
        slots = self.slots()
        _require("a gradient for parameter", params, gradients)
        _require("parameter", gradients, params)
        _require("state", (f"{slot}/{name}" for slot in slots for name in params), state)
        _require("hyperparameter", self.hyperparameters(), hyper)
        rate = hyper["learning_rate"]
        with scope("update", type(self).__name__):
            # Convert before adding 1: the largest uint32 step would wrap around to t = 0.
            scalars = self.scalars(hyper, convert(step, rate.dtype) + 1)
            decay_factor = (
                1 - rate * hyper["weight_decay"] if "weight_decay" in self.hyperparameters() else None
            )
        new_params: dict[str, Value] = {}
        new_state: dict[str, Value] = {}
        for name, old in params.items():
            with scope("update", layer_of(name)):
                old_slots = {slot: state[f"{slot}/{name}"] for slot in slots}
                change, new_slots = self.move(gradients[name], old_slots, scalars)
                decayed = old * decay_factor if decay_factor is not None and len(old.shape) >= 2 else old
                new_params[name] = decayed - change
                new_state |= {f"{slot}/{name}": new_slots[slot] for slot in slots}
        return new_params, new_state


OPTIMIZERS: Registry[Optimizer] = Registry("optimizer", Optimizer)  # type: ignore[type-abstract]


def optimizer(spec: str | Mapping[str, Any] | Optimizer) -> Optimizer:
    """The optimizer for a specification such as ``"adam"`` or ``"sgd(0.1, momentum=0.9)"``; see ``Registry.make``."""
    return OPTIMIZERS.make(spec)


@final
@dataclass(frozen=True, eq=False)
class SGD(Optimizer):
    """Gradient descent, with heavy-ball or Nesterov momentum (I. Sutskever et al., ICML 2013).

    ``v <- momentum v + g; w <- w - learning_rate v``, or with ``nesterov``
    ``w <- w - learning_rate (g + momentum v)``. The velocity does not contain the learning rate, so that a
    schedule takes effect at once. Without momentum the step is ``w <- w - learning_rate g``, without a velocity.
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
        """The velocity, if momentum is above 0."""
        return {"velocity": 0.0} if self.momentum > 0 else {}

    def scalars(self, hyper: Values, t: Value) -> Values:
        """The hyperparameters unchanged."""
        return hyper

    def move(self, gradient: Value, slots: Values, scalars: Values) -> tuple[Value, dict[str, Value]]:
        """``learning_rate`` times the gradient (plain), the new velocity (momentum), or their Nesterov sum."""
        rate = scalars["learning_rate"]
        if self.momentum == 0:
            return rate * gradient, {}
        momentum = scalars["momentum"]
        velocity = momentum * slots["velocity"] + gradient
        direction = gradient + momentum * velocity if self.nesterov else velocity
        return rate * direction, {"velocity": velocity}


@dataclass(frozen=True, eq=False)
class _Adam(Optimizer):
    """Base of Adam and AdamW, which differ only in the default of ``weight_decay``."""

    learning_rate: float = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0

    @final
    def slots(self) -> dict[str, float]:
        """The running means of the gradient and of the squared gradient."""
        return {"first_moment": 0.0, "second_moment": 0.0}

    @final
    def scalars(self, hyper: Values, t: Value) -> Values:
        """The bias corrections of both moments, which start at 0."""
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
        """The corrected first moment divided by the square root of the corrected second moment."""
        first = scalars["beta1"] * slots["first_moment"] + scalars["1 - beta1"] * gradient
        second = scalars["beta2"] * slots["second_moment"] + scalars["1 - beta2"] * (gradient * gradient)
        denominator = sqrt(second * scalars["correction"]) + scalars["epsilon"]
        return scalars["rate"] * first / denominator, {"first_moment": first, "second_moment": second}


@final
@dataclass(frozen=True, eq=False)
class Adam(_Adam):
    """Adam (D. Kingma and J. Ba, ICLR 2015, algorithm 1; epsilon is added outside the square root).

    ``m <- beta1 m + (1 - beta1) g``, ``s <- beta2 s + (1 - beta2) g^2``, and with t counted from 1
    ``w <- w - learning_rate (m / (1 - beta1^t)) / (sqrt(s / (1 - beta2^t)) + epsilon)``. Weight decay is
    decoupled, so ``adam(weight_decay=0.01)`` equals ``adamw``.
    """


@final
@dataclass(frozen=True, eq=False)
class AdamW(_Adam):
    """Adam with decoupled weight decay, 0.01 by default (Loshchilov and Hutter, ICLR 2019, algorithm 2)."""

    weight_decay: float = 0.01


@final
@dataclass(frozen=True, eq=False)
class RMSprop(Optimizer):
    """Each weight's step is divided by the running root mean square of its gradient. No momentum, not centred.

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
        """The hyperparameters, and the weight of the new square in the running mean."""
        return {**hyper, "1 - decay": 1 - hyper["decay"]}

    def move(self, gradient: Value, slots: Values, scalars: Values) -> tuple[Value, dict[str, Value]]:
        """The gradient divided by its running root mean square."""
        square = scalars["decay"] * slots["mean_square"] + scalars["1 - decay"] * (gradient * gradient)
        denominator = sqrt(square) + scalars["epsilon"]
        return scalars["learning_rate"] * gradient / denominator, {"mean_square": square}


@final
@dataclass(frozen=True, eq=False)
class Adagrad(Optimizer):
    """Each weight's step is divided by the square root of the sum of its squared gradients so far.

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
        """The hyperparameters unchanged."""
        return hyper

    def move(self, gradient: Value, slots: Values, scalars: Values) -> tuple[Value, dict[str, Value]]:
        """The gradient divided by the square root of its sum of squares."""
        total = slots["sum_of_squares"] + gradient * gradient
        denominator = sqrt(total) + scalars["epsilon"]
        return scalars["learning_rate"] * gradient / denominator, {"sum_of_squares": total}


def _require(kind: str, required_names: Iterable[str], actual_names: Iterable[str]) -> None:
    present = set(actual_names)
    for name in required_names:
        if name not in present:
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
