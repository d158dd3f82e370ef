"""Three custom training steps, for training that is more than one network with one loss.

    python examples/own_steps.py [gan] [siamese] [autoencoder]

A generative adversarial network on a ring (I. Goodfellow et al., 2014), a siamese network with a contrastive loss (R.
Hadsell et al., CVPR 2006), and an autoencoder of digits. ``gg.compile_step`` compiles each step to one loop.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from itertools import pairwise

import numpy as np

import glassgrad as gg

Params = Mapping[str, gg.ops.Value]


def dense_params(name: str, sizes: list[int], seed: int) -> dict[str, np.ndarray]:
    """Initial weights (He normal) and biases (zeros) of a chain of dense layers."""
    generator = np.random.default_rng(seed)
    params = {}
    for number, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        params[f"{name}{number}.w"] = generator.normal(0, np.sqrt(2 / fan_in), (fan_in, fan_out))
        params[f"{name}{number}.b"] = np.zeros(fan_out)
    return params


def dense_layers(name: str, x: gg.ops.Value, params: Params) -> gg.ops.Value:
    """The output of the chain of dense layers, with ReLU between the layers and none after the last."""
    count = sum(key.startswith(name) and key.endswith(".w") for key in params)
    for number in range(count):
        x = gg.ops.matmul(x, params[f"{name}{number}.w"]) + params[f"{name}{number}.b"]
        if number < count - 1:
            x = gg.ops.maximum(x, 0.0)
    return x


def adam(loss: gg.ops.Value, params: Params, inputs: gg.StepInputs, names: list[str]) -> tuple[dict, dict]:
    """One step of Adam (D. Kingma and J. Ba, 2015) for the parameters in ``names``: new parameters and moments."""
    new_params, new_state = {}, {}
    time = gg.ops.convert(inputs.step, "float32") + 1.0
    for name, slope in zip(names, gg.gradient(loss, [params[name] for name in names]), strict=True):
        mean = 0.5 * inputs.state[f"m {name}"] + 0.5 * slope
        square = 0.99 * inputs.state[f"v {name}"] + 0.01 * slope * slope
        mean_hat, square_hat = (
            mean / (1.0 - gg.ops.power(0.5, time)),
            square / (1.0 - gg.ops.power(0.99, time)),
        )
        new_params[name] = params[name] - inputs.hyper["rate"] * mean_hat / (gg.ops.sqrt(square_hat) + 1e-8)
        new_state |= {f"m {name}": mean, f"v {name}": square}
    return new_params, new_state


def moments(params: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The initial moments of Adam, all 0."""
    return {f"{kind} {name}": np.zeros_like(array) for name, array in params.items() for kind in ("m", "v")}


def softplus(x: gg.ops.Value) -> gg.ops.Value:
    """log(1 + e^x)."""
    return gg.ops.maximum(x, 0.0) + gg.ops.log1p(gg.ops.exp(-gg.ops.absolute(x)))


