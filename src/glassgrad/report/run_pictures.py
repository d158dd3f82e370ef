"""Figures of one run: losses, weights, and predictions compared with the targets."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from glassgrad.common.errors import InputError
from glassgrad.common.frozen import frozen
from glassgrad.report.drawing import Mark
from glassgrad.report.figures import Line, Panel, bars, histogram, panels, scatter
from glassgrad.report.maps import confusion
from glassgrad.report.page import Block, Details, Figure, Table
from glassgrad.report.words import listed, number, percent
from glassgrad.training.run import Run

MOST_CLASSES = 25
MOST_WEIGHTS = 8
MOST_TARGETS = 3
PART_ROWS = {"train": "training rows", "validation": "validation rows", "test": "test rows"}
"""The name of each part of the data in a sentence."""

Floats = npt.NDArray[np.float64]


@frozen
class Rows:
    """Rows of one part of the data, as the source gives them. ``part`` is "train", "validation" or "test"."""

    part: str
    features: Any
    targets: npt.NDArray[Any]

    @property
    def name(self) -> str:
        """The name of these rows in a sentence, such as "test rows"."""
        return PART_ROWS[self.part]


def unseen_rows(run: Run) -> Rows:
    """The test rows; the validation rows if there are none, or else the training rows."""
    assert run.split is not None
    for part in ("test", "validation", "train"):
        rows = run.split.take(run.dataset, part)
        if rows is not None:
            return Rows(part, *rows)
    raise InputError(f"{run.dataset.name}: has no rows to show")


# --- learning rate -------------------------------------------------------------------------------------------


def loss_curves(run: Run, constant: float | None = None) -> list[Block]:
    """The losses by epoch, above the learning rate. ``constant`` is the loss of the best constant prediction."""
    if not run.history:
        return []
    training, validation, rates = (
        np.array([record.get(name, math.nan) for record in run.history], np.float64)
        for name in ("train_loss", "validation_loss", "learning_rate")
    )
    lines = [Line("training loss", training)]
    if np.isfinite(validation).any():
        lines.append(Line("validation loss", validation))
    marks = [] if constant is None else [Mark("best constant guess", y=constant)]
    if run.best_epoch is not None and run.best_epoch < len(run.history):
        marks.append(Mark("weights kept", x=run.best_epoch))
    losses = np.concatenate([np.asarray(line.y) for line in lines])
    losses = losses[np.isfinite(losses)]
    log = len(losses) > 0 and losses.min() > 0 and losses.max() > 10 * losses.min()
    stack = [Panel(lines, "loss", log_y=log, marks=marks)]
    caption = "Lower is better. "
    if np.ptp(rates) > 0:
        stack.append(Panel([Line("", rates, role="muted")], "learning rate", from_zero=True, share=0.42))
        caption += "The lower panel shows the learning rate. "
    else:
        caption += f"The learning rate stayed at {number(rates[0])}. "
    if log:
        caption += "The loss axis is logarithmic."
    svg = panels(stack, title="Loss by epoch", x_label="epoch", whole_x=True, wide=True)
    return [Figure(svg, caption.strip(), "The loss, epoch by epoch", wide=True)]


# --- loss ----------------------------------------------------------------------------------------------------


def against_a_guess(run: Run, constant: float) -> list[Block]:
    """The loss on each part beside that of the best constant prediction."""
    losses = {part: metrics.get("loss") for part, metrics in run.metrics.items()}
    shown = {"best constant guess": constant} | {PART_ROWS[part]: losses[part] for part in losses}
    picture = bars(
        list(shown),
        {"loss": [math.nan if value is None else value for value in shown.values()]},
        title="Loss of the network and of a constant guess",
        x_label="loss",
        roles=["muted"] + ["series_1"] * len(losses),
    )
    caption = (
        "The constant guess gives every row the same answer. The gap between it and the network is what the network "
        "learned from the inputs. A loss that is much higher on unseen rows than on training rows means overfitting."
    )
    return [Figure(picture, caption, "Better than guessing?")]


def against_the_truth(run: Run, rows: Rows) -> list[Block]:
    """The predictions for ``rows`` against their targets: a confusion matrix, or a scatter plot and residuals."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # training already warned about unusual rows
        predicted = run.model.predict(rows.features)
    if run.model.schema.classes is not None:
        return _confusions(run, rows, predicted)
    true = rows.targets.reshape(len(rows.targets), -1).astype(np.float64)
    estimates = predicted.reshape(len(predicted), -1).astype(np.float64)
    blocks: list[Block] = []
    for column in range(min(true.shape[1], MOST_TARGETS)):
        of_target = "" if true.shape[1] == 1 else f" of target {run.model.schema.output_names[column]}"
        blocks += _regression_figures(rows.name, of_target, true[:, column], estimates[:, column])
    return blocks


