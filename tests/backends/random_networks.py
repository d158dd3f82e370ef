"""Random small networks with everything that training them takes, as recipes: plain tables, fit for JSON.

A recipe is drawn from a number; what it describes is built again from the recipe alone, so that a failing one can
be kept, shortened by hand and replayed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from glassgrad.backends.base import Feed
from glassgrad.losses.table import loss
from glassgrad.nn.network import Network, from_document
from glassgrad.optim.gradients import GradientTransformation
from glassgrad.optim.optimizers import optimizer
from glassgrad.optim.schedules import schedule
from glassgrad.program import Program
from glassgrad.training.background import hyperparameter, kind
from glassgrad.training.programs import FEATURES, TARGETS, WEIGHTS, evaluation_program, training_program
from glassgrad.training.start import initial_statistics, initial_weights

Recipe = dict[str, Any]
TOKENS = 7

_ACTIVATIONS = (
    "identity",
    "relu",
    "tanh",
    "sigmoid",
    "gelu",
    "silu",
    "mish",
    "softplus",
    "selu",
    "softmax",
    "log_softmax",
    "step",
)
_INITIALIZERS = (
    "he_normal",
    "xavier_uniform",
    "lecun_normal",
    "orthogonal",
    "normal(0.5)",
    "fan_in_uniform",
    "truncated_normal(0.5)",
)
_REGRESSION = ("squared_error", "root_mean_squared_error", "absolute_error", "log_cosh", "poisson")
_CLASSIFICATION = ("squared_error", "hinge", "perceptron")
_SCHEDULES = (
    "constant",
    "step(2, 0.5)",
    "exponential(0.8)",
    "cosine",
    "one_cycle",
    "warmup(0.5, 'cosine(0.1)')",
    "reduce_on_plateau(patience=1)",
)


class _Drawer:
    """Draws one network, layer by layer; any later layer may read any wire."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.layers: list[dict[str, Any]] = []
        self.wires: list[tuple[str, tuple[int, ...]]] = []
        self.loose: list[str] = []  # wires that no layer has read yet

    def whole(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def pick(self, items: Any) -> Any:
        return items[int(self.rng.integers(len(items)))]

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def size(self) -> int:
        """A number of units: mostly small and odd, now and then a few vectors wide."""
        return self.pick((1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 17, 23, 33, self.whole(1, 70)))

    def activation(self) -> str:
        special = f"leaky_relu({self.pick((0.2, -0.5, 1.5))})", f"elu({self.pick((0.5, 1.0))})"
        return str(self.pick((*_ACTIVATIONS, "relu", "tanh", *special)))

    def add(self, kind: str, inputs: list[str], **options: Any) -> str:
        name = f"{kind}_{len(self.layers)}"
        self.layers.append({"type": kind, "name": name, "inputs": inputs} | options)
        self.loose = [wire for wire in self.loose if wire not in inputs] + [name]
        shape = from_document({"layers": self.layers}).shapes(self.wires[0][1])[name]
        self.wires.append((name, tuple(shape)))
        return name

    def shape(self, wire: str) -> tuple[int, ...]:
        return dict(self.wires)[wire]

    def dense(self, wire: str, units: int | None = None, **options: Any) -> str:
        given = {"activation": self.activation(), "init": self.pick(_INITIALIZERS), "bias": self.chance(0.8)}
        return self.add("dense", [wire], units=units or self.size(), **given | options)

    def layer(self) -> None:
        """One more layer, on a wire that fits it."""
        wire, shape = self.wires[-1] if self.chance(0.7) else self.pick(self.wires)
        if wire == "input" and len(self.wires) > 1 and self.wires[1][0].startswith("embedding"):
            wire, shape = self.wires[1]  # tokens are for the embedding alone
        kinds = ["dense", "dense", "activation", "dropout", "batch_norm", "layer_norm", "add", "multiply"]
        kinds += ["concatenate", "reshape"]
        kinds += ["simple_rnn", "simple_rnn", "flatten"] * (len(shape) == 2)
        kinds += ["conv2d", "conv2d", "pool", "pool", "global_average_pool2d", "flatten"] * (len(shape) == 3)
        kind = self.pick(kinds)
        match kind:
            case "dense":
                self.dense(wire)
            case "activation":
                self.add(kind, [wire], activation=self.activation())
            case "dropout":
                self.add(kind, [wire], rate=self.pick((0.1, 0.5, 0.9)))
            case "batch_norm":
                self.add(kind, [wire], momentum=self.pick((0.1, 0.5)))
            case "layer_norm" | "flatten" | "global_average_pool2d":
                self.add(kind, [wire])
            case "add" | "multiply":
                same = [name for name, other in self.wires if other == shape and name != wire]
                other = self.pick(same) if same else self.dense(wire, shape[-1])
                self.add(kind, [wire, other] if self.chance(0.5) else [other, wire])
            case "concatenate":
                near = [n for n, other in self.wires if other[:-1] == shape[:-1] and len(other) == len(shape)]
                others = [self.pick(near) for _ in range(self.whole(1, 2))]
                self.add(kind, [wire, *others])
            case "reshape":
                self.add(kind, [wire], shape=self.folded(math.prod(shape)))
            case "simple_rnn":
                self.add(
                    kind,
                    [wire],
                    units=self.whole(1, 9),
                    activation=self.pick(("tanh", "relu", "sigmoid")),
                    last=self.chance(0.5),
                )
            case "conv2d":
                padding = "valid" if min(shape[:2]) >= 3 and self.chance(0.5) else "same"
                self.add(
                    kind,
                    [wire],
                    filters=self.pick((1, 2, 3, 5, 8, 17)),
                    size=[self.whole(1, 3), self.whole(1, 3)],
                    stride=[self.whole(1, 2), self.whole(1, 2)],
                    padding=padding,
                    activation=self.activation(),
                )
            case "pool":
                size = [self.whole(1, min(3, shape[0])), self.whole(1, min(3, shape[1]))]
                stride = self.pick(({}, {"stride": [self.whole(1, 3), self.whole(1, 3)]}))
                self.add(self.pick(("max_pool2d", "average_pool2d")), [wire], pool_size=size, **stride)

    def folded(self, size: int) -> list[int]:
        """A shape of one to three axes with ``size`` elements."""
        shape = []
        for _ in range(self.whole(0, 2)):
            shape.append(self.pick([n for n in range(1, size + 1) if size % n == 0]))
            size //= shape[-1]
        return [*shape, size]

    def finish(self, units: int, activation: str) -> None:
        """Join the loose ends, and end in ``units`` outputs."""
        if "input" in self.loose:
            self.loose.remove("input")
        ends = list(self.loose)
        flat = [wire if len(self.shape(wire)) == 1 else self.add("flatten", [wire]) for wire in ends]
        joined = self.add("concatenate", flat) if len(flat) > 1 else flat[0]
        self.dense(joined, units, activation=activation)


def draw(number: int) -> Recipe:
    """The recipe of ``number``."""
    rng = np.random.default_rng([number, 20_240])
    d = _Drawer(rng)
    kind = d.pick(("numbers", "numbers", "image", "image", "sequence", "tokens"))
    shape: tuple[int, ...] = {
        "numbers": (d.size(),),
        "image": (d.whole(2, 9), d.whole(2, 9), d.whole(1, 3)),
        "sequence": (d.whole(1, 6), d.whole(1, 5)),
        "tokens": (d.whole(1, 6),),
    }[kind]
    d.wires.append(("input", shape))
    d.loose.append("input")
    if kind == "tokens":
        d.add("embedding", ["input"], entries=TOKENS, dimension=d.whole(1, 6))
    for _ in range(d.whole(1, 6)):
        d.layer()
    classes, targets = None, 1
    if d.chance(0.5):
        classes = d.whole(2, 5)
        names = [*_CLASSIFICATION, f"categorical_cross_entropy({d.pick((0.0, 0.1))})"]
        names += ["negative_log_likelihood", "kl_divergence"]
        names += [f"binary_cross_entropy({d.pick((0.0, 0.1))})"] * (2 if classes == 2 else 0)
    else:
        targets = d.whole(1, 4)
        names = [*_REGRESSION, f"huber({d.pick((0.3, 1.0))})", f"quantile({d.pick((0.2, 0.5))})"]
        names += ["kl_divergence"]
    of = d.pick(names)
    units = loss(of).units(classes, targets)
    final = "log_softmax" if loss(of).expects == "log_probabilities" else "identity"
    d.finish(units, final)
    document = {"layers": d.layers}
    network = from_document(document)
    trainable = [
        node.name
        for node in network.nodes
        if any(name.startswith(f"{node.name}.") for name in network.weights(shape))
    ]
    frozen = [name for name in trainable[:-1] if d.chance(0.15)]
    momentum = d.pick(("", ", momentum=0.9", ", momentum=0.8, nesterov=True"))
    decay = d.pick(("", ", weight_decay=0.05"))
    name = d.pick(("sgd", "sgd", "adam", "adamw", "rmsprop", "adagrad"))
    batch = d.pick((1, 2, 3, 4, 5, 7, 8, 13, 16, 17))
    epochs = d.whole(1, 2)
    return {
        "number": number,
        "dtype": d.pick(("float64", "float64", "float32")),
        "input": kind,
        "shape": list(shape),
        "network": document,
        "loss": of,
        "classes": classes,
        "targets": targets,
        "optimizer": f"{name}({d.pick((0.1, 0.01, 0.003))}{momentum if name == 'sgd' else ''}{decay})",
        "schedule": d.pick(_SCHEDULES),
        "clip_norm": d.pick((None, None, 0.5)),
        "clip_value": d.pick((None, None, 0.02)),
        "weighted": d.chance(0.3),
        "frozen": frozen,
        "batch": batch,
        "rows": batch * d.whole(0, 2) + d.whole(1, batch),
        "epochs": epochs,
        "first_step": d.pick((0, 0, 1000)),
        "evaluates": d.chance(0.4),
        "machine": d.pick(("host", "host", "avx2", "sse2")),
        "small_units": d.chance(0.3),
        "background": d.pick((None, None, 0.0, -0.42)) if kind != "tokens" else None,
    }


@dataclass(frozen=True)
class Task:
    """A program, and what to run it on."""

    program: Program
    feed: Feed


def training_task(recipe: Recipe) -> Task:
    """Training as the recipe says."""
    network, dtype, batch = _network(recipe), recipe["dtype"], recipe["batch"]
    made = optimizer(recipe["optimizer"])
    transformation = GradientTransformation(recipe["clip_norm"], recipe["clip_value"])
    shape = tuple(recipe["shape"])
    program = training_program(
        network,
        shape,
        loss(recipe["loss"]),
        made,
        batch=batch,
        targets=_targets(recipe),
        transformation=transformation,
        weighted=recipe["weighted"],
        frozen=recipe["frozen"],
        dtype=dtype,
        background=kind(recipe["background"]),
    )
    rng = np.random.default_rng([recipe["number"], 1])
    data = _data(recipe, rng)
    order = np.concatenate([rng.permutation(recipe["rows"]) for _ in range(recipe["epochs"])])
    steps = -(-len(order) // batch)
    factors = schedule(recipe["schedule"]).factors(
        np.arange(steps),
        total_steps=steps,
        steps_per_epoch=-(-recipe["rows"] // batch),
        validation_losses=[1.0] * recipe["epochs"],
    )
    hyper: dict[str, Any] = made.hyperparameters() | transformation.hyperparameters()
    hyper |= hyperparameter(recipe["background"])
    hyper["learning_rate"] = hyper["learning_rate"] * factors
    state = initial_statistics(network, shape, dtype=dtype)
    fills = made.slots()
    for item in program.state:
        if item.name not in state:
            state[item.name] = np.full(item.type.shape, fills[item.name.split("/")[0]], dtype)
    feed = Feed(
        data,
        order.astype(np.int32),
        _weights(network, recipe),
        state,
        hyper,
        seed=recipe["number"] + (7 << 33),
        first_step=recipe["first_step"],
    )
    return Task(program, feed)


def evaluation_task(recipe: Recipe) -> Task:
    """The network in use, with every layer's output read."""
    network, shape = _network(recipe), tuple(recipe["shape"])
    program = evaluation_program(
        network,
        shape,
        loss(recipe["loss"]),
        batch=recipe["batch"],
        targets=_targets(recipe),
        inside=[node.name for node in network.nodes],
        dtype=recipe["dtype"],
    )
    rng = np.random.default_rng([recipe["number"], 1])
    data = {name: array for name, array in _data(recipe, rng).items() if name != WEIGHTS}
    state = initial_statistics(network, shape, dtype=recipe["dtype"])
    order = np.arange(recipe["rows"], dtype=np.int32)
    return Task(program, Feed(data, order, _weights(network, recipe), state, {}))


def _network(recipe: Recipe) -> Network:
    return from_document(recipe["network"])


def _targets(recipe: Recipe) -> int | None:
    return None if recipe["classes"] is not None else recipe["targets"]


def _weights(network: Network, recipe: Recipe) -> dict[str, np.ndarray]:
    """The initial weights; constant ones (biases, scales) are perturbed, since equal values would hide errors."""
    rng = np.random.default_rng([recipe["number"], 2])
    weights = initial_weights(network, tuple(recipe["shape"]), seed=recipe["number"], dtype=recipe["dtype"])
    for name, array in weights.items():
        if np.all(array == array.flat[0]):
            weights[name] = (array + rng.normal(size=array.shape) * 0.1).astype(recipe["dtype"])
    return weights


def _data(recipe: Recipe, rng: np.random.Generator) -> dict[str, np.ndarray]:
    rows, shape, dtype = recipe["rows"], tuple(recipe["shape"]), recipe["dtype"]
    if recipe["input"] == "tokens":
        features = rng.integers(0, TOKENS, (rows, *shape)).astype(float)
    else:
        features = rng.normal(size=(rows, *shape))
    if recipe["classes"] is not None:
        targets = rng.integers(0, recipe["classes"], rows).astype(np.int32)
    elif recipe["loss"] == "poisson":
        targets = rng.poisson(1.5, (rows, recipe["targets"])).astype(dtype)
    elif recipe["loss"] == "kl_divergence":
        targets = rng.dirichlet(np.ones(recipe["targets"]), rows).astype(dtype)
    else:
        targets = rng.normal(size=(rows, recipe["targets"])).astype(dtype)
    if recipe["background"] is not None:
        features[rng.random(features.shape) < 0.7] = recipe["background"]
    data = {FEATURES: features.astype(dtype), TARGETS: targets}
    if recipe["weighted"]:
        data[WEIGHTS] = (rng.integers(0, 4, rows) * 0.5 + rng.choice([0, 0.25], rows)).astype(dtype)
    return data
