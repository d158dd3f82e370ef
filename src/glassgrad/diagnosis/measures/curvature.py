"""The curvature bound: how large a step the loss surface itself allows, from Hessian-vector products.

Along the direction in which the gradient changes fastest the loss is a parabola of second derivative lambda, and
gradient descent on it grows without end from a step of 2 / lambda on. Momentum and a step of its own for every
weight move that edge (see ``edge`` and ``preconditioner``).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from glassgrad.autodiff.sweeps import gradient, jvp
from glassgrad.backends.base import Array, Executable, Feed
from glassgrad.common.errors import GraphError
from glassgrad.common.layer_names import layer_of
from glassgrad.common.streams import generator
from glassgrad.diagnosis.core.plain import plain_object
from glassgrad.diagnosis.core.subject import ROWS, Subject
from glassgrad.graph.node import DType, Shape, Value
from glassgrad.losses.base import Loss, weighted_mean
from glassgrad.nn.layer import Randomness
from glassgrad.nn.network import Network
from glassgrad.ops.op import make_input
from glassgrad.ops.structure import convert, zeros_like
from glassgrad.optim.optimizers import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop
from glassgrad.program import Input, Output, Program, Role
from glassgrad.training.backends import backend
from glassgrad.training.model import Model
from glassgrad.training.programs import FEATURES, TARGETS, target_type

Floats = npt.NDArray[np.float64]

ITERATIONS = 24
"""Of Lanczos' method: the largest eigenvalue is far from the others, and settles within some ten."""

SETTLED = 0.005
BATCHES = (8, 64)
"""So many batches, at least and at most, stand for the running mean of squares that Adam and its like keep."""

SLOW = 0.02
"""A product that takes the interpreter longer than this, in seconds, is worth compiling."""

VECTOR, PRODUCT, GRADIENT = "vector/", "product/", "gradient/"


@dataclass(frozen=True)
class Curvature:
    """``sharpness`` is the largest eigenvalue of the Hessian, ``preconditioned`` that of it as the optimizer meets
    it, each weight in units of its own step. ``edge`` over the latter is ``bound``, the largest stable step: NaN
    where the surface only curves downwards, or the optimizer is not known here.
    """

    sharpness: float
    preconditioned: float
    edge: float

    @property
    def bound(self) -> float:
        """The largest stable step by the curvature."""
        return self.edge / self.preconditioned if self.preconditioned > 0 else math.nan

    def document(self) -> dict[str, Any]:
        """As plain values."""
        return plain_object(
            {
                "sharpness": self.sharpness,
                "preconditioned": self.preconditioned,
                "edge": self.edge,
                "bound": self.bound,
            }
        )


def edge(optimizer: Optimizer) -> float:
    """The largest stable learning rate times the (preconditioned) curvature; NaN for an optimizer of one's own.

    2 for gradient descent; 2 + 2 b with heavy-ball momentum b, (2 + 2 b) / (1 + 2 b) with Nesterov's (J. Cohen et
    al., Gradient descent on neural networks typically occurs at the edge of stability, ICLR 2021, equation 1);
    (2 + 2 b1) / (1 - b1) for Adam, whose first moment is a mean and not a sum (J. Cohen et al., Adaptive gradient
    methods at the edge of stability, 2022).
    """
    match optimizer:
        case SGD():
            b = optimizer.momentum
            return (2 + 2 * b) / (1 + 2 * b) if optimizer.nesterov else 2 + 2 * b
        case Adam() | AdamW():
            return (2 + 2 * optimizer.beta1) / (1 - optimizer.beta1)
        case RMSprop() | Adagrad():
            return 2.0
    return math.nan


def preconditioner(optimizer: Optimizer, squares: Floats, steps: int) -> Floats:
    """What each weight's gradient is divided by after ``steps`` steps, from its mean square over batches."""
    match optimizer:
        case Adam() | AdamW() | RMSprop():
            return np.sqrt(squares) + optimizer.epsilon
        case Adagrad():
            return np.sqrt(squares * max(steps, 1)) + optimizer.epsilon
    return np.ones_like(squares)


