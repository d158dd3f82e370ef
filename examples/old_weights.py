"""Why every partial derivative is taken at the old weights, in numbers.

The gradient is the list of all partial derivatives at one point. Updating one weight tensor, and taking the
partial derivatives of the next one at the weights that this has already changed, is another method: block
coordinate descent. It can do well, as below, but it needs a pass through the network for every tensor. How
far do the two end up from each other after one step? To leading order, tensor i by

    learning_rate^2 * sum over the tensors j updated before i of  H_ij g_j

with H the matrix of second derivatives: half the learning rate, a quarter of the difference. A small rate
hides which of the two a program does; a large one does not. Run it: ``python examples/old_weights.py``.
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
    """What one learning rate does: distances in weight space after one step, losses after ``STEPS`` steps."""

    rate: float
    step: float
    difference: float
    predicted: float
    loss_together: float
    loss_one_by_one: float


class Experiment:
    """A network of two layers on 128 handwritten digits, with its step as one compiled program."""

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
        """One step of gradient descent, and the loss before it."""
        feed = Feed(self.data, np.arange(ROWS, dtype=np.int32), weights, {}, {"learning_rate": rate})
        result = self.executable.run(feed)
        return result.params, float(result.outputs["loss"][0])

    def one_by_one(self, weights: Arrays, rate: float) -> Arrays:
        """One tensor after the other, each by its partial derivatives at what the weights are by then."""
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
        used = [item for item in self.inputs if item.role in ("data", "param")]
        graph = Graph(tuple(item.value for item in used), tuple(cross))
        return norm(evaluate(graph, [(self.data | self.start)[item.name] for item in used]))

    def row(self, rate: float, leading_term: float) -> Row:
        """One line of the table."""
        after, other = self.together(self.start, rate)[0], self.one_by_one(self.start, rate)
        taken = norm([after[name] - self.start[name] for name in SHAPES])
        apart = norm([after[name] - other[name] for name in SHAPES])
        for _ in range(STEPS - 1):
            after, other = self.together(after, rate)[0], self.one_by_one(other, rate)
        losses = self.together(after, rate)[1], self.together(other, rate)[1]
        return Row(rate, taken, apart, rate**2 * leading_term, *losses)


def norm(arrays: list[np.ndarray]) -> float:
    return float(np.sqrt(sum(np.sum(array * array) for array in arrays)))


def measure() -> list[Row]:
    """One row per learning rate, falling by halves."""
    experiment = Experiment()
    leading_term = experiment.leading_term()
    return [experiment.row(rate, leading_term) for rate in RATES]


def main() -> None:
    print("two layers, 64-12-10, on 128 digits: all tensors together, against one after the other")
    print(f"{'':10}{'one step':>40}   {f'loss after {STEPS} steps':>24}")
    titles = ("rate", "length", "difference", "predicted", "falls by", "together", "one by one")
    print("{:>10}{:>10}{:>11}{:>10}{:>9}   {:>12}{:>12}".format(*titles))
    before: Row | None = None
    for row in measure():
        ratio = f"{before.difference / row.difference:.2f}" if before else ""
        print(
            f"{row.rate:10.3f}{row.step:10.4f}{row.difference:11.5f}{row.predicted:10.5f}{ratio:>9}   "
            f"{row.loss_together:12.4f}{row.loss_one_by_one:12.4f}"
        )
        before = row


if __name__ == "__main__":
    main()
