"""The report of a run answers every question, for all kinds of networks and data."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import glassgrad as gg
from glassgrad.data.sources import load_source
from glassgrad.report.page import Block, Details, Figure, Note, Page
from glassgrad.report.run_page import run_page
from glassgrad.training.run import Run
from training.small import merged

QUESTIONS = ["neurons", "learning_rate", "initialization", "loss", "chain_rule"]
NASTY = "<script>alert(1)</script>"
numbers = np.random.default_rng(0)


def clouds(classes: int = 3, rows: int = 90, columns: int = 4, **options: Any) -> Any:
    """Normally distributed points around one centre for each class."""
    y = np.arange(rows) % classes
    labels = options.pop("labels", None)
    X = numbers.normal(size=(rows, columns)) + 2 * y[:, None]
    return gg.from_arrays(X, y if labels is None else np.array(labels)[y], **options)


def images(channels: int | None = None) -> Any:
    """Small images; the upper half is bright in one of the two classes."""
    y = np.arange(60) % 2
    X = numbers.random((60, 6, 6)) * 0.2
    X[y == 1, :3] += 0.8
    return gg.from_arrays(
        X if channels is None else np.repeat(X[..., None], channels, axis=-1), y, name="halves"
    )


def lines(targets: int = 1) -> Any:
    """Regression targets that are weighted sums of the inputs."""
    X = numbers.normal(size=(80, 3))
    y = X @ numbers.normal(size=(3, targets))
    return gg.from_arrays(X, y[:, 0] if targets == 1 else y, name="sums")


def trained(data: Any, **options: Any) -> Run:
    return gg.train(
        data, **merged({"epochs": 2, "layers": (6, 5), "watch": True, "backend": "reference"}, options)
    )


def blocks_of(page: Page) -> list[Block]:
    """All blocks of the page, including nested ones."""
    collected: list[Block] = []

    def collect(blocks: Any) -> None:
        for block in blocks:
            collected.append(block)
            if isinstance(block, Details | Note):
                collect(block.blocks)

    for section in page.sections:
        collect(section.blocks)
    return collected


@cache
def page_of(case: str) -> Page:
    return run_page(CASES[case]())


def headings(page: Page) -> str:
    return " | ".join(block.heading for block in blocks_of(page) if isinstance(block, Figure))


def text_of(page: Page) -> str:
    class Words(HTMLParser):
        text = ""

        def handle_data(self, data: str) -> None:
            self.text += data

    reader = Words()
    reader.feed(page.html())
    return reader.text


CASES: dict[str, Callable[[], Run]] = {
    "three classes": lambda: trained(clouds()),
    "two classes as text": lambda: trained(clouds(2, labels=[NASTY, "b & c"], name=NASTY)),
    "more classes than a picture holds": lambda: trained(clouds(30, rows=300)),
    "images": lambda: trained(images()),
    "colour images": lambda: trained(images(3)),
    "numbers": lambda: trained(lines()),
    "several numbers": lambda: trained(lines(4)),
    "no hidden layer": lambda: trained(lines(), layers=()),
    "one epoch": lambda: trained(clouds(), epochs=1),
    "no epoch": lambda: trained(clouds(), epochs=0),
    "no held-out rows": lambda: trained(clouds(), validation=0.0, test=0.0),
    "no lenses": lambda: trained(clouds(), watch=False),
    "one rate": lambda: trained(clouds(), schedule="constant", learning_rate=0.001),
    "a changing rate": lambda: trained(clouds(), epochs=6, schedule="cosine"),
    "deep": lambda: trained(clouds(), layers=(4,) * 15, activation="tanh"),
    "diverged": lambda: trained(lines(), optimizer="sgd", learning_rate=1e30, epochs=4),
    "no probabilities": lambda: trained(images(), loss="hinge"),
    "a convolution": lambda: trained(
        images(1), network=gg.Sequential(gg.nn.Conv2D(3, activation="relu"), gg.nn.Flatten(), gg.nn.Dense(1))
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_every_run_has_a_page(case: str) -> None:
    page = page_of(case)
    assert [section.id for section in page.sections] == QUESTIONS
    assert all(section.sentence and section.idea for section in page.sections)
    text = page.html()
    assert NASTY not in text
    assert "nan" not in re.findall(r"[\w.]+", text_of(page).lower().replace("nan or inf", ""))
    assert len(text) < 600_000


def test_the_same_run_gives_the_same_page() -> None:
    run = trained(images())
    assert run_page(run).html() == run_page(run).html()


def test_the_page_says_how_good_the_network_is() -> None:
    run = trained(clouds(), epochs=5)
    page = run_page(run)
    accuracy = run.metrics["test"]["accuracy"]
    assert f"{100 * accuracy:.1f}".rstrip("0").rstrip(".") + "%" in page.lead
    assert "33." in page.lead  # the accuracy of always predicting the most frequent of three classes
    assert f"{run.model.parameters:,} weights" in page.lead


def test_the_lead_of_a_diverged_run_says_that_it_diverged() -> None:
    run = trained(lines(), optimizer="sgd", learning_rate=1e30, epochs=4)
    assert run.status == "diverged"
    assert str(run.message) in run_page(run).lead


def test_images_are_shown_as_images() -> None:
    page = page_of("images")
    text = page.html()
    assert "look for" in headings(page)
    assert "One row inside the network" in headings(page)
    assert text.count('class="signed"') >= 6 + 6 + 3
    assert text.count('class="ink"') == 1
    assert "data:image/png" not in page_of("three classes").html()


def test_classifiers_get_a_confusion_matrix_and_regressions_their_errors() -> None:
    assert "are confused" in headings(page_of("three classes"))
    many = page_of("more classes than a picture holds")
    assert "are confused" not in headings(many)
    assert "Class by class" in text_of(many)
    regression = headings(page_of("numbers"))
    assert "Predicted against true" in regression
    assert "Size of the errors" in regression
    assert "target 2" in headings(page_of("several numbers"))


def test_runs_with_several_targets_report_the_mean_r2() -> None:
    page = page_of("several numbers")
    assert "R², averaged over 4 targets" in page.lead
    assert [label for label, *_ in page.facts if "R²" in label] == ["test R²", "train R²"]


def test_the_confusion_matrix_counts_every_held_out_row_once() -> None:
    run = trained(clouds(), epochs=1)
    page = run_page(run)
    picture = next(b for b in blocks_of(page) if isinstance(b, Figure) and "are confused" in b.heading)
    cells = [int(n) for n in re.findall(r">(\d+)</text>", picture.svg)]
    ticks = [0, 1, 2] * 2
    assert sum(cells) - sum(ticks) == run.rows["test"]


def test_a_changing_rate_is_drawn_and_a_constant_one_is_stated() -> None:
    constant = text_of(page_of("one rate"))
    assert "The learning rate stayed at 0.001." in constant
    changing = page_of("a changing rate")
    assert "The learning rate stayed" not in text_of(changing)
    assert "learning rate</text>" in changing.html()


def test_lenses_add_their_figures() -> None:
    with_lenses, without = page_of("three classes"), page_of("no lenses")
    for heading in ("layer is active", "The gradient, layer by layer", "Update size, layer by layer"):
        assert heading in headings(with_lenses)
        assert heading not in headings(without)
    assert without.sections[-1].sentence.startswith("The run was trained without lenses")


def test_names_of_columns_and_categories_are_escaped(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="tables are read by pyarrow, which is not installed")
    name = "<b onclick=alert(1)>price in $"
    rows = [f"{i % 7},{NASTY if i % 3 else 'b & c'},{'<i>yes</i>' if i % 2 else 'no'}" for i in range(60)]
    (tmp_path / "table.csv").write_text("\n".join([f"{name},kind,answer", *rows]) + "\n", encoding="utf-8")
    page = run_page(trained(load_source(str(tmp_path / "table.csv"), target="answer")))
    text = page.html()
    assert "What training changed in" in headings(page)
    assert html.escape(name)[:20] in text
    for tag in ("<script", "<b ", "<i>"):
        assert tag not in text
