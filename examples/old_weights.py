"""Gradient descent compared with block coordinate descent: are all partial derivatives taken at the old weights?

The gradient consists of all partial derivatives at one point. A different method, block coordinate descent, updates
one weight tensor at a time and takes the partial derivatives of the next tensor at the weights updated so far. It can
work well, as shown below, but needs a pass through the network for each tensor. After one step, the difference
between the methods in tensor i is, to leading order,

    learning_rate^2 * sum over the tensors j updated before i of  H_ij g_j

with H the matrix of second derivatives. Half the learning rate therefore gives a quarter of the difference: with a
small rate the methods are hard to tell apart, with a large one they are not. Run it:
``python examples/old_weights.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from glassgrad.autodiff.sweeps import gradient, hessian_vector_product
from glassgrad.backends.base import Feed
from glassgrad.backends.reference import ReferenceBackend, evaluate
from glassgrad.data.digits import load_digits
from glassgrad.graph.node import Graph, Value
from glassgrad.ops.table import log_softmax, make_input, one_hot, reduce_mean, reduce_sum, tanh, zeros_like
from glassgrad.optim.optimizers import SGD
from glassgrad.program import Input, Output, Program

ROWS, HIDDEN = 128, 12
SHAPES = {
    "hidden.weight": (64, HIDDEN),
    "hidden.bias": (HIDDEN,),
    "output.weight": (HIDDEN, 10),
    "output.bias": (10,),
}
RATES = (0.8, 0.4, 0.2, 0.1, 0.05, 0.025)
STEPS = 20

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Row:
    """Results for one learning rate: distances in weight space after one step, losses after ``STEPS`` steps."""

    rate: float
    step: float
    difference: float
    predicted: float
    loss_together: float
    loss_one_by_one: float


class Experiment:
    """A network of two layers on 128 handwritten digits, and its training step as a compiled program."""

    def __init__(self) -> None:
        digits = load_digits()
        self.data: Arrays = {
            "image": digits.features[:ROWS].reshape(ROWS, 64) / 16.0,
            "digit": digits.targets[:ROWS].astype(np.int32),
        }
        random = np.random.default_rng(0)
        self.start: Arrays = {
            name: random.normal(size=shape) / np.sqrt(shape[0]) for name, shape in SHAPES.items()
        }
        image = make_input("image", (ROWS, 64), "float64")
        digit = make_input("digit", (ROWS,), "int32")
        rate = make_input("learning_rate", (), "float64")
        step = make_input("step", (), "uint32")
        self.params = {name: make_input(name, shape, "float64") for name, shape in SHAPES.items()}
        hidden = tanh(image @ self.params["hidden.weight"] + self.params["hidden.bias"])
        scores = hidden @ self.params["output.weight"] + self.params["output.bias"]
        self.loss = -reduce_mean(reduce_sum(one_hot(digit, 10, "float64") * log_softmax(scores), 1))

        wrt = list(self.params.values())
        gradients = dict(zip(self.params, gradient(self.loss, wrt), strict=True))
        updates, _ = SGD().update(gradients, self.params, {}, {"learning_rate": rate}, step)
        self.inputs = (
            Input("image", "data", image),
            Input("digit", "data", digit),
            *(Input(name, "param", value) for name, value in self.params.items()),
            Input("learning_rate", "hyper", rate),
            Input("step", "step", step),
        )
        program = Program("step", ROWS, self.inputs, updates, (Output("loss", self.loss),))
        self.executable = ReferenceBackend().compile(program.cleaned())

    def together(self, weights: Arrays, rate: float) -> tuple[Arrays, float]:
        """The weights after one step of gradient descent, and the loss before it."""
        feed = Feed(self.data, np.arange(ROWS, dtype=np.int32), weights, {}, {"learning_rate": rate})
        result = self.executable.run(feed)
        return result.params, float(result.outputs["loss"][0])

    def one_by_one(self, weights: Arrays, rate: float) -> Arrays:
        """One step of block coordinate descent: each tensor is updated at the weights changed so far."""
        for name in SHAPES:
            weights = weights | {name: self.together(weights, rate)[0][name]}
        return weights

    def leading_term(self) -> float:
        """The norm of (sum over j before i of H_ij g_j) over all tensors i, at the start."""
        wrt = list(self.params.values())
        slopes = gradient(self.loss, wrt)
        cross: list[Value] = []
        for i in range(1, len(wrt)):
            earlier = [slope if j < i else zeros_like(slope) for j, slope in enumerate(slopes)]
            cross.append(hessian_vector_product(self.loss, wrt, earlier)[i])
        graph_inputs = [item for item in self.inputs if item.role in ("data", "param")]
        graph = Graph(tuple(item.value for item in graph_inputs), tuple(cross))
        return norm(evaluate(graph, [(self.data | self.start)[item.name] for item in graph_inputs]))

    def row(self, rate: float, leading_term: float) -> Row:
        """One row of the table."""
        together, one_by_one = self.together(self.start, rate)[0], self.one_by_one(self.start, rate)
        step_length = norm([together[name] - self.start[name] for name in SHAPES])
        difference = norm([together[name] - one_by_one[name] for name in SHAPES])
        for _ in range(STEPS - 1):
            together, one_by_one = self.together(together, rate)[0], self.one_by_one(one_by_one, rate)
        losses = self.together(together, rate)[1], self.together(one_by_one, rate)[1]
        return Row(rate, step_length, difference, rate**2 * leading_term, *losses)


def norm(arrays: list[np.ndarray]) -> float:
    return float(np.sqrt(sum(np.sum(array * array) for array in arrays)))


def measure() -> list[Row]:
    """One row per learning rate; each rate is half the previous one."""
    experiment = Experiment()
    leading_term = experiment.leading_term()
    return [experiment.row(rate, leading_term) for rate in RATES]


def main() -> None:
    print("two layers, 64-12-10, on 128 digits: all tensors at once, compared with one after the other")
    print(f"{'':10}{'one step':>40}   {f'loss after {STEPS} steps':>24}")
    titles = ("rate", "length", "difference", "predicted", "falls by", "together", "one by one")
    print("{:>10}{:>10}{:>11}{:>10}{:>9}   {:>12}{:>12}".format(*titles))
    previous: Row | None = None
    for row in measure():
        ratio = f"{previous.difference / row.difference:.2f}" if previous else ""
        print(
            f"{row.rate:10.3f}{row.step:10.4f}{row.difference:11.5f}{row.predicted:10.5f}{ratio:>9}   "
            f"{row.loss_together:12.4f}{row.loss_one_by_one:12.4f}"
        )
        previous = row


if __name__ == "__main__":
    main()