def curvature_program(
    network: Network,
    input_shape: Shape,
    loss: Loss,
    *,
    batch: int,
    targets: int | None,
    dtype: DType = "float32",
) -> Program:
    """The gradient of the loss of a batch in training, and the product of its Hessian with one vector per weight.

    The vectors are state, called ``vector/dense_1.weights`` and so on; the outputs are ``product/...`` and
    ``gradient/...``. Dropout is that of one step, always the same.
    """
    listed: list[Input] = []

    def take(name: str, role: Role, shape: Shape, kind: DType = dtype) -> Value:
        value = make_input(name, shape, kind)
        listed.append(Input(name, role, value))
        return value

    x = take(FEATURES, "data", (batch, *input_shape))
    t = take(TARGETS, "data", *target_type(batch, targets, dtype))
    row_mask = take("row_mask", "row_mask", (batch,), "bool")
    random = Randomness(
        take("seed", "seed", (2,), "uint32"),
        take("step", "step", (), "uint32"),
        take("row", "row", (batch,), "uint32"),
    )
    weights = {key: take(key, "param", item.shape) for key, item in network.weights(input_shape).items()}
    state = {key: take(key, "state", item.shape) for key, item in network.statistics(input_shape).items()}
    vectors = {key: take(VECTOR + key, "state", value.shape) for key, value in weights.items()}
    built = network.build(x, weights, state, row_mask=row_mask, random=random)
    total = loss.finish(weighted_mean(loss.row_losses(built.output, t), convert(row_mask, dtype)))
    wrt = list(weights.values())
    first = gradient(total, wrt)
    second = jvp(first, list(vectors.values()), wrt)  # the Hessian times the vectors (B. Pearlmutter, 1994)
    outputs = [Output(GRADIENT + key, value) for key, value in zip(weights, first, strict=True)]
    outputs += [
        Output(PRODUCT + key, zeros_like(weights[key]) if value is None else value)
        for key, value in zip(weights, second, strict=True)
    ]
    return Program("curvature", batch, tuple(listed), {}, tuple(outputs)).cleaned()


def largest_eigenvalue(
    product: Callable[[Floats], Floats], size: int, *, seed: int = 0, iterations: int = ITERATIONS
) -> float:
    """The algebraically largest eigenvalue of a symmetric matrix that is given as ``product`` (C. Lanczos, 1950).

    With full reorthogonalization. Ends as soon as the value has settled to half a percent. NaN where a product
    is not finite.
    """
    start = generator(seed, ROWS).standard_normal(size)
    basis = [start / np.linalg.norm(start)]
    diagonal: list[float] = []
    beside: list[float] = []
    value = math.nan
    for _ in range(min(iterations, size)):
        image = product(basis[-1])
        if not np.isfinite(image).all():
            return math.nan
        diagonal.append(float(basis[-1] @ image))
        matrix = np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1)
        previous, value = value, float(np.linalg.eigvalsh(matrix)[-1])
        known = np.array(basis)
        for _ in range(2):  # twice is enough (W. Kahan)
            image = image - known.T @ (known @ image)
        length = float(np.linalg.norm(image))
        settled = len(diagonal) > 3 and abs(value - previous) <= SETTLED * abs(value)
        if settled or length <= 1e-9 * max(abs(value), 1e-30):
            break
        beside.append(length)
        basis.append(image / length)
    return value


