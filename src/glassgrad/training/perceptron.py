"""The perceptron with its own learning rule, as a program without any derivative.

F. Rosenblatt, "The perceptron", 1958. A threshold has no useful gradient; the rule needs none: where the
answer is wrong, the weights move by the input. It finds a line between two classes exactly if there is one
(A. Novikoff, 1962), and never settles if there is none, as for XOR.
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

    ``fit`` sets ``weights_`` [inputs], ``bias_``, ``errors_`` (wrong answers in each epoch) and
    ``converged_``.
    """

    learning_rate: float = 1.0
    epochs: int = 100
    backend: Backend | str = DEFAULT
    weights_: Array = field(init=False, repr=False)
    bias_: float = field(init=False, repr=False)
    errors_: list[int] = field(init=False, repr=False)
    converged_: bool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Raises InputError for a number that is not allowed."""
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
        wrong = reshape(t, ()) - y
        with scope("update", "perceptron"):
            updates = {"weights": w + rate * wrong * row, "bias": b + rate * wrong}
        listed = (
            Input("features", "data", x),
            Input("targets", "data", t),
            Input("weights", "param", w),
            Input("bias", "param", b),
            Input("learning_rate", "hyper", rate),
        )
        return Program("perceptron", 1, listed, updates, (Output("wrong", wrong * wrong),)).cleaned()

    def fit(self, features: Any, targets: Any) -> Perceptron:
        """Learn from features [rows, inputs] and targets [rows] of 0 and 1, row by row, from zero weights.

        Stops after the first epoch without a wrong answer. Raises InputError for other shapes or targets.
        """
        x = np.ascontiguousarray(features, dtype=np.float64)
        t = np.ascontiguousarray(targets, dtype=np.float64)
        if x.ndim != 2 or t.shape != x.shape[:1] or not len(x) or not np.isin(t, (0.0, 1.0)).all():
            raise InputError("a perceptron learns from features [rows, inputs] and targets [rows] of 0 and 1")
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
        """0 or 1 for each row of features [rows, inputs]."""
        x = np.asarray(features, dtype=np.float64)
        return np.where(x @ self.weights_ + self.bias_ >= 0, 1, 0)
