"""Figures: the markup is safe, reproducible and small, for any numbers and labels."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from xml.etree import ElementTree

import numpy as np
import pytest

from glassgrad.common.errors import InputError
from glassgrad.report.drawing import Mark
from glassgrad.report.figures import Line, bars, histogram, line_figure, ranges, scatter
from glassgrad.report.maps import confusion, heat_map, image_grid
from report.gallery import draw_figures, figures

NASTY = ["<script>alert(1)</script>", "price in $ & more $", "学生の年齢", "a\"b'c", "_private", "x^2_{3}"]
SPANS = np.array([[-2.0, -1.0, 0.0, 1.0, 2.0]])

LABELLED: list[Callable[[str], str]] = [
    lambda s: line_figure(
        [Line(s, [1, 2]), Line(s, [2, 1])], title=s, x_label=s, y_label=s, marks=[Mark(s, y=1)]
    ),
    lambda s: bars([s], {s: [1.0], "other": [2.0]}, title=s, x_label=s, marks=[Mark(s, x=1)]),
    lambda s: histogram([0, 1, 2], {s: [1, 2], "other": [1, 1]}, title=s, x_label=s, y_label=s),
    lambda s: ranges([s], {s: SPANS}, title=s, x_label=s),
    lambda s: scatter([0, 1], [1, 0], title=s, x_label=s, y_label=s, diagonal=s),
    lambda s: heat_map([[1.0]], [s], [s], title=s, x_label=s, y_label=s),
    lambda s: confusion([[1, 0], [0, 1]], [s, "other"], title=s),
    lambda s: image_grid([np.eye(3)], [s], title=s),
]


def parsed(markup: str) -> ElementTree.Element:
    return ElementTree.fromstring(f"<div>{markup.replace(chr(0xE000), '')}</div>")


@pytest.mark.parametrize("text", NASTY)
@pytest.mark.parametrize("make", LABELLED)
def test_labels_are_text(make: Callable[[str], str], text: str) -> None:
    root = parsed(make(text))
    assert root.find(".//script") is None
    assert {element.tag for element in root.iter()} <= {
        *("div", "ul", "li", "span", "img", "svg", "title", "g", "path", "text", "use", "defs"),
        *("clipPath", "rect", "circle"),
    }
    all_text = " ".join(root.itertext()) + " ".join(e.get("alt", "") for e in root.iter("img"))
    assert text in all_text


def test_the_same_numbers_give_the_same_text() -> None:
    assert draw_figures() == figures()


def test_figures_fix_no_colour_and_name_no_font() -> None:
    for name, markup in figures().items():
        drawn = re.sub(r"<img[^>]*>", "", markup)
        assert re.findall(r"#[0-9a-f]{6}\b", drawn) == [], name
        assert "font-family" not in drawn, name
        assert "DejaVu" not in drawn, name
        assert re.findall(r'<svg[^>]* width="', drawn) == [], name


def test_figures_are_small() -> None:
    sizes = {name: len(markup) for name, markup in figures().items()}
    assert max(sizes.values()) < 40_000, sizes
    points = np.linspace(0, 1, 20_000)
    assert len(line_figure([Line("", np.sin(points))], title="many points")) < 20_000
    assert len(scatter(points, points, title="many points")) < 40_000


def test_wide_figures_are_drawn_for_both_widths() -> None:
    markup = line_figure([Line("", [1, 2, 3])], title="t", wide=True)
    widths = [float(box.split()[2]) for box in re.findall(r'viewBox="([^"]*)"', markup)]
    assert len(widths) == 2
    assert widths[0] < 0.6 * widths[1]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0, -1.0, 1e300, 1e-300])
@pytest.mark.parametrize("log", [False, True])
def test_extreme_numbers_draw_something(value: float, log: bool) -> None:
    values = [value, 1.0, 2.0]
    only = [value] * 3
    for y in (values, only):
        assert "<svg" in line_figure([Line("a", y)], title="t", log_y=log)
        assert "<svg" in bars(["a", "b", "c"], {"x": y}, title="t", log_x=log)
        assert "<svg" in scatter(y, y, title="t", log_x=log, log_y=log)
        assert "<svg" in heat_map([y], ["r"], ["a", "b", "c"], title="t")


def test_figures_without_data_are_drawn() -> None:
    for markup in (
        line_figure([], title="t"),
        line_figure([Line("a", [])], title="t"),
        bars([], {"x": []}, title="t"),
        scatter([], [], title="t"),
        image_grid([], title="t"),
    ):
        assert markup.startswith("<")


def test_ordered_lines_get_the_colours_of_the_ramp() -> None:
    markup = line_figure([Line(str(i), [i, i]) for i in range(9)], title="t", in_order=True)
    used = re.findall(r"stroke:var\(--ramp-(\d)\)", markup)
    assert {"1", "6"} <= set(used)
    assert "series" not in markup


def test_more_lines_than_colours_differ_in_dashes() -> None:
    markup = line_figure([Line(str(i), [i, i + 1]) for i in range(8)], title="t")
    swatches = re.findall(r"<path[^>]*(?:/>)", markup.split("</ul>")[0])
    assert len(set(swatches)) == 8


def test_many_classes_keep_the_picture_readable() -> None:
    markup = confusion(np.eye(100), range(100), title="t")
    texts = list(parsed(markup).iter("text"))
    assert len(texts) < 70


def test_an_image_of_zeros_and_a_colour_image_are_images() -> None:
    markup = image_grid([np.zeros((2, 2)), np.full((2, 2, 3), 0.5)], title="t")
    assert markup.count("data:image/png;base64,") == 2
    assert 'class="ink"' in markup
    assert 'class="photo"' in markup


def test_without_matplotlib_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(InputError, match=r"pip install 'glassgrad\[plot\]'"):
        line_figure([Line("a", [1, 2])], title="t")
