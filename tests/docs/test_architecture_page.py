"""docs/architecture.md lists today's rooms, and docs/floors.svg shows them."""

from __future__ import annotations

import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

import glassgrad as gg
from test_floors import FLOORS, INNER_FLOORS, NAMESPACES, PACKAGE

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "architecture.md").read_text(encoding="utf-8")


def first_column(heading: str) -> list[list[str]]:
    """The names in backquotes in the first column of the table under ``heading``, row by row."""
    (rows,) = re.findall(rf"^\| {heading} \|.*\n\|---.*\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    return [re.findall(r"`([^`]+)`", line.split("|")[1]) for line in rows.splitlines()]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = spec_from_file_location("draw_floors", DOCS / "floors.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_lists_the_floors_from_top_to_bottom() -> None:
    assert first_column("floor") == [list(floor) for floor in FLOORS]


def test_the_table_lists_the_inner_floors_of_diagnosis() -> None:
    assert first_column("inner floor") == [list(floor) for floor in INNER_FLOORS["diagnosis"]]


def test_the_table_lists_the_public_namespaces() -> None:
    listed = [name for row in first_column("namespace") for name in row]
    assert sorted(listed) == [f"gg.{name}" for name in sorted(NAMESPACES) if name]
    assert all(getattr(gg, name.removeprefix("gg.")).__all__ for name in listed)


def test_the_modules_of_the_trainer_exist() -> None:
    modules = [name for row in first_column("module") for name in row]
    assert [name for name in modules if not (PACKAGE / "training" / name).is_file()] == []


def test_the_picture_is_current(script: ModuleType) -> None:
    source = (DOCS.parent / "tests" / "test_floors.py").read_text(encoding="utf-8")
    assert script.read_floors(source) == FLOORS
    assert (DOCS / "floors.svg").read_text(encoding="utf-8") == script.draw(FLOORS), (
        "run python docs/floors.py"
    )


def test_the_picture_shows_every_room_inside_its_frame(script: ModuleType) -> None:
    picture = ElementTree.fromstring(script.draw(FLOORS))
    name = "{http://www.w3.org/2000/svg}"
    shown = [item.text for item in picture.iter(f"{name}tspan") if item.get("class") == "room"]
    assert shown == [room for floor in FLOORS for room in floor]
    assert set(script.ROOMS) == set(shown)
    _, _, width, height = map(float, picture.attrib["viewBox"].split())
    for box in picture.iter(f"{name}rect"):
        x, y, w, h = (float(box.attrib[key]) for key in ("x", "y", "width", "height"))
        assert x >= 0
        assert y >= 0
        assert x + w <= width
        assert y + h <= height


def test_a_room_that_does_not_exist_is_dashed(script: ModuleType) -> None:
    picture = script.draw(FLOORS)
    reserved = [room for floor in FLOORS for room in floor if not script.exists(room)]
    assert picture.count('class="reserved"') == len(reserved)
    assert script.exists("backends.native")
    assert not script.exists("backends.attic")
