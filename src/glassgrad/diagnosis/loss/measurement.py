"""Measures the loss: against the baseline, at the start, on one batch, by class, and on held-out rows."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from glassgrad.backends.base import Array
from glassgrad.backends.reference import evaluate
from glassgrad.common.errors import GraphError, InputError
from glassgrad.common.frozen import frozen
from glassgrad.data.dataset import from_arrays
from glassgrad.diagnosis.core.baseline import constant_scores, remaining_share
from glassgrad.diagnosis.core.plain import plain_object
from glassgrad.diagnosis.core.scores import levels_of, nearest_level
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.measures.calibration import Calibration, calibration
from glassgrad.diagnosis.measures.simple_learner import SimpleLearner, simple_learner
from glassgrad.diagnosis.measures.two_parts import TwoParts, two_parts
from glassgrad.graph.node import Graph
from glassgrad.losses.base import Loss
from glassgrad.nn.layers.dropout import Dropout
from glassgrad.ops.op import make_input
from glassgrad.training.changes import changed_settings
from glassgrad.training.many import train_many
from glassgrad.training.metrics import finished, quantities
from glassgrad.training.settings import Settings

Floats = npt.NDArray[np.float64]

BATCH = 32
BATCH_STEPS = 400
BATCH_RATES = (0.001, 0.01)
BATCH_SECONDS = 1.0
LEARNED = 0.9
"""If this share of the baseline's mistakes, or variance, remains, the network has learned next to nothing."""

LEFT = 0.05
"""If less than this share of the baseline's mistakes remains, more capacity cannot gain anything."""

LEAST_GAP = 0.25
"""Lower limit of the gap, as a share of the baseline's loss; a smaller gap may be chance."""


@dataclass(frozen=True)
class OneBatch:
    """The network trained on ``rows`` rows alone with Adam, a test of capacity and wiring (Karpathy 2019).

    ``loss`` is its loss and ``constant`` the baseline's loss on these rows. ``left`` is the share of the baseline's
    mistakes or variance that remains.
    """

    rows: int
    steps: int
    loss: float
    constant: float
    left: float

    def document(self) -> dict[str, Any]:
        """As plain values."""
        return plain_object(vars(self))


@dataclass(frozen=True)
class AsLabels:
    """Numbers read as labels.

    ``values`` is the number of distinct values, ``rounded`` the share of wrong predictions after rounding, and
    ``simple`` the share of mistakes of a simple classifier.
    """

    values: int
    rounded: float
    simple: float


