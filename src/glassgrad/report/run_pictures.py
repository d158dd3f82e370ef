"""Pictures of one run: its losses, its weights, and what it says of rows against what is true."""

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
_ROWS = {"train": "training rows", "validation": "validation rows", "test": "test rows"}

Floats = npt.NDArray[np.float64]


@frozen
class Rows:
    """Rows of one part of the data, as the source gives them. ``part`` is what a sentence calls them."""

    part: str
    features: Any
    targets: npt.NDArray[Any]


def unseen_rows(run: Run) -> Rows:
    """The rows of the test part; without one those of the validation part, or else the training rows."""
    assert run.split is not None
    for part in ("test", "validation", "train"):
        rows = run.split.take(run.dataset, part)
        if rows is not None:
            return Rows(part, *rows)
    raise InputError(f"{run.dataset.name}: has no rows to show")


# --- learning rate -------------------------------------------------------------------------------------------


def loss_curves(run: Run, constant: float | None = None) -> list[Block]:
    """The losses by epoch, over the learning rate. ``constant`` is the loss of the best constant prediction."""
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
    seen = np.concatenate([np.asarray(line.y) for line in lines])
    seen = seen[np.isfinite(seen)]
    log = len(seen) > 0 and seen.min() > 0 and seen.max() > 10 * seen.min()
    stack = [Panel(lines, "loss", log_y=log, marks=marks)]
    caption = "Lower is better. "
    if np.ptp(rates) > 0:
        stack.append(Panel([Line("", rates, role="muted")], "learning rate", from_zero=True, share=0.42))
        caption += "Below it, the learning rate in the same epochs. "
    else:
        caption += f"The learning rate was {number(rates[0])} all along. "
    if log:
        caption += "Equal distances upwards are equal factors."
    svg = panels(stack, title="Loss by epoch", x_label="epoch", whole_x=True, wide=True)
    return [Figure(svg, caption.strip(), "The loss, epoch by epoch", wide=True)]


# --- loss ----------------------------------------------------------------------------------------------------


def against_a_guess(run: Run, constant: float) -> list[Block]:
    """The loss of each part beside that of the best constant prediction."""
    losses = {part: found.get("loss") for part, found in run.metrics.items()}
    shown = {"best constant guess": constant} | {_ROWS[part]: losses[part] for part in losses}
    picture = bars(
        list(shown),
        {"loss": [math.nan if value is None else value for value in shown.values()]},
        title="Loss of the network and of a constant guess",
        x_label="loss",
        roles=["muted"] + ["series_1"] * len(losses),
    )
    caption = (
        "The guess is the same for every row. What the network is better by, it has learned from the inputs. If its "
        "bar is much longer for rows that it was not trained on, it knows its training rows by heart."
    )
    return [Figure(picture, caption, "Better than guessing?")]


def against_the_truth(run: Run, rows: Rows) -> list[Block]:
    """What the network says of ``rows`` against what is true: a confusion matrix, or points and residuals."""
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", UserWarning
        )  # what is odd about some rows was said when it was trained
        predicted = run.model.predict(rows.features)
    if run.model.schema.classes is not None:
        return _confusions(run, rows, predicted)
    true = rows.targets.reshape(len(rows.targets), -1).astype(np.float64)
    guessed = predicted.reshape(len(predicted), -1).astype(np.float64)
    blocks: list[Block] = []
    for column in range(min(true.shape[1], MOST_TARGETS)):
        what = "" if true.shape[1] == 1 else f" of target {run.model.schema.output_names[column]}"
        blocks += _quantities(rows.part, what, true[:, column], guessed[:, column])
    return blocks


def _quantities(part: str, what: str, true: Floats, guessed: Floats) -> list[Block]:
    fine = np.isfinite(guessed)
    residuals = (guessed - true)[fine]
    points = scatter(
        true[fine],
        guessed[fine],
        title=f"Predicted against true values{what}",
        x_label="true",
        y_label="predicted",
        diagonal="a perfect prediction",
    )
    blocks: list[Block] = [
        Figure(
            points,
            f"Rows of the {part} part. The nearer to the line, the better.",
            f"Predicted against true{what}",
        )
    ]
    if len(residuals) > 1 and np.ptp(residuals) > 0:
        low, high = np.quantile(residuals, [0.005, 0.995])
        edges = np.linspace(low, high if high > low else low + 1.0, 41)
        counts = np.histogram(residuals, edges)[0]
        picture = histogram(
            edges,
            {"rows": counts},
            title=f"Errors{what}",
            x_label="predicted minus true",
            y_label="rows",
            marks=[Mark("exact", x=0.0)] if low < 0 < high else [],
        )
        caption = "A hill around zero is right; one to the side of it means predictions that are too high or too low."
        blocks.append(Figure(picture, caption, f"How far off{what}"))
    return blocks


def _confusions(run: Run, rows: Rows, predicted: npt.NDArray[Any]) -> list[Block]:
    classes = run.model.schema.classes
    assert classes is not None
    place = {label: position for position, label in enumerate(classes)}
    counts = np.zeros((len(classes), len(classes)), np.int64)
    for true, guess in zip(rows.targets.tolist(), predicted.tolist(), strict=True):
        counts[place[true], place[guess]] += 1
    totals = counts.sum(axis=1)
    off = counts - np.diag(np.diag(counts))
    pairs = [divmod(int(i), len(classes)) for i in np.argsort(-off, axis=None, kind="stable")[:5]]
    worst = [(a, b) for a, b in pairs if off[a, b] > 0]
    most = ""
    if worst and off[worst[0]] > 1:
        a, b = worst[0]
        most = f" Most often, {classes[a]} is taken for {classes[b]} ({off[a, b]} times)."
    blocks: list[Block] = []
    if len(classes) <= MOST_CLASSES:
        caption = (
            f"Rows of the {rows.part} part. Blue on the diagonal is right, orange is taken for another.{most}"
        )
        picture = confusion(counts, classes, title="Right answers and confusions")
        blocks.append(Figure(picture, caption, "Which classes are taken for which"))
    table = [
        (
            str(label),
            int(totals[i]),
            percent(counts[i, i] / totals[i]) if totals[i] else "–",
            listed(
                [f"{classes[j]} ({off[i, j]})" for j in np.argsort(-off[i], kind="stable")[:2] if off[i, j]]
            )
            or "–",
        )
        for i, label in enumerate(classes)
    ]
    blocks.append(Details("Class by class", [Table(["class", "rows", "right", "taken for"], table)]))
    return blocks


# --- initialization ------------------------------------------------------------------------------------------


def weight_spreads(run: Run) -> list[Block]:
    """The weights at the start and at the end, layer by layer."""
    assert run.start is not None
    names = [name for name in run.model.weights if not name.endswith("bias")]
    figures: list[Block] = []
    for name in names[:MOST_WEIGHTS]:
        start, end = (np.asarray(model.weights[name], np.float64).ravel() for model in (run.start, run.model))
        end = end[np.isfinite(end)]
        if len(end) == 0:
            continue
        widest = float(np.quantile(np.abs(np.concatenate([start, end])), 0.998)) or 1.0
        edges = np.linspace(-widest, widest, min(48, max(8, math.isqrt(start.size))) + 1)
        counts = {"start": np.histogram(start, edges)[0], "end": np.histogram(end, edges)[0]}
        picture = histogram(edges, counts, title=f"Weights of {name}", x_label="weight", y_label="how many")
        figures.append(Figure(picture, "", f"Weights of {name.removesuffix('.weights')}"))
    return figures