def gan(epochs: int = 300) -> tuple[float, float]:
    """Train a generative adversarial network on points of a unit circle.

    Returns the mean radius of 1,024 generated points, and the length of their mean direction (0: even, 1: all in one
    direction). Both networks are updated from the weights of the other one before the step.
    """
    angles = np.random.default_rng(0).uniform(0, 2 * np.pi, 1024)
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    params = dense_params("g", [4, 32, 32, 2], 1) | dense_params("d", [2, 64, 64, 1], 2)
    generator, discriminator = ([name for name in params if name[0] == letter] for letter in "gd")

    def step(inputs: gg.StepInputs) -> tuple[dict, dict, dict]:
        p = inputs.params
        fake = dense_layers("g", inputs.normal((4,)), p)
        on_real = dense_layers("d", inputs.data["points"], p)
        on_fake = dense_layers("d", fake, p)
        d_loss = gg.ops.reduce_mean(softplus(-on_real)) + gg.ops.reduce_mean(softplus(on_fake))
        g_loss = gg.ops.reduce_mean(softplus(-on_fake))
        d_params, d_state = adam(d_loss, p, inputs, discriminator)
        g_params, g_state = adam(g_loss, p, inputs, generator)
        return d_params | g_params, d_state | g_state, {"d_loss": d_loss, "g_loss": g_loss, "fake": fake}

    training = gg.compile_step(
        step,
        params=params,
        state=moments(params),
        data={"points": ring},
        hyper={"rate": 0.002},
        batch_size=128,
    )
    training.advance(epochs=epochs // 2)
    training.hyper["rate"] = 0.0004
    fakes = training.advance(epochs=epochs // 2)["fake"][-8:].reshape(-1, 2)
    radius, angle = np.hypot(*fakes.T), np.arctan2(fakes[:, 1], fakes[:, 0])
    return float(radius.mean()), float(abs(np.exp(1j * angle).mean()))


def siamese(epochs: int = 40) -> tuple[float, float]:
    """Train one network on both digits of a pair. Returns the nearest-neighbor accuracy before and after."""
    digits = gg.load_source("digits")
    pixels, labels = digits.features.reshape(-1, 64) / 16.0, digits.targets.astype(int)
    train, test = np.arange(1200), np.arange(1200, 1797)
    pairs = np.random.default_rng(0).integers(0, 1200, (2, 4000))
    same = (labels[pairs[0]] == labels[pairs[1]]).astype(float)
    weight = np.where(same > 0, 1 / same.mean(), 1 / (1 - same.mean())) / 2
    params = dense_params("e", [64, 64, 8], 0)

    def step(inputs: gg.StepInputs) -> tuple[dict, dict, dict]:
        left, right = (dense_layers("e", inputs.data[name], inputs.params) for name in ("left", "right"))
        square = gg.ops.reduce_sum((left - right) * (left - right), 1)
        hinge = gg.ops.maximum(1.0 - gg.ops.sqrt(square + 1e-8), 0.0)
        same = inputs.data["same"]
        pair_losses = same * square + (1.0 - same) * hinge * hinge
        loss = gg.ops.reduce_mean(gg.ops.select(inputs.row_mask, pair_losses * inputs.data["weight"], 0.0))
        return *adam(loss, inputs.params, inputs, list(inputs.params)), {"loss": loss}

    def embed(params: Mapping[str, np.ndarray]) -> np.ndarray:
        hidden = np.maximum(pixels @ params["e0.w"] + params["e0.b"], 0)
        return hidden @ params["e1.w"] + params["e1.b"]

    def accuracy(params: Mapping[str, np.ndarray]) -> float:
        """Accuracy of the nearest of ten embedded examples, one per class."""
        points = embed(params)
        examples = [int(np.flatnonzero(labels[train] == label)[0]) for label in range(10)]
        distances = ((points[test][:, None] - points[examples][None]) ** 2).sum(axis=2)
        return float(np.mean(distances.argmin(axis=1) == labels[test]))

    data = {"left": pixels[pairs[0]], "right": pixels[pairs[1]], "same": same, "weight": weight}
    training = gg.compile_step(
        step, params=params, state=moments(params), data=data, hyper={"rate": 0.002}, batch_size=100
    )
    training.advance(epochs=epochs)
    return accuracy(params), accuracy(training.params)


def autoencoder(epochs: int = 60) -> tuple[float, float]:
    """Train an autoencoder. Returns the mean squared error per pixel of the mean image and of the network."""
    pixels = gg.load_source("digits").features.reshape(-1, 64) / 16.0
    params = dense_params("e", [64, 32, 8], 0) | dense_params("d", [8, 32, 64], 1)

    def step(inputs: gg.StepInputs) -> tuple[dict, dict, dict]:
        x = inputs.data["pixels"]
        error = dense_layers("d", dense_layers("e", x, inputs.params), inputs.params) - x
        rows = gg.ops.reduce_mean(error * error, 1)
        count = gg.ops.reduce_sum(gg.ops.convert(inputs.row_mask, "float32"))
        loss = gg.ops.reduce_sum(gg.ops.select(inputs.row_mask, rows, 0.0)) / count
        return *adam(loss, inputs.params, inputs, list(inputs.params)), {"loss": loss}

    training = gg.compile_step(
        step, params=params, state=moments(params), data={"pixels": pixels}, hyper={"rate": 0.003}
    )
    losses = training.advance(epochs=epochs)["loss"]
    mean_image = float(np.mean((pixels - pixels.mean(axis=0)) ** 2))
    return mean_image, float(losses[-training.steps_per_epoch :].mean())


if __name__ == "__main__":
    selected = sys.argv[1:] or ["gan", "siamese", "autoencoder"]
    if "gan" in selected:
        radius, mean_direction = gan()
        print(
            f"gan: generated points have a mean radius of {radius:.2f} (ring: 1), mean direction {mean_direction:.2f}"
        )
    if "siamese" in selected:
        before, after = siamese()
        print(
            f"siamese: accuracy from one example per class, {before:.3f} before and {after:.3f} after training"
        )
    if "autoencoder" in selected:
        constant, error = autoencoder()
        print(f"autoencoder: squared error per pixel {error:.4f}, of the mean image {constant:.4f}")
