"""Planted faults and healthy networks. Each is a function from (data set, architecture, seed) to a case.

``ACCEPTED`` lists the kinds that are as correct as the planted one, because they describe the same fault. It was
written before the first run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import glassgrad as gg
from zoo.data import ROWS, Sample, changed, sample

ARCHITECTURES: tuple[tuple[int, ...], ...] = ((32,), (64, 32), (48, 48, 48))
DEEP: tuple[tuple[int, ...], ...] = ((32,) * 6, (32,) * 8, (24,) * 10)
CLASSES, NUMBERS = ("digits", "adult", "mnist"), ("california",)
ALL = ("digits", "adult", "california")

ACCEPTED: Mapping[str, tuple[str, ...]] = {
    "zero_init": ("constant_init", "duplicate_neurons"),
    "constant_init": ("zero_init", "duplicate_neurons"),
    "init_too_large": ("saturated_neurons", "exploding_gradient", "dead_neurons"),
    "init_too_small": ("vanishing_gradient", "zero_init"),
    "dead_neurons": ("vanishing_gradient",),
    "saturated_neurons": ("vanishing_gradient", "init_too_large"),
    "vanishing_gradient": ("saturated_neurons", "init_too_small"),
    "exploding_gradient": ("init_too_large",),
    "learning_rate_too_high": ("oscillation", "dead_neurons"),
    "learning_rate_too_low": ("too_few_epochs", "plateau"),
    "too_few_epochs": ("learning_rate_too_low", "batch_size"),
    "batch_size": ("too_few_epochs", "learning_rate_too_low"),
    "plateau": ("learning_rate_too_low", "wrong_optimizer_setting"),
    "oscillation": ("learning_rate_too_high", "wrong_optimizer_setting", "batch_size"),
    "wrong_optimizer_setting": ("learning_rate_too_low", "plateau", "oscillation", "learning_rate_too_high"),
    "underfitting": ("missing_nonlinearity",),
    "missing_nonlinearity": ("underfitting",),
    "regularization_too_strong": ("underfitting",),
    "loss_output_mismatch": ("unsuitable_loss", "saturated_neurons"),
    "unsuitable_loss": ("loss_output_mismatch",),
    "class_imbalance": (),
    "overfitting": (),
    "unscaled_inputs": (),
    "shuffled_labels": (),
    "target_leak": (),
    "constant_feature": (),
    "wrong_gradient": (),
}

HARMLESS = ("constant_feature",)  # reported as a warning: it does no damage, and its fix gains nothing


@dataclass(frozen=True)
class Case:
    """One network on one sample: the planted fault (None: healthy), and the options of ``train``.

    ``layers`` are the layers of the network without the fault; its other options are the defaults. None if the fault
    is in the data or in single layers.
    """

    planted: str | None
    recipe: str
    data: str
    seed: int
    sample: Sample = field(repr=False)
    options: Mapping[str, Any] = field(repr=False)
    layers: tuple[int, ...] | None = None

    @property
    def name(self) -> str:
        """The identifier of the case in the results."""
        return f"{self.planted or 'healthy'}/{self.recipe}/{self.data}/{self.seed}"


Recipe = Callable[[str, tuple[int, ...], int], tuple[Sample, dict[str, Any]]]
Layers = Callable[[tuple[int, ...], int], tuple[int, ...]]


def _with_healthy_layers(recipe: Recipe, layers: Layers) -> Recipe:
    """``recipe`` together with the layers of the network without the fault."""
    recipe.__dict__["layers"] = layers
    return recipe


def _plain(**options: Any) -> Recipe:
    def make(data: str, layers: tuple[int, ...], seed: int) -> tuple[Sample, dict[str, Any]]:
        return sample(data, seed), {"layers": layers} | options

    return _with_healthy_layers(make, lambda layers, seed: layers)


def _deep(**options: Any) -> Recipe:
    def make(data: str, layers: tuple[int, ...], seed: int) -> tuple[Sample, dict[str, Any]]:
        return sample(data, seed), {"layers": DEEP[seed % 3]} | options

    return _with_healthy_layers(make, lambda layers, seed: DEEP[seed % 3])


def _network(hidden: Callable[[int], Any], **options: Any) -> Recipe:
    """A network whose hidden layers are built by ``hidden(units)``."""

    def make(data: str, layers: tuple[int, ...], seed: int) -> tuple[Sample, dict[str, Any]]:
        data_sample = sample(data, seed)
        count = len(np.unique(data_sample.seen.targets)) if data_sample.seen.classification else 1
        units = 1 if count == 2 else count
        steps = [item for size in layers for item in np.atleast_1d(np.array(hidden(size), object)).tolist()]
        return data_sample, {"network": gg.Sequential(*steps, gg.nn.Dense(units))} | options

    return make


def _wide_scales(data: str, layers: tuple[int, ...], seed: int) -> tuple[Sample, dict[str, Any]]:
    factors = 10.0 ** np.random.default_rng(seed).uniform(-2, 4, 4096)
    data_sample = changed(sample(data, seed), lambda x, y, part: x * factors[: x.shape[1]])
    return data_sample, {"layers": layers, "scaling": "none"}


def _large_scales(data: str, layers: tuple[int, ...], seed: int) -> tuple[Sample, dict[str, Any]]:
    data_sample = changed(sample(data, seed), lambda x, y, part: x * 1000.0 + 5000.0)
    return data_sample, {"layers": layers, "scaling": "none", "optimizer": "sgd", "learning_rate": 0.01}


def _shuffled(data: str, layers: tuple[int, ...], seed: int) -> tuple[Sample, dict[str, Any]]:
    data_sample = changed(
        sample(data, seed), targets=lambda x, y, part: np.random.default_rng([seed, part]).permutation(y)
    )
    return data_sample, {"layers": layers}


def _imbalanced(share: float) -> Recipe:
    def make(data: str, layers: tuple[int, ...], seed: int) -> tuple[Sample, dict[str, Any]]:
        data_sample = sample(data, seed, 10**6 if data != "adult" else 6000)
        parts = []
        for number, part in enumerate((data_sample.seen, data_sample.test)):
            rare = np.unique(part.targets)[-1]
            labels = (part.targets == rare).astype(np.int64)
            (few,), (many,) = np.nonzero(labels), np.nonzero(1 - labels)
            few = few[: max(8, int(share * len(many)))] if number == 0 else few
            rows = np.sort(np.concatenate([few, many[: ROWS if number == 0 else len(many)]]))
            parts.append(gg.from_arrays(part.features[rows], labels[rows], name=data))
        return Sample(*parts), {"layers": layers, "epochs": 8}

    return make


def _overfit(data: str, layers: tuple[int, ...], seed: int) -> tuple[Sample, dict[str, Any]]:
    data_sample = sample(data, seed, 160)
    return data_sample, {
        "layers": (256, 256),
        "epochs": 150,
        "keep": "last",
        "learning_rate": 0.003,
        "schedule": "constant",
    }


def _noisy(data: str, layers: tuple[int, ...], seed: int) -> tuple[Sample, dict[str, Any]]:
    """30 % of the labels are random, and the network memorizes them."""

    def add_noise(x: Any, y: Any, part: int) -> Any:
        if part:
            return y
        random = np.random.default_rng(seed)
        is_noisy = random.random(len(y)) < 0.3
        return np.where(is_noisy, random.permutation(y), y)

    data_sample = changed(sample(data, seed, 400), targets=add_noise)
    return data_sample, {"layers": (128, 128), "epochs": 100, "keep": "last"}


def _chance(data: str, layers: tuple[int, ...], seed: int) -> tuple[Sample, dict[str, Any]]:
    """A hundred random inputs and few rows: the network fits the noise."""

    def add(x: Any, y: Any, part: int) -> Any:
        return np.column_stack([x, np.random.default_rng([seed, part]).normal(size=(len(x), 100))])

    data_sample = changed(sample(data, seed, 300), add)
    return data_sample, {"layers": (128, 128), "epochs": 100, "keep": "last"}


def _leak(noise: float) -> Recipe:
    def make(data: str, layers: tuple[int, ...], seed: int) -> tuple[Sample, dict[str, Any]]:
        def add(x: Any, y: Any, part: int) -> Any:
            random = np.random.default_rng([seed, part])
            column = y.astype(np.float64)
            column = column + noise * max(column.std(), 1e-9) * random.normal(size=len(y))
            return np.column_stack([x[:, : x.shape[1] // 2], column, x[:, x.shape[1] // 2 :]])

        return changed(sample(data, seed), add), {"layers": layers}

    return make


def _constant(data: str, layers: tuple[int, ...], seed: int) -> tuple[Sample, dict[str, Any]]:
    def add(x: Any, y: Any, part: int) -> Any:
        return np.column_stack([x, np.full(len(x), 7.0)])

    return changed(sample(data, seed), add), {"layers": layers}


def _as_numbers(data: str, layers: tuple[int, ...], seed: int) -> tuple[Sample, dict[str, Any]]:
    """Class numbers as regression targets."""
    data_sample = sample(data, seed)
    parts = [
        gg.from_arrays(part.features, part.targets.astype(np.float64), name=data, task="regression")
        for part in (data_sample.seen, data_sample.test)
    ]
    return Sample(*parts), {"layers": layers, "loss": "squared_error"}


def _wrong_derivative(factor: float) -> Recipe:
    from glassgrad.ops.table import custom_op, tanh

    wrong_tanh = custom_op(tanh, derivative=lambda ctx, cts, outs, ins: [cts[0] * factor], name="bent_tanh")

    class Bent(gg.nn.Layer):
        """A custom activation with a wrong derivative."""

        def output_shape(self, inputs: Any) -> Any:
            return inputs[0]

        def build(self, context: Any, inputs: Any, weights: Any, state: Any) -> Any:
            return wrong_tanh(inputs[0]), {}

    return _network(lambda units: [gg.nn.Dense(units), Bent()])


def _bias(number: float, activation: str) -> Recipe:
    return _network(lambda units: gg.nn.Dense(units, activation, bias_init=f"constant({number})"))


# kind: {name of the recipe: (recipe, data sets)}. Most kinds have at least two recipes, most recipes three data sets.
FAULTS: Mapping[str, Mapping[str, tuple[Recipe, tuple[str, ...]]]] = {
    "learning_rate_too_high": {
        "adam 0.5": (_plain(learning_rate=0.5), ALL),
        "sgd 5": (_plain(optimizer="sgd", learning_rate=5.0), ALL),
    },
    "learning_rate_too_low": {
        "adam 1e-6": (_plain(learning_rate=1e-6), ALL),
        "sgd 1e-5": (_plain(optimizer="sgd", learning_rate=1e-5), ALL),
    },
    "zero_init": {
        "zeros": (_plain(init="zeros"), ALL),
        "zeros, tanh": (_plain(init="zeros", activation="tanh"), ALL),
    },
    "constant_init": {
        "0.1": (_plain(init="constant(0.1)"), ALL),
        "0.5, tanh": (_plain(init="constant(0.5)", activation="tanh"), ALL),
    },
    "init_too_large": {
        "normal 3": (_plain(init="normal(3.0)"), ALL),
        "normal 5, tanh": (_plain(init="normal(5.0)", activation="tanh"), ALL),
    },
    "init_too_small": {
        "normal 1e-3, deep": (_deep(init="normal(0.001)"), ALL),
        "normal 1e-4, deep tanh": (_deep(init="normal(0.0001)", activation="tanh"), ALL),
        "normal 1e-3, sgd": (_deep(init="normal(0.001)", optimizer="sgd", learning_rate=0.1), ALL),
    },
    "dead_neurons": {"bias -20": (_bias(-20.0, "relu"), ALL), "bias -8": (_bias(-8.0, "relu"), ALL)},
    "saturated_neurons": {
        "tanh, bias 10": (_bias(10.0, "tanh"), ALL),
        "sigmoid, bias 12": (_bias(12.0, "sigmoid"), ALL),
    },
    "vanishing_gradient": {
        "deep sigmoid": (_deep(activation="sigmoid"), ALL),
        "deep sigmoid, sgd": (_deep(activation="sigmoid", optimizer="sgd", learning_rate=0.1), ALL),
    },
    "exploding_gradient": {
        "deep, normal 0.7": (_deep(init="normal(0.7)", optimizer="sgd", learning_rate=0.01), ALL),
        "deep, normal 0.5": (_deep(init="normal(0.5)", optimizer="sgd", learning_rate=0.01), ALL),
    },
    "loss_output_mismatch": {
        "softmax twice": (_plain(output_activation="softmax", force=True), ("digits", "mnist")),
        "sigmoid twice": (_plain(output_activation="sigmoid", force=True), ("adult",)),
        "sigmoid for prices": (_plain(output_activation="sigmoid", force=True), NUMBERS),
        "relu logits": (_plain(output_activation="relu", force=True), ("adult", "digits")),
    },
    "unsuitable_loss": {"classes as numbers": (_as_numbers, ("digits", "mnist", "adult"))},
    "wrong_gradient": {"sign": (_wrong_derivative(-1.0), ALL), "slope": (_wrong_derivative(0.05), ALL)},
    "unscaled_inputs": {"mixed": (_wide_scales, ALL), "far from 0": (_large_scales, ALL)},
    "shuffled_labels": {"shuffled": (_shuffled, ALL)},
    "class_imbalance": {"2 %": (_imbalanced(0.02), CLASSES), "4 %": (_imbalanced(0.04), CLASSES)},
    "overfitting": {
        "few rows": (_with_healthy_layers(_overfit, lambda layers, seed: layers), ALL),
        "chance inputs": (_chance, ALL),
        "noisy labels": (_with_healthy_layers(_noisy, lambda layers, seed: layers), ALL),
    },
    "underfitting": {
        "two neurons": (_plain(layers=(2,)), ("digits", "mnist")),
        "one neuron": (_plain(layers=(1, 1)), ALL),
    },
    "too_few_epochs": {
        "one epoch": (_plain(epochs=1, learning_rate=0.001), ALL),
        "two epochs, sgd": (_plain(epochs=2, optimizer="sgd", learning_rate=0.02), ALL),
    },
    "plateau": {
        "rate falls at once": (_plain(schedule="exponential(0.1)", optimizer="sgd", learning_rate=0.05), ALL),
        "steps": (_plain(schedule={"name": "step", "factor": 0.05, "every": 1}), ALL),
    },
    "oscillation": {
        "momentum 0.99": (
            _plain(optimizer="sgd", learning_rate=0.1, momentum=0.99, schedule="constant"),
            ALL,
        ),
        "one row at a time": (_plain(batch_size=1, learning_rate=0.03, schedule="constant", epochs=5), ALL),
    },
    "batch_size": {
        "all rows": (_plain(batch_size=1500), ALL),
        "800": (_plain(batch_size=800, epochs=15), ALL),
    },
    "wrong_optimizer_setting": {
        "clipped": (_plain(optimizer="sgd", learning_rate=0.1, clip_norm=1e-4), ALL),
        "epsilon 1": (_plain(optimizer="adam(epsilon=10.0)"), ALL),
        "momentum 0.999": (_plain(optimizer="sgd", learning_rate=0.05, momentum=0.999), ALL),
    },
    "regularization_too_strong": {
        "weight decay": (_plain(optimizer="adamw", weight_decay=200.0), ALL),
        "dropout 0.95": (_network(lambda units: [gg.nn.Dense(units, "relu"), gg.nn.Dropout(0.95)]), ALL),
    },
    "missing_nonlinearity": {
        "linear": (
            _plain(activation="identity", layers=(64, 64), epochs=60),
            ("california", "mnist", "digits"),
        )
    },
    "target_leak": {"exact": (_leak(0.0), ALL), "noisy": (_leak(0.05), ALL)},
    "constant_feature": {"one": (_constant, ALL)},
}

HEALTHY: Mapping[str, tuple[Recipe, tuple[str, ...]]] = {
    "defaults": (_plain(), (*ALL, "mnist")),
    "one layer": (_plain(layers=(64,)), ALL),
    "wide": (_plain(layers=(256,)), ALL),
    "deep relu": (_plain(layers=(48,) * 5), ALL),
    "deep tanh": (_plain(layers=(32,) * 5, activation="tanh", init="xavier_uniform"), ALL),
    "gelu": (_plain(activation="gelu"), ALL),
    "elu": (_plain(activation="elu"), ALL),
    "tanh": (_plain(activation="tanh", init="xavier_normal"), ALL),
    "selu": (_plain(activation="selu", init="lecun_normal"), ALL),
    "sgd": (_plain(optimizer="sgd", learning_rate=0.1), CLASSES),
    "sgd, gently": (_plain(optimizer="sgd", learning_rate=0.02, clip_norm=1.0), NUMBERS),
    "momentum": (_plain(optimizer="sgd", learning_rate=0.02, momentum=0.9), CLASSES),
    "adamw": (_plain(optimizer="adamw", weight_decay=0.01), ALL),
    "rmsprop": (_plain(optimizer="rmsprop", learning_rate=0.001), ALL),
    "constant rate": (_plain(schedule="constant", learning_rate=0.001), ALL),
    "one cycle": (_plain(schedule="one_cycle", learning_rate=0.005), ALL),
    "batch 16": (_plain(batch_size=16), ALL),
    "batch 64": (_plain(batch_size=64, learning_rate=0.004), ALL),
    "early": (_plain(epochs=15), ALL),
    "long": (_plain(epochs=60), ALL),
    "orthogonal": (_plain(init="orthogonal"), ALL),
    "batch norm": (
        _network(lambda units: [gg.nn.Dense(units), gg.nn.BatchNorm(), gg.nn.ActivationLayer("relu")]),
        ALL,
    ),
    "dropout": (_network(lambda units: [gg.nn.Dense(units, "relu"), gg.nn.Dropout(0.1)]), ALL),
    "clipped gently": (_plain(clip_norm=5.0), ALL),
}


def cases(seeds: int) -> list[Callable[[], Case]]:
    """Functions that build the cases of the zoo. The seed determines the architecture."""
    builders: list[Callable[[], Case]] = []

    def add(planted: str | None, name: str, recipe: Recipe, data: str, seed: int) -> None:
        def build() -> Case:
            layers = ARCHITECTURES[seed % len(ARCHITECTURES)]
            case_sample, options = recipe(data, layers, seed)
            healthy_layers = getattr(recipe, "layers", None) if planted else None
            without_fault = None if healthy_layers is None else healthy_layers(layers, seed)
            return Case(planted, name, data, seed, case_sample, options | {"seed": seed}, without_fault)

        build.__name__ = f"{planted or 'healthy'}/{name}/{data}/{seed}"
        builders.append(build)

    for seed in range(seeds):
        for planted, recipes in FAULTS.items():
            for name, (recipe, data_sets) in recipes.items():
                for data in data_sets:
                    add(planted, name, recipe, data, seed)
        for name, (recipe, data_sets) in HEALTHY.items():
            for data in data_sets:
                add(None, name, recipe, data, seed)
    return builders