@frozen
class LossMeasurement:
    """The measurement of the loss.

    ``constant`` is the loss of the baseline, ``start`` that of the initial weights on some training rows, and
    ``expected_start`` that of uninformative outputs (log K for K classes under a cross-entropy). ``training`` and
    ``validation`` are the scores of the final weights. ``left`` is the share of the baseline's mistakes or variance
    that remains on (training, validation) rows.

    From the history: ``best`` is the epoch (from 0) of the lowest validation loss, ``rise`` its rise since, and
    ``apart`` its final distance from the training loss, both in units of the gap from the baseline's loss to the
    lowest one. ``falls`` says whether the training loss kept falling after ``best``, and ``falling`` is the share of
    the gap that it gained in the last third of the epochs.

    ``counts`` [classes] are numbers of training rows, and ``recalls`` [classes] are measured on held-out rows.
    ``reason`` says why loss, outputs and targets do not fit. ``as_labels`` is set for a regression on few whole
    numbers.
    """

    loss: str
    output: str
    reason: str | None
    constant: float
    start: float
    expected_start: float
    training: Mapping[str, float]
    validation: Mapping[str, float]
    left: tuple[float, float]
    train_curve: Floats
    validation_curve: Floats
    best: int
    rise: float
    apart: float
    falls: bool
    falling: float
    held_rows: int
    simple: SimpleLearner
    batch: OneBatch | None
    classes: tuple[str, ...]
    counts: npt.NDArray[np.int64]
    recalls: Floats
    calibration: Calibration | None
    parts: TwoParts | None
    as_labels: AsLabels | None
    outliers: float
    shrinking: float
    dropout: float
    narrowest: int | None

    @property
    def best_share(self) -> float:
        """The lowest validation loss as a share of the baseline's; NaN if undefined."""
        finite = self.validation_curve[np.isfinite(self.validation_curve)]
        return float(finite.min()) / self.constant if len(finite) and self.constant > 0 else math.nan

    def document(self) -> dict[str, Any]:
        """As plain values."""
        return plain_object(
            {
                "loss": self.loss,
                "output_activation": self.output,
                "refused": self.reason,
                "constant": self.constant,
                "start": self.start,
                "expected_start": self.expected_start,
                "training": self.training,
                "validation": self.validation,
                "left_training": self.left[0],
                "left_validation": self.left[1],
                "best_epoch": self.best + 1,
                "validation_rise": self.rise,
                "validation_above_training": self.apart,
                "won_by_last_third": self.falling,
                "simple_learner": self.simple.document(),
                "one_batch": None if self.batch is None else self.batch.document(),
                "class_counts": dict(zip(self.classes, self.counts.tolist(), strict=True)),
                "recalls": dict(zip(self.classes, self.recalls.tolist(), strict=True)),
                "calibration": None if self.calibration is None else self.calibration.document(),
                "train_and_test": None if self.parts is None else self.parts.document(),
                "weight_decay_over_the_run": self.shrinking,
                "dropout": self.dropout,
                "narrowest_layer": self.narrowest,
            }
        )


def measure_loss(subject: Subject) -> LossMeasurement:
    """Measure everything about the loss of ``subject``."""
    run, schema, loss = subject.run, subject.task.parts.schema, subject.run.model.loss
    constant = subject.constant
    train, held = subject.train_rows, subject.validation_rows
    count = None if schema.classes is None else len(schema.classes)
    scores = {part: run.metrics.get(part, {}) for part in ("train", "validation")}
    scores["validation"] = scores["validation"] or scores["train"]
    with np.errstate(all="ignore"):
        outputs = run.model.outputs_prepared(held[0]).astype(np.float64)
    hyperparameters = subject.settings.resolved_optimizer.hyperparameters()
    shrinking = hyperparameters["learning_rate"] * hyperparameters.get("weight_decay", 0.0) * subject.steps[0]
    curves = _curves(run.history)
    best, rise, apart, falls = _generalization(*curves, constant["loss"])
    test = subject.task.parts.test
    return LossMeasurement(
        loss=loss.name,
        output=run.model.network.final_activation().name,
        reason=_reason(subject),
        constant=constant["loss"],
        start=subject.start.evaluate_prepared(*subject.probe)["loss"],
        expected_start=expected_start(loss, subject.probe[1], count, schema.outputs),
        training=scores["train"],
        validation=scores["validation"],
        left=subject.left,
        train_curve=curves[0],
        validation_curve=curves[1],
        best=best,
        rise=rise,
        apart=apart,
        falls=falls,
        falling=_falling(curves[0], constant["loss"]),
        held_rows=len(held[0]),
        simple=simple_learner(train, held, count),
        batch=one_batch(subject),
        classes=() if schema.classes is None else tuple(map(str, schema.classes)),
        counts=np.zeros(0, np.int64) if count is None else np.bincount(train[1], minlength=count),
        recalls=np.zeros(0) if count is None else recalls(loss.predicted_classes(outputs), held[1], count),
        calibration=_calibration(loss, outputs, held[1], count),
        parts=None if test is None else two_parts(train[0], test[0]),
        as_labels=_as_labels(subject, outputs),
        outliers=0.0 if count is not None else outlier_share(train[1]),
        shrinking=shrinking,
        dropout=max(
            (node.layer.rate for node in run.model.network.nodes if isinstance(node.layer, Dropout)),
            default=0.0,
        ),
        narrowest=narrowest(subject),
    )