class Curvatures:
    """The curvature of the loss of ``subject`` on its probe rows, at any weights."""

    def __init__(self, subject: Subject) -> None:
        """Raises GraphError for a network with an op that cannot be differentiated twice."""
        self.subject = subject
        features, targets = subject.probe
        schema = subject.task.parts.schema
        self.data = {FEATURES: features, TARGETS: targets}
        self.count = len(features)
        self.program = curvature_program(
            subject.network,
            schema.feature_shape,
            subject.run.model.loss,
            batch=self.count,
            targets=subject.task.targets,
            dtype=subject.settings.dtype,
        )
        frozen = set(subject.settings.freeze)
        self.trained = [item.name for item in self.program.params if layer_of(item.name) not in frozen]
        self.shapes = {item.name: item.type.shape for item in self.program.params}
        self.executable: Executable = backend("reference").compile(self.program)
        start = time.perf_counter()
        self._call(subject.start, np.arange(self.count), None)
        self.seconds = time.perf_counter() - start
        if self.seconds > SLOW:
            self.executable = backend(subject.settings.backend).compile(self.program)

    def at(self, model: Model, steps: int) -> Curvature:
        """The curvature at the weights of ``model``, which the optimizer reaches after ``steps`` steps."""
        optimizer, rows = self.subject.settings.resolved_optimizer, np.arange(self.count)
        squares = self._squares(model)
        scale = 1 / np.sqrt(preconditioner(optimizer, squares, steps))
        size = len(squares)

        def plain_product(vector: Floats) -> Floats:
            return self._call(model, rows, vector)[PRODUCT]

        sharpness = largest_eigenvalue(plain_product, size)
        met = sharpness
        if not (scale == 1).all():
            met = largest_eigenvalue(lambda vector: scale * plain_product(scale * vector), size)
        return Curvature(sharpness, met, edge(optimizer))

    def _squares(self, model: Model) -> Floats:
        """The mean square of each weight's gradient over batches of the size that the run has.

        Each row is in one batch, so that no weight that matters is left with a mean of 0. Where that would be too
        many batches they are larger, and the variance is scaled by their size.
        """
        random = generator(self.subject.settings.seed, ROWS, 1)
        wanted = min(self.subject.task.batch, self.count)
        batch = max(wanted, -(-self.count // BATCHES[1]))
        found: list[Floats] = []
        while len(found) < BATCHES[0] and (batch < self.count or not found):
            rows = random.permutation(self.count)
            for begin in range(0, self.count - batch + 1, batch):
                order = np.full(self.count, -1)
                order[:batch] = rows[begin : begin + batch]
                found.append(self._call(model, order, None)[GRADIENT])
        gradients = np.array(found)
        squares: Floats = gradients.mean(axis=0) ** 2 + gradients.var(axis=0) * (batch / wanted)
        return squares

    def _call(self, model: Model, order: Array, vector: Floats | None) -> Mapping[str, Floats]:
        """Gradient and product of the trained weights, each as one vector."""
        dtype = self.subject.settings.dtype
        vectors: dict[str, Array] = {}
        place = 0
        for name, shape in self.shapes.items():
            own = np.zeros(shape, dtype)
            if vector is not None and name in self.trained:
                own = vector[place : place + own.size].reshape(shape).astype(dtype)
                place += own.size
            vectors[VECTOR + name] = own
        feed = Feed(self.data, order.astype(np.int32), model.weights, model.statistics | vectors, {})
        outputs = self.executable.run(feed).outputs
        return {
            kind: np.concatenate([outputs[kind + name].ravel() for name in self.trained]).astype(np.float64)
            for kind in (GRADIENT, PRODUCT)
        }


def curvatures(subject: Subject) -> dict[str, Curvature]:
    """At the "start" and at the "end" of the run; empty where the network cannot be differentiated twice."""
    try:
        found = Curvatures(subject)
    except GraphError as error:
        subject.skip(f"the curvature: {error}")
        return {}
    if not found.trained:
        return {}
    per_epoch = -(-len(subject.train_rows[0]) // subject.task.batch)
    return {
        "start": found.at(subject.start, per_epoch),
        "end": found.at(subject.run.model, subject.run.steps),
    }
