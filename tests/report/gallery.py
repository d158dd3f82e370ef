"""A page with every kind of block and figure, filled with invented numbers."""

from __future__ import annotations

from functools import cache

import numpy as np

from glassgrad.report.drawing import Mark
from glassgrad.report.figures import Line, Panel, bars, histogram, line_figure, panels, ranges, scatter
from glassgrad.report.maps import confusion, heat_map, image_grid
from glassgrad.report.page import Code, Details, Facts, Figure, Note, Page, Section, Table, Text

LAYERS = ("dense_1", "dense_2", "dense_3", "dense_4", "output")


@cache
def figures() -> dict[str, str]:
    """Every kind of figure by name, drawn once and cached."""
    return draw_figures()


def draw_figures() -> dict[str, str]:
    """Draw every kind of figure again."""
    numbers = np.random.default_rng(0)
    epochs = np.arange(1, 31)
    training = 2.2 * np.exp(-epochs / 5) + 0.02 + 0.01 * numbers.normal(size=30)
    validation = 2.2 * np.exp(-epochs / 4.5) + 0.12 + 0.02 * numbers.normal(size=30)
    counts = np.diag(numbers.integers(25, 40, 10)) + (numbers.random((10, 10)) < 0.1) * numbers.integers(
        1, 5, (10, 10)
    )
    samples = numbers.normal(size=4000)
    first, last = (np.histogram(samples * size, 40, (-3, 3))[0] for size in (0.4, 0.8))
    true = numbers.gamma(3, 70_000, 3000)
    spread = np.array([-1.64, -0.67, 0.0, 0.67, 1.64])
    ys, xs = np.mgrid[-1:1:28j, -1:1:28j]
    waves = [
        np.sin(4 * (xs * np.cos(a) + ys * np.sin(a)) + a) * np.exp(-2 * (xs**2 + ys**2)) for a in range(16)
    ]
    rings = [np.exp(-30 * (np.hypot(xs, ys) - 0.15 * (i + 1)) ** 2) for i in range(5)]
    return {
        "loss": line_figure(
            [
                Line("training loss", training),
                Line("validation loss", validation, low=validation * 0.9, high=validation * 1.1),
            ],
            title="Loss by epoch",
            x_label="epoch",
            y_label="loss",
            log_y=True,
            whole_x=True,
            marks=[Mark("constant predictor", y=2.3), Mark("best epoch", x=22)],
            wide=True,
        ),
        "stacked": panels(
            [
                Panel(
                    [Line("training loss", training), Line("validation loss", validation)], "loss", log_y=True
                ),
                Panel([Line("", 1e-3 * 0.5 ** (epochs // 8), role="muted")], "learning rate", share=0.45),
            ],
            title="Loss and learning rate by epoch",
            x_label="epoch",
            wide=True,
        ),
        "rate": line_figure(
            [Line("", 1e-3 * 0.5 ** (epochs // 8))],
            title="Learning rate by epoch",
            x_label="epoch",
            y_label="learning rate",
            log_y=True,
        ),
        "gradients": line_figure(
            [Line(name, np.exp(-epochs / 12) * 10.0**-i) for i, name in enumerate(LAYERS)],
            title="Gradient by layer",
            x_label="epoch",
            y_label="size of the gradient",
            log_y=True,
            in_order=True,
        ),
        "active": bars(
            LAYERS,
            {"active": [0.62, 0.48, 0.31, 0.004, 1.0]},
            title="Active share",
            in_percent=True,
            x_range=(0, 1),
        ),
        "pairs": bars(
            LAYERS,
            {"start": [1, 0.8, 0.7, 0.62, 0.5], "end": [1.4, 1.1, 0.9, 0.3, 2.2]},
            title="Spread",
            x_label="standard deviation",
        ),
        "weights": histogram(
            np.linspace(-3, 3, 41), {"start": first, "end": last}, title="Weights", x_label="weight"
        ),
        "ranges": ranges(
            LAYERS,
            {
                "start": [spread * (0.5 + 0.1 * i) for i in range(5)],
                "end": [spread * (0.9 - 0.1 * i) + 0.2 for i in range(5)],
            },
            title="Where weights lie",
            x_label="weight",
        ),
        "scatter": scatter(
            true,
            true + numbers.normal(size=3000) * 40_000,
            title="Predicted against true",
            x_label="true",
            y_label="predicted",
            diagonal="a perfect prediction",
        ),
        "confusion": confusion(counts, list(range(10)), title="Confusion"),
        "heat": heat_map(
            numbers.normal(size=(4, 6)),
            ["age", "hours per week", "education", "capital gain in $ of 1994"],
            [f"unit {i}" for i in range(6)],
            title="Weights",
        ),
        "images": image_grid(waves, [f"unit {i}" for i in range(16)], title="Weights", signed=True),
        "rings": image_grid(rings, [f"{i}" for i in range(5)], title="Rows", smallest=90),
    }


def page() -> Page:
    """A page with every kind of block and all figures."""
    drawn = figures()
    neurons = Section(
        "neurons",
        "Neurons",
        "What does each neuron compute, and is it alive?",
        "9 of 202 neurons are never active on the training rows; the others share the work well.",
        [
            Figure(
                drawn["active"],
                "Share of the neurons that are above zero, averaged over the rows.",
                "Most layers are active",
            ),
            Figure(
                drawn["pairs"],
                "Standard deviation of the outputs of each layer.",
                "Spread at the start and the end",
            ),
            Figure(
                drawn["images"],
                "Orange pixels make the neuron stronger, blue ones weaker.",
                "What sixteen neurons look for",
                wide=True,
            ),
            Figure(drawn["rings"], "One row.", "A row inside the network", wide=True),
            Note(
                "Nine neurons of dense_4 never fire. A smaller step keeps them alive.",
                "fault",
                "Dead neurons in dense_4",
                [Table(["seed", "before", "after"], [[1, 0.41, 0.32], [2, 0.43, 0.31]])],
            ),
        ],
        verdict="fault",
    )
    rate = Section(
        "learning-rate",
        "Learning rate",
        "Is the step right?",
        "The loss fell smoothly from 2.3 to 0.04, mostly in the first ten epochs: the step is about right.",
        [
            Figure(
                drawn["loss"],
                "Lower is better; each step on the left axis is a factor of ten.",
                "The loss, epoch by epoch",
                wide=True,
            ),
            Figure(drawn["stacked"], heading="Loss and rate", wide=True),
            Facts(
                [("largest stable rate", 0.0312, "0.028 to 0.035"), ("used", 0.001), ("suggested", 0.0042)]
            ),
            Figure(drawn["rate"], "", "The learning rate"),
        ],
        verdict="ok",
    )
    initialization = Section(
        "initialization",
        "Initialization",
        "Do the weights start right?",
        "Signals keep their size: the outputs of every layer start with a standard deviation close to 1.",
        [
            Figure(drawn["weights"], "", "All weights"),
            Figure(
                drawn["ranges"],
                "The dot is the middle; half of the weights lie in the thick bar.",
                "Layer by layer",
            ),
        ],
    )
    loss = Section(
        "loss",
        "Loss",
        "Is it the right measure, and how low can it go?",
        "Guessing the most frequent class gives a loss of 2.30; this network reaches 0.04.",
        [
            Figure(drawn["confusion"], "Rows are the true classes.", "Which classes are confused"),
            Figure(drawn["scatter"], "Every dot is one row of the test part.", "Predicted against true"),
            Figure(drawn["heat"], "", "Weights"),
        ],
        verdict="warning",
    )
    chain = Section(
        "chain-rule",
        "Chain rule",
        "Does the gradient reach every layer?",
        "The gradient of the first layer is 40 times smaller than that of the last.",
        [
            Figure(
                drawn["gradients"],
                "If the lines are far apart, early layers learn late.",
                "Gradient by layer",
            ),
            Code("dL/dw = dL/dz · dz/dw\n      = -0.0132 · 0.75\n      = -0.0099", "One derivative."),
            Details(
                "All numbers",
                [
                    Table(
                        ["layer", "gradient", "share"],
                        [[name, 10.0**-i, None] for i, name in enumerate(LAYERS)],
                    )
                ],
            ),
            Text("A quiet remark.", quiet=True),
        ],
    )
    return Page(
        "digits",
        "A network of three layers learned to tell ten digits apart. It is right on 97.5% of unseen rows.",
        [neurons, rate, initialization, loss, chain],
        facts=[
            ("test accuracy", "97.5%", "360 rows"),
            ("parameters", 6570),
            ("epochs", 30, "best: 22"),
            ("time", "0.14 s"),
        ],
        kicker="Training report",
        footer="Written by glassgrad 0.1.0. This file works offline.",
    )
