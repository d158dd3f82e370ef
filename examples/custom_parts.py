"""Custom parts: an op with its own derivative, an activation, a layer and a loss. They are checked, then trained.

All parts are graphs built of ops, so differentiation and every backend support them without further code. Only the
custom op has its own derivative rule, which is checked against central differences. Registered by name, the parts
can be used in configurations and model files. Run it: ``python examples/custom_parts.py``.
"""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import glassgrad as gg

# --- an op with its own derivative -------------------------------------------------------------------------
# log(cosh(x)): the plain formula overflows for |x| above 710. The derivative is one tanh.


def stable_log_cosh(x):
    magnitude = gg.ops.absolute(x)
    return magnitude + gg.ops.log1p(gg.ops.exp(magnitude * -2.0)) - math.log(2)


def slope(ctx, cotangents, outputs, inputs):
    return [cotangents[0] * gg.ops.tanh(inputs[0])]


def wrong_slope(ctx, cotangents, outputs, inputs):
    """A wrong derivative: training still works, only worse, so that only a check finds the error."""
    return [cotangents[0] * gg.ops.tanh(inputs[0] * 0.5)]


log_cosh = gg.ops.custom_op(stable_log_cosh, derivative=slope, name="log_cosh")
wrong_log_cosh = gg.ops.custom_op(stable_log_cosh, derivative=wrong_slope, name="wrong_log_cosh")


# --- an activation -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bump(gg.nn.Activation):
    """exp(-(x / width)^2): the neuron responds only near x = 0."""

    name = "bump"
    width: float = 1.0

    def __call__(self, x):
        return gg.ops.exp(-((x / self.width) ** 2.0))

    def output_range(self):
        return (0.0, 1.0)


# --- a layer -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Gated(gg.nn.Layer):
    """tanh(x @ weights) * sigmoid(x @ gate): the gate scales the output of each neuron."""

    units: int

    def output_shape(self, inputs):
        if len(inputs) != 1 or len(inputs[0]) != 1:
            raise gg.InputError(f"takes one input of one axis, not {list(inputs)}")
        return (self.units,)

    def weights(self, inputs):
        ((n,),) = inputs
        weight = gg.nn.ParameterSpec((n, self.units), gg.init.XavierNormal(), (n, self.units))
        return {"weights": weight, "gate": weight}

    def build(self, context, inputs, weights, state):
        (x,) = inputs
        gate = gg.ops.sigmoid(x @ weights["gate"])
        context.inner["gate"] = gate  # readable as model.inside(features, "gated_1.gate")
        return gg.ops.tanh(x @ weights["weights"]) * gate, {}


# --- a loss ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SmoothAbsolute(gg.losses.Loss):
    """log(cosh(error)), with the op above: close to half the square near 0 and to the absolute value elsewhere."""

    name = "smooth_absolute"
    task = "regression"
    target_kind = "values"
    expects = "values"

    def units(self, classes, targets):
        return targets

    def row_losses(self, outputs, targets):
        return gg.ops.reduce_mean(log_cosh(outputs - targets), 1)


def register() -> None:
    gg.register("activation", "bump", Bump)
    gg.register("layer", "gated", Gated)
    gg.register("loss", "smooth_absolute", SmoothAbsolute)


# --- checks ------------------------------------------------------------------------------------------------


def checks() -> dict[str, float]:
    """The error of each derivative, relative to its largest element: about 1e-8 if right, about 1 if wrong."""
    generator = np.random.default_rng(0)
    x, w, v = generator.normal(size=(3, 4)), generator.normal(size=(4, 2)), generator.normal(size=(4, 2))
    row_mask = gg.ops.constant(np.ones(3, bool), "bool")

    def gated(x, w, v):
        context = gg.nn.BuildContext("gated", 0, True, row_mask)
        return Gated(2).build(context, [x], {"weights": w, "gate": v}, {})[0]

    return {
        "log_cosh": gg.check_derivative(log_cosh, x),
        "wrong_log_cosh": gg.check_derivative(wrong_log_cosh, x),
        "bump": gg.check_derivative(Bump(0.7), x),
        "gated": gg.check_derivative(gated, x, w, v),
        "smooth_absolute": gg.check_derivative(SmoothAbsolute().row_losses, x, x[::-1]),
    }


# --- training ----------------------------------------------------------------------------------------------


def wave(rows: int = 300) -> gg.Dataset:
    """A sine wave with a few outliers among the targets."""
    generator = np.random.default_rng(0)
    x = generator.uniform(-3, 3, size=(rows, 1))
    y = np.sin(2 * x[:, 0])
    y[::25] += 6
    return gg.from_arrays(x, y, name="wave")


def train(**options) -> gg.Run:
    """Train a network of the custom parts, named as in a file."""
    layers = [
        {"type": "dense", "units": 24, "activation": "bump(0.8)"},
        {"type": "gated", "units": 16},
        {"type": "dense", "units": 1},
    ]
    options = {"epochs": 60, "learning_rate": 0.02, "schedule": "constant"} | options
    return gg.train(wave(), network={"layers": layers}, loss="smooth_absolute", **options)


def main() -> None:
    register()
    for name, error in checks().items():
        print(f"derivative of {name:16} {error:8.1e}   {'right' if error < 1e-5 else 'WRONG'}")
    run = train()
    print(f"loss {run.history[0]['train_loss']:.3f} -> {run.history[-1]['train_loss']:.3f}")
    with tempfile.TemporaryDirectory() as folder:
        run.save(Path(folder) / "run")
        model = gg.load_model(Path(folder) / "run")
    x = np.array([[0.0], [0.8], [2.4]])
    gate = model.inside(x, "gated_1.gate")["gated_1.gate"]
    print(f"loaded model: f(0.8) = {model.predict(x)[1]:.2f}, sin(1.6) = {np.sin(1.6):.2f}")
    print(f"mean gate value: {gate.mean():.0%}")


if __name__ == "__main__":
    main()
