"""The perceptron with its own learning rule, as a program without derivatives.

The rule is that of F. Rosenblatt, "The perceptron", 1958. The gradient of a threshold is useless, and the rule does
not need it: after a wrong prediction the weights move along the input. The rule converges if the classes are linearly
separable (A. Novikoff, 1962). Otherwise, as for XOR, it never converges.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from glassgrad.backends.base import Array, Backend, Feed
from glassgrad.common.constraints import Real, Whole, check_fields
from glassgrad.common.errors import InputError
from glassgrad.graph.node import scope
from glassgrad.nn.activations import activation
from glassgrad.ops.op import make_input
from glassgrad.ops.structure import reduce_sum, reshape
from glassgrad.program import Input, Output, Program
from glassgrad.training.backends import DEFAULT, backend


@dataclass
class Perceptron:
    """One neuron with a threshold: 1 where x @ weights + bias >= 0, else 0.

    ``fit`` sets ``weights_`` [inputs], ``bias_``, ``errors_`` (the number of wrong predictions in each epoch) and
    ``converged_``. Raises InputError for an invalid ``learning_rate`` or ``epochs``.
    """

    learning_rate: float = 1.0
    epochs: int = 100
    backend: Backend | str = DEFAULT
    weights_: Array = field(init=False, repr=False)
    bias_: float = field(init=False, repr=False)
    errors_: list[int] = field(init=False, repr=False)
    converged_: bool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Check the options."""
        check_fields(self, {"learning_rate": Real(above=0), "epochs": Whole(0, 2**31 - 1)}, "Perceptron")

    @staticmethod
    def program(inputs: int) -> Program:
        """One row, one step: y = step(x @ w + b); w <- w + rate * (t - y) * x; b <- b + rate * (t - y)."""
        x = make_input("features", (1, inputs), "float64")
        t = make_input("targets", (1,), "float64")
        w = make_input("weights", (inputs,), "float64")
        b = make_input("bias", (), "float64")
        rate = make_input("learning_rate", (), "float64")
        row = reshape(x, (inputs,))
        y = activation("step")(reduce_sum(row * w) + b)
        error = reshape(t, ()) - y
        with scope("update", "perceptron"):
            updates = {"weights": w + rate * error * row, "bias": b + rate * error}
        inputs_of_program = (
            Input("features", "data", x),
            Input("targets", "data", t),
            Input("weights", "param", w),
            Input("bias", "param", b),
            Input("learning_rate", "hyper", rate),
        )
        outputs = (Output("wrong", error * error),)
        return Program("perceptron", 1, inputs_of_program, updates, outputs).cleaned()

    def fit(self, features: Any, targets: Any) -> Perceptron:
        """Train on features [rows, inputs] and targets [rows] of 0 and 1, row by row, from zero weights.

        Stops after the first epoch without a wrong prediction. Raises InputError for other shapes or targets.
        """
        x = np.ascontiguousarray(features, dtype=np.float64)
        t = np.ascontiguousarray(targets, dtype=np.float64)
        if x.ndim != 2 or t.shape != x.shape[:1] or not len(x) or not np.isin(t, (0.0, 1.0)).all():
            raise InputError("a perceptron needs features [rows, inputs] and targets [rows] of 0 and 1")
        executable = backend(self.backend).compile(self.program(x.shape[1]))
        params: dict[str, Array] = {"weights": np.zeros(x.shape[1]), "bias": np.zeros(())}
        order = np.arange(len(x), dtype=np.int32)
        self.errors_ = []
        for _ in range(self.epochs):
            feed = Feed(
                {"features": x, "targets": t}, order, params, {}, {"learning_rate": self.learning_rate}
            )
            result = executable.run(feed)
            params = result.params
            self.errors_.append(int(result.outputs["wrong"].sum()))
            if self.errors_[-1] == 0:
                break
        self.weights_, self.bias_ = params["weights"], float(params["bias"])
        self.converged_ = bool(self.errors_) and self.errors_[-1] == 0
        return self

    def predict(self, features: Any) -> Array:
        """The class, 0 or 1, of each row of features [rows, inputs]."""
        x = np.asarray(features, dtype=np.float64)
        return np.where(x @ self.weights_ + self.bias_ >= 0, 1, 0)