def _reason(subject: Subject) -> str | None:
    """Why loss, outputs and targets do not fit, even if the user forced the training; None if they fit."""
    if subject.refusal is not None:
        return subject.refusal.message if subject.refusal.option == "loss" else None
    schema, loss = subject.task.parts.schema, subject.run.model.loss
    targets = subject.train_rows[1]
    return loss.refusal(
        subject.network.final_activation(),
        classification=schema.classes is not None,
        classes=None if schema.classes is None else len(schema.classes),
        target_range=None if schema.classes is not None else (float(targets.min()), float(targets.max())),
    )


def expected_start(loss: Loss, targets: Array, classes: int | None, numbers: int) -> float:
    """The loss of uninformative outputs: all 0, or -log K for log-probabilities; NaN if undefined."""
    n = loss.units(classes, numbers)
    output = -math.log(n) if loss.expects == "log_probabilities" else 0.0
    outputs = make_input("outputs", (len(targets), n), "float64")
    truth = make_input("targets", targets.shape, "int32" if targets.dtype.kind == "i" else "float64")
    rows = evaluate(
        Graph((outputs, truth), (loss.row_losses(outputs, truth),)),
        [np.full((len(targets), n), output), targets],
    )
    return finished(loss, float(np.mean(rows[0])))


def _curves(history: Sequence[Mapping[str, float | int]]) -> tuple[Floats, Floats]:
    train, held = (
        np.array([record.get(name, math.nan) for record in history], np.float64)
        for name in ("train_loss", "validation_loss")
    )
    return train, held


