"""Thirty layers, one difference: how the weights start.

A layer of ReLU neurons multiplies the variance of its signal by n * Var(w) / 2, with n its number of inputs:
half of the signal is cut off. Thirty such factors are multiplied on the way up, and thirty like them on the
way back of the gradient. With Var(w) = 2 / n (He et al. 2015) each is 1. With Xavier's 1 / n, made for tanh,
each is 1/2: after thirty layers 2^-30, and as little gradient arrives at the first layer. A fixed standard
deviation of 0.01 is far too small for this width, and 1 far too large. Layer-sequential unit variance (Mishkin
and Matas 2016) measures instead of computing: it scales each layer on the data, so the factors are exact.

Everything else is the same: data, width, optimizer, seed. The gradient is clipped, so that no start is hurt by
a first step that is merely too long. Run it: ``python examples/deep_stack.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

import glassgrad as gg
from glassgrad.backends.reference import evaluate
from glassgrad.losses.base import batch_loss

DEPTH, WIDTH, EPOCHS = 30, 64, 8
STARTS = ("he_normal", "lsuv", "xavier_normal", "normal(0.01)", "normal(1.0)")
SHOWN = (1, 10, 20, 30)
OPTIONS = {
    "layers": [WIDTH] * DEPTH,
    "activation": "relu",
    "optimizer": "sgd(momentum=0.9)",
    "learning_rate": 0.05,
    "schedule": "constant",
    "clip_norm": 0.1,
    "validation": 0,
}


@dataclass(frozen=True)
class Row:
    """One way to start: what it looks like before any training, and what it comes to."""

    init: str
    variances: list[float]
    """Of the pre-activations of each layer, over 512 digits and all neurons."""
    gradient: float
    """The size (Euclidean norm) of the gradient by the first layer's weights."""
    diverged: bool
    loss: float
    accuracy: float


def first_gradient(model: gg.Model, features: np.ndarray, targets: np.ndarray) -> float:
    """The norm of the gradient of the loss by the first layer's weights, in float64."""
    x = gg.make_input("features", features.shape, "float64")
    params = {name: gg.make_input(name, array.shape, "float64") for name, array in model.weights.items()}
    every = gg.ops.constant(np.ones(len(features), bool), "bool")
    output = model.network.build(x, params, {}, row_mask=every).output
    ones = gg.ops.constant(np.ones(len(features)), "float64")
    loss = batch_loss(model.loss, output, gg.ops.constant(targets, "int32"), ones)
    (slope,) = gg.gradient(loss, [params["dense_1.weights"]])
    (found,) = evaluate(gg.Graph((x, *params.values()), (slope,)), [features, *model.weights.values()])
    return float(np.linalg.norm(found))


def measure(init: str, epochs: int = EPOCHS) -> Row:
    """Start, look, train."""
    digits = gg.load_source("digits")
    some, labels = digits.features[:512], digits.targets[:512]
    start = gg.train(digits, init=init, epochs=0, **OPTIONS).model
    names = [f"dense_{number}.preactivation" for number in range(1, DEPTH + 2)]
    inside = start.inside(some, *names)
    variances = [float(inside[name].var(dtype=np.float64)) for name in names]
    size = first_gradient(start, start.prepare(some), start.schema.encode_targets(labels, "float64"))
    run = gg.train(digits, init=init, epochs=epochs, **OPTIONS)
    loss = run.history[-1]["train_loss"] if run.history else float("nan")
    return Row(init, variances, size, run.status == "diverged", loss, run.metrics["test"]["accuracy"])


def table(rows: Sequence[Row]) -> str:
    """The measurements as text."""
    title = f"{DEPTH} layers of {WIDTH} ReLU neurons, digits, {EPOCHS} epochs; chance is 10 %, loss 2.303"
    columns = "".join(f"{f'layer {number}':>11}" for number in SHOWN)
    lines = [title, f"{'':15}{'variance of the signal at the start':>{11 * len(SHOWN)}}"]
    lines.append(f"{'start':15}{columns}{'gradient of 1':>16}{'loss':>9}{'test':>8}")
    for row in rows:
        shown = "".join(f"{row.variances[number - 1]:11.1e}" for number in SHOWN)
        loss = "diverged" if row.diverged else f"{row.loss:.3f}"
        lines.append(f"{row.init:15}{shown}{row.gradient:16.1e}{loss:>9}{row.accuracy:8.1%}")
    return "\n".join(lines)


def main() -> None:
    print(table([measure(init) for init in STARTS]))


if __name__ == "__main__":
    main()
