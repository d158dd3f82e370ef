"""Thirty layers with different initial weights.

A layer of ReLU neurons multiplies the variance of the signal by n * Var(w) / 2, with n inputs, because ReLU sets half
of the signal to 0. Thirty layers multiply thirty such factors in the forward pass, and about the same factors in the
backward pass. With Var(w) = 2 / n (He et al. 2015) each factor is 1. With Xavier's 1 / n, meant for tanh, each is
1/2: after thirty layers the signal is smaller by 2^-30, and so is the gradient at the first layer. A fixed standard
deviation of 0.01 is far too small for this width, and 1 is far too large. Layer-sequential unit variance (Mishkin and
Matas 2016) does not rely on the formula: it scales each layer on the data, so that the factors are exact.

Data, width, optimizer and seed are the same for all rows. The gradient is clipped, so that no initialization fails
only because the first step is too long. Run it: ``python examples/deep_stack.py``.
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
SHOWN_LAYERS = (1, 10, 20, 30)
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
    """One initializer: the signal and gradient before training, and the result of training."""

    init: str
    variances: list[float]
    """The variance of each layer's pre-activations over 512 digits and all neurons."""
    gradient: float
    """The Euclidean norm of the gradient by the first layer's weights."""
    diverged: bool
    loss: float
    accuracy: float


def first_gradient(model: gg.Model, features: np.ndarray, targets: np.ndarray) -> float:
    """The norm of the gradient of the loss by the first layer's weights, in float64."""
    x = gg.make_input("features", features.shape, "float64")
    params = {name: gg.make_input(name, array.shape, "float64") for name, array in model.weights.items()}
    row_mask = gg.ops.constant(np.ones(len(features), bool), "bool")
    output = model.network.build(x, params, {}, row_mask=row_mask).output
    sample_weights = gg.ops.constant(np.ones(len(features)), "float64")
    loss = batch_loss(model.loss, output, gg.ops.constant(targets, "int32"), sample_weights)
    graph = gg.Graph((x, *params.values()), tuple(gg.gradient(loss, [params["dense_1.weights"]])))
    (gradient,) = evaluate(graph, [features, *model.weights.values()])
    return float(np.linalg.norm(gradient))


def measure(init: str, epochs: int = EPOCHS) -> Row:
    """Measure the initial network, then train it."""
    digits = gg.load_source("digits")
    features, labels = digits.features[:512], digits.targets[:512]
    start = gg.train(digits, init=init, epochs=0, **OPTIONS).model
    names = [f"dense_{number}.preactivation" for number in range(1, DEPTH + 2)]
    inner = start.inside(features, *names)
    variances = [float(inner[name].var(dtype=np.float64)) for name in names]
    gradient = first_gradient(start, start.prepare(features), start.schema.encode_targets(labels, "float64"))
    run = gg.train(digits, init=init, epochs=epochs, **OPTIONS)
    loss = run.history[-1]["train_loss"] if run.history else float("nan")
    return Row(init, variances, gradient, run.status == "diverged", loss, run.metrics["test"]["accuracy"])


def table(rows: Sequence[Row]) -> str:
    """The measurements as text."""
    title = f"{DEPTH} layers of {WIDTH} ReLU neurons, digits, {EPOCHS} epochs; chance is 10 %, loss 2.303"
    columns = "".join(f"{f'layer {number}':>11}" for number in SHOWN_LAYERS)
    lines = [title, f"{'':15}{'variance of the signal at the start':>{11 * len(SHOWN_LAYERS)}}"]
    lines.append(f"{'start':15}{columns}{'gradient of 1':>16}{'loss':>9}{'test':>8}")
    for row in rows:
        shown = "".join(f"{row.variances[number - 1]:11.1e}" for number in SHOWN_LAYERS)
        loss = "diverged" if row.diverged else f"{row.loss:.3f}"
        lines.append(f"{row.init:15}{shown}{row.gradient:16.1e}{loss:>9}{row.accuracy:8.1%}")
    return "\n".join(lines)


def main() -> None:
    print(table([measure(init) for init in STARTS]))


if __name__ == "__main__":
    main()