def _generalization(train: Floats, held: Floats, constant: float) -> tuple[int, float, float, bool]:
    """The fields ``best``, ``rise``, ``apart`` and ``falls`` of ``LossMeasurement``."""
    if len(held) < 3 or not np.isfinite(held).all() or not np.isfinite(train).all():
        return max(len(held) - 1, 0), math.nan, math.nan, False
    best = int(np.argmin(held))
    last = slice(-max(len(held) // 5, 1), None)
    gap = max(constant - float(held[best]), LEAST_GAP * abs(constant))
    if not gap > 1e-6:  # Such a loss cannot be compared with the baseline.
        return best, math.nan, math.nan, False
    end = float(np.median(held[last]))
    falls = float(np.median(train[last])) < float(train[best])
    return best, (end - float(held[best])) / gap, (end - float(np.median(train[last]))) / gap, falls


def _falling(train: Floats, constant: float) -> float:
    """The share of the gap from the baseline's loss to the lowest one that the last third of the epochs gained."""
    if len(train) < 3 or not np.isfinite(train).all():
        return math.nan
    third = max(len(train) // 3, 1)
    gap = max(constant - float(train.min()), LEAST_GAP * abs(constant))
    return (float(train[-third - 1]) - float(train[-1])) / gap if gap > 0 else math.inf


def one_batch(subject: Subject) -> OneBatch | None:
    """The network trained on few rows alone; None without time, or if the training is impossible."""
    features, targets = subject.train_rows
    rows = _batch_rows(targets, subject.classification)
    seconds = subject.trials.seconds_compiling + BATCH_SECONDS * min(subject.run.model.parameters / 1e6, 1)
    if not subject.clock.allows(seconds, "fitting one batch"):
        return None
    settings = subject.settings
    try:
        if any(isinstance(node.layer, Dropout) for node in subject.network.nodes):
            settings = changed_settings(settings, {"dropout": 0.0})
        base = replace(
            changed_settings(settings, {"optimizer": "adam", "learning_rate": BATCH_RATES[0]}),
            watch=False,
            force=True,
            scaling="none",
            schedule="constant",
            clip_norm=None,
            clip_value=None,
            batch_size=len(rows),
            epochs=BATCH_STEPS,
            keep="last",
            validation=0.0,
            test=0.0,
        )
        task = "classification" if subject.classification else "regression"
        y = targets[rows]
        data = from_arrays(features[rows], y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y, task=task)
        options = [{"learning_rate": rate} for rate in BATCH_RATES]
        variants = [changed_settings(base, option) for option in options]
        runs = train_many(data, [_options(variant) for variant in variants])
    except (InputError, GraphError):
        return None
    parts = runs[0].task.parts
    constant = constant_scores(runs[0].model.loss, parts.schema, parts.train[1])
    metrics = [run.metrics["train"] for run in runs if run.status == "finished" and "train" in run.metrics]
    if not metrics:
        return OneBatch(len(rows), BATCH_STEPS, math.inf, constant["loss"], math.inf)
    best = min(metrics, key=lambda scores: scores["loss"])
    return OneBatch(len(rows), BATCH_STEPS, best["loss"], constant["loss"], remaining_share(best, constant))


def _options(settings: Settings) -> dict[str, Any]:
    return {item.name: getattr(settings, item.name) for item in dataclasses.fields(settings) if item.init}


def _batch_rows(targets: Array, classification: bool) -> Any:
    """The indices of the first rows, equally many of each class."""
    if not classification:
        return np.arange(min(BATCH, len(targets)))
    groups = [np.flatnonzero(targets == label) for label in np.unique(targets)]
    each = max(BATCH // len(groups), 1)
    return np.sort(np.concatenate([group[:each] for group in groups]))


def recalls(predicted: Array, true: Array, classes: int) -> Floats:
    """The recall of every class [classes]; NaN for a class without rows."""
    with np.errstate(invalid="ignore"):
        shares: Floats = np.bincount(true[predicted == true], minlength=classes) / np.bincount(
            true, minlength=classes
        )
    return shares


def _calibration(loss: Loss, outputs: Floats, targets: Array, classes: int | None) -> Calibration | None:
    if classes is None:
        return None
    with np.errstate(all="ignore"):
        p = loss.probabilities(outputs)
    if p is None or p.shape[1] != classes or not np.allclose(p.sum(axis=1), 1, atol=1e-3):
        return None
    return calibration(p, targets)


def _as_labels(subject: Subject, outputs: Floats) -> AsLabels | None:
    """``AsLabels`` for a regression on few whole numbers; None for any other task."""
    schema, loss = subject.task.parts.schema, subject.run.model.loss
    if schema.classes is not None or loss.expects != "values":
        return None
    (x, train), (held, true) = subject.train_rows, subject.validation_rows
    levels = levels_of(schema.decode_outputs(train))
    if levels is None:
        return None
    numbers, truth, rounded = (
        nearest_level(schema.decode_outputs(values), levels)
        for values in (train, true, quantities(loss, outputs))
    )
    simple = simple_learner((x, numbers), (held, truth), len(levels))
    baseline = float(np.mean(truth != np.bincount(numbers).argmax()))
    return AsLabels(len(levels), float(np.mean(rounded != truth)), simple.left * baseline)


def outlier_share(targets: Array) -> float:
    """The share of the variance that comes from the farthest 1 % of the rows: 0.08 for a normal distribution."""
    squares = (
        np.square(targets - targets.mean(axis=0), dtype=np.float64).reshape(len(targets), -1).sum(axis=1)
    )
    largest = np.sort(squares)[-max(len(squares) // 100, 1) :]
    return float(largest.sum() / max(float(squares.sum()), 1e-300))


def narrowest(subject: Subject) -> int | None:
    """The size of the narrowest hidden layer, in values per row; None without a hidden layer."""
    network = subject.network
    shapes = network.shapes(subject.task.parts.schema.feature_shape)
    sizes = [
        math.prod(shapes[node.name])
        for node in network.nodes[:-1]
        if node.layer.weights([shapes[source] for source in node.inputs])
    ]
    return min(sizes, default=None)