def _regression_figures(rows_name: str, of_target: str, true: Floats, predicted: Floats) -> list[Block]:
    """Predicted against true values [rows] of one target, and a histogram of the residuals."""
    finite = np.isfinite(predicted)
    residuals = (predicted - true)[finite]
    points = scatter(
        true[finite],
        predicted[finite],
        title=f"Predicted against true values{of_target}",
        x_label="true",
        y_label="predicted",
        diagonal="a perfect prediction",
    )
    blocks: list[Block] = [
        Figure(
            points,
            f"Each dot is one of the {rows_name}. The closer the dots are to the line, the better.",
            f"Predicted against true{of_target}",
        )
    ]
    if len(residuals) > 1 and np.ptp(residuals) > 0:
        low, high = np.quantile(residuals, [0.005, 0.995])
        edges = np.linspace(low, high if high > low else low + 1.0, 41)
        counts = np.histogram(residuals, edges)[0]
        picture = histogram(
            edges,
            {"rows": counts},
            title=f"Errors{of_target}",
            x_label="predicted minus true",
            y_label="rows",
            marks=[Mark("exact", x=0.0)] if low < 0 < high else [],
        )
        caption = "Errors should be centred on zero. A peak to one side means that they are biased."
        blocks.append(Figure(picture, caption, f"Size of the errors{of_target}"))
    return blocks


def _confusions(run: Run, rows: Rows, predicted: npt.NDArray[Any]) -> list[Block]:
    classes = run.model.schema.classes
    assert classes is not None
    class_index = {label: index for index, label in enumerate(classes)}
    counts = np.zeros((len(classes), len(classes)), np.int64)  # [true, predicted]
    for true, prediction in zip(rows.targets.tolist(), predicted.tolist(), strict=True):
        counts[class_index[true], class_index[prediction]] += 1
    totals = counts.sum(axis=1)
    mistakes = counts - np.diag(np.diag(counts))
    true, prediction = divmod(int(np.argmax(mistakes)), len(classes))
    most = ""
    if mistakes[true, prediction] > 1:
        most = (
            f" The most frequent mistake is {classes[prediction]} instead of {classes[true]} "
            f"({mistakes[true, prediction]} times)."
        )
    blocks: list[Block] = []
    if len(classes) <= MOST_CLASSES:
        caption = f"Counts of the {rows.name}: correct predictions on the diagonal in blue, mistakes in orange.{most}"
        picture = confusion(counts, classes, title="Correct predictions and mistakes")
        blocks.append(Figure(picture, caption, "Which classes are confused"))
    table = [
        (
            str(label),
            int(totals[i]),
            percent(counts[i, i] / totals[i]) if totals[i] else "–",
            listed(
                [
                    f"{classes[j]} ({mistakes[i, j]})"
                    for j in np.argsort(-mistakes[i], kind="stable")[:2]
                    if mistakes[i, j]
                ]
            )
            or "–",
        )
        for i, label in enumerate(classes)
    ]
    blocks.append(Details("Class by class", [Table(["class", "rows", "correct", "confused with"], table)]))
    return blocks


# --- initialization ------------------------------------------------------------------------------------------


def weight_spreads(run: Run) -> list[Block]:
    """Histograms of the weights before and after training, one figure for each array of weights."""
    assert run.start is not None
    names = [name for name in run.model.weights if not name.endswith("bias")]
    figures: list[Block] = []
    for name in names[:MOST_WEIGHTS]:
        start, end = (np.asarray(model.weights[name], np.float64).ravel() for model in (run.start, run.model))
        end = end[np.isfinite(end)]
        if len(end) == 0:
            continue
        limit = float(np.quantile(np.abs(np.concatenate([start, end])), 0.998)) or 1.0
        edges = np.linspace(-limit, limit, min(48, max(8, math.isqrt(start.size))) + 1)
        counts = {"start": np.histogram(start, edges)[0], "end": np.histogram(end, edges)[0]}
        picture = histogram(edges, counts, title=f"Weights of {name}", x_label="weight", y_label="count")
        figures.append(Figure(picture, "", f"Weights of {name.removesuffix('.weights')}"))
    return figures
