"""The curvature bound: how large a step the loss surface itself allows, from Hessian-vector products.

Along the direction of the largest Hessian eigenvalue lambda, the loss is locally a parabola with second derivative
lambda. Gradient descent on it diverges for steps above 2 / lambda. Momentum and per-weight steps move that edge (see
``edge`` and ``preconditioner``).
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
"""Iterations of Lanczos' method. The largest eigenvalue is well separated and converges within about ten."""

SETTLED = 0.005
BATCHES = (8, 64)
"""Minimum and maximum number of batches that estimate the running mean of squares of Adam and similar optimizers."""

SLOW = 0.02
"""The program is compiled if one product takes the interpreter longer than this, in seconds."""

VECTOR, PRODUCT, GRADIENT = "vector/", "product/", "gradient/"


@dataclass(frozen=True)
class Curvature:
    """The curvature of the loss at some weights.

    ``sharpness`` is the largest eigenvalue of the Hessian. ``preconditioned`` is the largest eigenvalue after scaling
    each weight by its own step, as the optimizer does. ``bound``, the largest stable step, is ``edge`` over
    ``preconditioned``: NaN if the loss only curves downwards or the optimizer is unknown.
    """

    sharpness: float
    preconditioned: float
    edge: float

    @property
    def bound(self) -> float:
        """The largest stable step according to the curvature."""
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
    """The largest stable learning rate times the (preconditioned) curvature; NaN for a custom optimizer.

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
    """The divisor of each weight's gradient after ``steps`` steps, from its mean square over batches."""
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
    """A program for the gradient of a batch's training loss and for Hessian-vector products.

    The vectors are state, named ``vector/dense_1.weights`` and so on. The outputs are ``product/...`` and
    ``gradient/...``. Dropout uses the mask of one fixed step.
    """
    inputs: list[Input] = []

    def take(name: str, role: Role, shape: Shape, kind: DType = dtype) -> Value:
        value = make_input(name, shape, kind)
        inputs.append(Input(name, role, value))
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
    return Program("curvature", batch, tuple(inputs), {}, tuple(outputs)).cleaned()


def largest_eigenvalue(
    product: Callable[[Floats], Floats], size: int, *, seed: int = 0, iterations: int = ITERATIONS
) -> float:
    """The algebraically largest eigenvalue of the symmetric matrix behind ``product`` (C. Lanczos, 1950).

    Uses full reorthogonalization. Stops when the value has converged to half a percent. NaN if a product is not
    finite.
    """
    start = generator(seed, ROWS).standard_normal(size)
    basis = [start / np.linalg.norm(start)]
    diagonal: list[float] = []
    off_diagonal: list[float] = []
    value = math.nan
    for _ in range(min(iterations, size)):
        image = product(basis[-1])
        if not np.isfinite(image).all():
            return math.nan
        diagonal.append(float(basis[-1] @ image))
        matrix = np.diag(diagonal) + np.diag(off_diagonal, 1) + np.diag(off_diagonal, -1)
        previous, value = value, float(np.linalg.eigvalsh(matrix)[-1])
        vectors = np.array(basis)
        for _ in range(2):  # Two passes are enough (W. Kahan).
            image = image - vectors.T @ (vectors @ image)
        length = float(np.linalg.norm(image))
        settled = len(diagonal) > 3 and abs(value - previous) <= SETTLED * abs(value)
        if settled or length <= 1e-9 * max(abs(value), 1e-30):
            break
        off_diagonal.append(length)
        basis.append(image / length)
    return value


class Curvatures:
    """Computes the curvature of the loss of ``subject`` on its probe rows, at any weights."""

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
        preconditioned = sharpness
        if not (scale == 1).all():
            preconditioned = largest_eigenvalue(lambda vector: scale * plain_product(scale * vector), size)
        return Curvature(sharpness, preconditioned, edge(optimizer))

    def _squares(self, model: Model) -> Floats:
        """The mean square of each weight's gradient, over batches of the size of the run's.

        Each row is in one batch, so that every weight with a gradient has a mean above 0. If that needs too many
        batches, the batches are larger, and the variance is scaled accordingly.
        """
        random = generator(self.subject.settings.seed, ROWS, 1)
        run_batch = min(self.subject.task.batch, self.count)
        batch = max(run_batch, -(-self.count // BATCHES[1]))
        batch_gradients: list[Floats] = []
        while len(batch_gradients) < BATCHES[0] and (batch < self.count or not batch_gradients):
            rows = random.permutation(self.count)
            for begin in range(0, self.count - batch + 1, batch):
                order = np.full(self.count, -1)
                order[:batch] = rows[begin : begin + batch]
                batch_gradients.append(self._call(model, order, None)[GRADIENT])
        gradients = np.array(batch_gradients)
        squares: Floats = gradients.mean(axis=0) ** 2 + gradients.var(axis=0) * (batch / run_batch)
        return squares

    def _call(self, model: Model, order: Array, vector: Floats | None) -> Mapping[str, Floats]:
        """The gradient and the Hessian-vector product of the trained weights, each as one vector."""
        dtype = self.subject.settings.dtype
        vectors: dict[str, Array] = {}
        offset = 0
        for name, shape in self.shapes.items():
            part = np.zeros(shape, dtype)
            if vector is not None and name in self.trained:
                part = vector[offset : offset + part.size].reshape(shape).astype(dtype)
                offset += part.size
            vectors[VECTOR + name] = part
        feed = Feed(self.data, order.astype(np.int32), model.weights, model.statistics | vectors, {})
        outputs = self.executable.run(feed).outputs
        return {
            kind: np.concatenate([outputs[kind + name].ravel() for name in self.trained]).astype(np.float64)
            for kind in (GRADIENT, PRODUCT)
        }


def curvatures(subject: Subject) -> dict[str, Curvature]:
    """The curvature at the "start" and "end" of the run; empty if the network cannot be differentiated twice."""
    try:
        computation = Curvatures(subject)
    except GraphError as error:
        subject.skip(f"the curvature: {error}")
        return {}
    if not computation.trained:
        return {}
    per_epoch = -(-len(subject.train_rows[0]) // subject.task.batch)
    return {
        "start": computation.at(subject.start, per_epoch),
        "end": computation.at(subject.run.model, subject.run.steps),
    }
