"""Compute the numbers and draw the pictures of five-questions.md from training runs.

    python docs/five_questions.py

draws the pictures into docs/five-questions/ and fills the numbers into the page. In the page, a number is between
``<!--=name-->`` and ``<!--/-->``. Seeds are fixed, so
every execution gives the same bits.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import five_questions_pictures as pictures
import numpy as np

from glassgrad.data.sources import load_source
from glassgrad.explain.explain import explain_derivative, telling_weight
from glassgrad.explain.explanation import Explanation
from glassgrad.training.many import train_many
from glassgrad.training.run import Run
from glassgrad.training.train import train

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE = Path(__file__).with_name("five-questions.md")
PICTURES = PAGE.with_suffix("")
SPOT = re.compile(r"<!--=([\w.]+)-->(.*?)<!--/-->", re.DOTALL)

# Double precision: processors round differently, but the digits shown are the same.
OPTIONS: dict[str, Any] = {"dtype": "float64", "seed": 0, "epochs": 20, "keep": "last"}
RATES = (0.0001, 0.0003, 0.002, 0.01, 0.05, 1.0)
INITS = {"zeros": "zeros", "too small": "normal(0.01)", "right": "he_normal", "too large": "normal(1.0)"}
DEEP = (32,) * 8
STACKS = {"sigmoid": "xavier_normal", "relu": "he_normal"}


@dataclass
class Answer:
    """The answer to one question: texts for the page by name, and functions that draw its pictures."""

    texts: dict[str, str] = field(default_factory=dict)
    pictures: dict[str, Callable[[], Figure]] = field(default_factory=dict)


# --- the five questions --------------------------------------------------------------------------------------


def neuron() -> Answer:
    """One neuron of a digits network: its weights, one row for which it is active, and one for which it is not."""
    data = load_source("digits")
    labels = np.asarray(data.targets)
    run = train(data, layers=(16,), **OPTIONS)
    model = run.model
    active = model.inside(data.features, "dense_1")["dense_1"] > 0
    active_share = np.array([active[labels == digit].mean(axis=0) for digit in range(10)])
    neuron_index = int(np.ptp(active_share, axis=0).argmax())
    most, least = int(active_share[:, neuron_index].argmax()), int(active_share[:, neuron_index].argmin())
    rows = [int(np.flatnonzero(labels == digit)[0]) for digit in (most, least)]
    x = model.prepare(data.features[rows]).reshape(2, -1)
    weights, bias = (
        model.weights["dense_1.weights"][:, neuron_index],
        model.weights["dense_1.bias"][neuron_index],
    )
    sums = x @ weights
    z = model.neuron(f"dense_1.preactivation[{neuron_index}]", data.features[rows])
    assert np.allclose(sums + bias, z)
    share = active.mean(axis=0)
    quiet = int(share.argmin())
    table = [[str(digit), _percent(active_share[digit, neuron_index])] for digit in range(10)]
    texts = {
        "neuron.accuracy": _percent(_test(run)),
        "neuron.number": str(neuron_index),
        "neuron.bias": f"{bias:.2f}",
        "neuron.yes_digit": str(most),
        "neuron.no_digit": str(least),
        "neuron.yes_sum": f"{sums[0]:.2f}",
        "neuron.yes_z": f"{z[0]:.2f}",
        "neuron.no_sum": f"{sums[1]:.2f}",
        "neuron.no_z": f"{z[1]:.2f}",
        "neuron.table": _table(
            ["digit", *(row[0] for row in table)], [["active", *(row[1] for row in table)]]
        ),
        "neuron.quiet": str(quiet),
        "neuron.quiet_share": _percent(share[quiet]),
    }
    pixels = np.asarray(data.features)[rows].reshape(2, 8, 8)

    def parts() -> Figure:
        figure, axes = pictures.new_figure(2, 3, 6.6, 4.6)
        bound = np.abs(weights).max()
        for line, (digit, total, value) in enumerate(zip((most, least), sums, z, strict=True)):
            product = (x[line] * weights).reshape(8, 8)
            state = "active" if value > 0 else "silent"
            pictures.image(axes[line][0], pixels[line], f"a row: the digit {digit}", None)
            pictures.image(axes[line][1], weights.reshape(8, 8), f"× weights of neuron {neuron_index}", bound)
            heading = f"= products, sum {total:.2f}\nwith the bias {value:.2f}: {state}"
            pictures.image(axes[line][2], product, heading, np.abs(x * weights).max())
        return figure

    def activity() -> Figure:
        figure, axes = pictures.new_figure(1, 1, 6.6, 2.7)
        colors = [pictures.color("fault" if item == quiet else "series_1") for item in range(len(share))]
        axes[0][0].bar(range(len(share)), 100 * share, color=colors)
        axes[0][0].set_xticks(range(len(share)))
        pictures.name_axes(axes[0][0], "neuron", "active for … % of the digits")
        return figure

    return Answer(texts, {"neuron": parts, "neurons": activity})


def learning_rate() -> Answer:
    """The same network with six learning rates."""
    data = load_source("digits")
    runs = train_many(data, [{"learning_rate": rate} for rate in RATES], layers=(32,), **OPTIONS)
    silent = [
        int((run.model.inside(data.features, "dense_1")["dense_1"] <= 0).all(axis=0).sum()) for run in runs
    ]
    rows = [
        [f"{rate:g}", _loss(_last(run)), _percent(_test(run)), str(dead)]
        for rate, run, dead in zip(RATES, runs, silent, strict=True)
    ]
    heads = ["learning rate", "training loss after 20 epochs", "test accuracy", "silent neurons of 32"]
    texts = {"rate.table": _table(heads, rows), "rate.silent": str(silent[-1])}

    def curves() -> Figure:
        shown = [(RATES[i], runs[i]) for i in (0, 2, -1)]
        lines = {
            f"{rate:g}: {word}": _losses(run)
            for (rate, run), word in zip(shown, ("too low", "right", "too high"), strict=True)
        }
        return pictures.curves(lines, "epoch", "training loss", level=float(np.log(10)))

    return Answer(texts, {"learning-rate": curves})


def initialization() -> Answer:
    """Eight layers of 32 neurons with four kinds of initial weights."""
    data = load_source("digits")
    runs = train_many(data, [{"init": init} for init in INITS.values()], layers=DEEP, force=True, **OPTIONS)
    sizes = {word: _sizes(run, data.features) for word, run in zip(INITS, runs, strict=True)}
    rows = [
        [
            f"{word}: `{INITS[word]}`",
            *(_two(sizes[word][layer]) for layer in (0, 3, 7)),
            _loss(run.start.evaluate(data.features, data.targets)["loss"] if run.start else np.nan),
            _loss(_last(run)),
            _percent(_test(run)),
        ]
        for word, run in zip(INITS, runs, strict=True)
    ]
    heads = ["initial weights", "layer 1", "layer 4", "layer 8", "loss at the start", "after 20 epochs"]
    texts = {
        "init.table": _table([*heads, "test accuracy"], rows),
        "init.shrink": f"{sizes['too small'][0] / sizes['too small'][1]:.0f}",
        "init.grow": f"{(sizes['too large'][7] / sizes['too large'][0]) ** (1 / 7):.1f}",
    }

    def through() -> Figure:
        lines = {word: list(size) for word, size in sizes.items() if word != "zeros"}
        return pictures.curves(lines, "layer", "size of the activations at the start")

    def reached() -> Figure:
        lines = {word: _losses(run) for word, run in zip(INITS, runs, strict=True) if word != "zeros"}
        return pictures.curves(lines, "epoch", "training loss")

    return Answer(texts, {"activations": through, "initialization": reached})


def loss() -> Answer:
    """The initial loss, the loss of a guess, and a network with too few rows."""
    data = load_source("digits")
    run = train(data, layers=(32,), **OPTIONS)
    assert run.start is not None
    labels = np.asarray(data.targets)
    shares = np.bincount(labels) / len(labels)
    right = float(run.metrics["test"]["accuracy"])
    options = OPTIONS | {"learning_rate": 0.01, "schedule": "constant", "epochs": 200}
    few = train(data, layers=(32,), test=0.5, validation=0.9, **options)
    validation_losses = [float(record["validation_loss"]) for record in few.history]
    accuracy = [float(record["validation_accuracy"]) for record in few.history]
    best = int(np.argmin(validation_losses))
    texts = {
        "loss.log10": f"{np.log(10):.4f}",
        "loss.constant": f"{-(shares * np.log(shares)).sum():.4f}",
        "loss.constant_accuracy": _percent(shares.max()),
        "loss.start": _loss(run.start.evaluate(data.features, labels)["loss"]),
        "loss.first": _loss(_losses(run)[0]),
        "loss.last": _loss(_last(run)),
        "loss.test": _loss(run.metrics["test"]["loss"]),
        "loss.accuracy": _percent(right),
        "loss.typical": _percent(np.exp(-run.metrics["test"]["loss"])),
        "loss.few_rows": str(few.rows["train"]),
        "loss.few_best": str(best + 1),
        "loss.few_best_loss": _loss(validation_losses[best]),
        "loss.few_best_accuracy": _percent(accuracy[best]),
        "loss.few_train": f"{_last(few):.4f}",
        "loss.few_last_loss": _loss(validation_losses[-1]),
        "loss.few_last_accuracy": _percent(accuracy[-1]),
    }

    def overfitting() -> Figure:
        lines = {"training rows": _losses(few), "validation rows": validation_losses}
        return pictures.curves(lines, "epoch", "loss", level=float(np.log(10)), mark=best + 1, log=False)

    return Answer(texts, {"overfitting": overfitting})


def chain_rule() -> Answer:
    """One derivative path by path, and the size of the gradient in eight layers."""
    data = load_source("digits")
    run = train(data, layers=(8, 4), activation="tanh", init="xavier_normal", learning_rate=0.01, **OPTIONS)
    row = int(np.flatnonzero(run.model.predict(data.features) != data.targets)[0])
    weight = telling_weight(run.model, data, row=row)
    explanation = explain_derivative(run.model, data, row=row, weight=weight, paths=1000)
    stacks = [
        train(data, layers=DEEP, activation=name, init=init, watch=True, **OPTIONS)
        for name, init in STACKS.items()
    ]
    flows = {name: _gradients(stack) for name, stack in zip(STACKS, stacks, strict=True)}
    texts = {
        "chain.weight": f"`{weight}`",
        "chain.row": str(row),
        "chain.accuracy": _percent(_test(run)),
        "chain.loss": _loss(explanation.loss),
        "chain.target": str(explanation.target),
        "chain.prediction": str(explanation.prediction),
        "chain.derivative": f"{explanation.derivative:.4g}",
        "chain.direction": "grow" if explanation.derivative > 0 else "shrink",
        "chain.paths": f"{explanation.paths:.0f}",
        "chain.products": _products(explanation, 3),
        "chain.checks": _checks(explanation),
        "chain.sigmoid_first": _two(flows["sigmoid"][0]),
        "chain.sigmoid_last": _two(flows["sigmoid"][-1]),
        "chain.sigmoid_factor": _two(flows["sigmoid"][-1] / flows["sigmoid"][0]),
        "chain.relu_first": _two(flows["relu"][0]),
        "chain.relu_last": _two(flows["relu"][-1]),
        "chain.sigmoid_accuracy": _percent(_test(stacks[0])),
        "chain.relu_accuracy": _percent(_test(stacks[1])),
    }

    def vanishing() -> Figure:
        return pictures.curves(flows, "layer", "size of the gradient by the weights")

    return Answer(texts, {"paths": lambda: pictures.paths(explanation), "gradients": vanishing})


QUESTIONS = (neuron, learning_rate, initialization, loss, chain_rule)


# --- numbers -------------------------------------------------------------------------------------------------


def _test(run: Run) -> float:
    return float(run.metrics["test"]["accuracy"])


def _losses(run: Run) -> list[float]:
    return [float(record["train_loss"]) for record in run.history]


def _last(run: Run) -> float:
    return _losses(run)[-1]


def _sizes(run: Run, features: Any) -> list[float]:
    """The root mean square of the outputs of every hidden layer, with the initial weights."""
    assert run.start is not None
    values = run.start.inside(features, *(f"dense_{layer + 1}" for layer in range(len(DEEP))))
    return [float(np.sqrt((item**2).mean())) for item in values.values()]


def _gradients(run: Run) -> list[float]:
    """The norm of the gradient by the weights of every layer, in the first step."""
    assert run.lenses is not None
    return [float(run.lenses.values["gradient_norm", f"dense_{n + 1}"][0]) for n in range(len(DEEP) + 1)]


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"


def _loss(value: float) -> str:
    return f"{value:.3f}" if value < 100 else _two(value)


def _two(value: float) -> str:
    """Two significant digits; a power of ten only for very small and very large values."""
    text = f"{value:.1e}"
    mantissa, power = text.split("e")
    if value == 0 or -3 <= int(power) <= 6:
        return f"{float(text):,.{max(1 - int(power), 0)}f}" if value else "0"
    return f"{mantissa} · 10<sup>{int(power)}</sup>"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---", *["--:"] * (len(heads) - 1)], *rows]
    return "\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n\n"


def _products(explanation: Explanation, count: int) -> str:
    """The ``count`` strongest paths, one line per factor, and the sums of all paths."""
    blocks = []
    for rank, line in enumerate(explanation.lines[:count], start=1):
        factors = [factor for factor in line.factors if factor.kind != "same"]
        path = " ← ".join(f"{place}[{unit}]" for place, unit in line.units if "preactivation" not in place)
        rows = [
            f"  {'×' if i else ' '} {factor.value:>8.4f}   {factor.symbol}"
            for i, factor in enumerate(factors)
        ]
        blocks.append("\n".join([f"{rank}.  {path}", *rows, f"  = {line.product:>8.4f}"]))
    shown_sum = sum(line.product for line in explanation.lines[:count])
    remaining = len(explanation.lines) - count
    sums = [
        f"these {count} paths      {shown_sum:>8.4f}",
        f"the other {remaining:>2} paths {explanation.derivative - shown_sum:>8.4f}",
        f"all {len(explanation.lines)} paths       {explanation.path_total or 0.0:>8.4f}",
    ]
    return "\n\n```text\n" + "\n\n".join([*blocks, "\n".join(sums)]) + "\n```\n\n"


def _checks(explanation: Explanation) -> str:
    rows = [
        ["reverse sweep (what training uses)", f"{explanation.derivative:.8f}", ""],
        [
            "sum over all paths",
            f"{explanation.path_total:.8f}",
            _within(explanation.paths_error or 0.0, 1e-10),
        ],
        ["forward sweep", f"{explanation.forward:.8f}", _within(explanation.forward_error, 1e-10)],
        ["central difference", f"{explanation.central:.8f}", _within(explanation.central_error, 1e-6)],
    ]
    return _table(["way", "derivative", "relative difference"], rows)


def _within(error: float, bound: float) -> str:
    """The bound, checked: rounding errors differ between processors, the bound does not."""
    assert error <= bound
    return f"below 10<sup>{np.log10(bound):.0f}</sup>"


# --- the page ------------------------------------------------------------------------------------------------


def fill(page: str, texts: Mapping[str, str]) -> str:
    """``page`` with every marked spot replaced by the text of its name."""
    return SPOT.sub(lambda spot: f"<!--={spot[1]}-->{texts[spot[1]]}<!--/-->", page)


def main() -> None:
    """Train, draw the pictures, and fill the page."""
    pictures.set_up()
    PICTURES.mkdir(exist_ok=True)
    texts: dict[str, str] = {}
    for question in QUESTIONS:
        answer = question()
        texts |= answer.texts
        for name, draw in answer.pictures.items():
            draw().savefig(PICTURES / f"{name}.svg", metadata={"Date": None, "Creator": None})
    PAGE.write_text(fill(PAGE.read_text(encoding="utf-8"), texts), encoding="utf-8")


if __name__ == "__main__":
    main()
