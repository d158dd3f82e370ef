"""docs/five-questions.md says what its script finds now, and shows every picture that the script draws."""

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
NEAR = 0.02  # two significant digits; runs with far too large weights amplify how a processor rounds


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    spec = spec_from_file_location("five_questions", DOCS / "five_questions.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look it up there
    sys.path.insert(0, str(DOCS))  # as when it is run
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(DOCS))
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def found(script: ModuleType) -> list[Any]:
    return [question() for question in script.QUESTIONS]


def test_the_numbers_are_those_of_the_runs(script: ModuleType, found: list[Any]) -> None:
    texts = {name: text for item in found for name, text in item.texts.items()}
    shown: dict[str, set[str]] = {}
    for name, text in script.SPOT.findall(PAGE):
        shown.setdefault(name, set()).add(text)
    assert shown.keys() == texts.keys()
    for name, told in shown.items():
        (text,) = told
        assert NUMBER.sub("#", text) == NUMBER.sub("#", texts[name]), name
        numbers = [
            [float(item.replace(",", "")) for item in NUMBER.findall(each)] for each in (text, texts[name])
        ]
        assert numbers[0] == pytest.approx(numbers[1], rel=NEAR, abs=1e-3), name


def test_the_page_shows_every_picture(script: ModuleType, found: list[Any]) -> None:
    named = re.findall(r"!\[[^\]]+\]\(five-questions/([\w-]+)\.svg\)", PAGE)
    drawn = [name for item in found for name in item.pictures]
    assert sorted(named) == sorted(drawn)
    assert sorted(file.name for file in script.PICTURES.iterdir()) == sorted(f"{name}.svg" for name in named)


def test_markers_do_not_show() -> None:
    """A line of text that begins with a comment is HTML to a Markdown reader, and its table or emphasis is lost."""
    for line in PAGE.splitlines():
        if line.startswith("<!--"):
            assert re.fullmatch(r"<!--[^>]*-->", line), line


def test_the_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", PAGE):
        assert (DOCS / target).is_file(), target


def test_a_page_is_filled_where_it_says(script: ModuleType) -> None:
    page = "It is <!--=a-->1<!--/--> and <!--=b.c-->\n2\n<!--/-->."
    filled = script.fill(page, {"a": "3", "b.c": "4"})
    assert filled == "It is <!--=a-->3<!--/--> and <!--=b.c-->4<!--/-->."
    assert script.fill(filled, {"a": "3", "b.c": "4"}) == filled
