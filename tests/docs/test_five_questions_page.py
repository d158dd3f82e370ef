"""docs/five-questions.md has the numbers that its script computes, and shows every picture that the script draws."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "five-questions.md").read_text(encoding="utf-8")
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
TOLERANCE = 0.02  # two significant digits; runs with far too large weights amplify rounding differences


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    spec = spec_from_file_location("five_questions", DOCS / "five_questions.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look the module up there
    sys.path.insert(0, str(DOCS))  # as when the script is executed
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(DOCS))
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def answers(script: ModuleType) -> list[Any]:
    return [question() for question in script.QUESTIONS]


def test_the_numbers_are_those_of_the_runs(script: ModuleType, answers: list[Any]) -> None:
    texts = {name: text for answer in answers for name, text in answer.texts.items()}
    shown: dict[str, set[str]] = {}
    for name, text in script.SPOT.findall(PAGE):
        shown.setdefault(name, set()).add(text)
    assert shown.keys() == texts.keys()
    for name, page_texts in shown.items():
        (text,) = page_texts
        assert NUMBER.sub("#", text) == NUMBER.sub("#", texts[name]), name
        numbers = [
            [float(item.replace(",", "")) for item in NUMBER.findall(each)] for each in (text, texts[name])
        ]
        assert numbers[0] == pytest.approx(numbers[1], rel=TOLERANCE, abs=1e-3), name


def test_the_page_shows_every_picture(script: ModuleType, answers: list[Any]) -> None:
    named = re.findall(r"!\[[^\]]+\]\(five-questions/([\w-]+)\.svg\)", PAGE)
    drawn = [name for answer in answers for name in answer.pictures]
    assert sorted(named) == sorted(drawn)
    assert sorted(file.name for file in script.PICTURES.iterdir()) == sorted(f"{name}.svg" for name in named)


def test_no_line_of_text_begins_with_a_marker() -> None:
    """Markdown treats a line that begins with a comment as HTML, without tables and emphasis."""
    for line in PAGE.splitlines():
        if line.startswith("<!--"):
            assert re.fullmatch(r"<!--[^>]*-->", line), line


def test_the_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", PAGE):
        assert (DOCS / target).is_file(), target


def test_a_page_is_filled_at_its_markers(script: ModuleType) -> None:
    page = "It is <!--=a-->1<!--/--> and <!--=b.c-->\n2\n<!--/-->."
    filled = script.fill(page, {"a": "3", "b.c": "4"})
    assert filled == "It is <!--=a-->3<!--/--> and <!--=b.c-->4<!--/-->."
    assert script.fill(filled, {"a": "3", "b.c": "4"}) == filled
