"""docs/native-backend.md: its code runs, and the files and stages that it names exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import glassgrad.backends.native as native
from glassgrad.backends.native.driver.inspect import STAGES
from test_floors import INNER_FLOORS

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "native-backend.md").read_text()
PICTURE = (DOCS / "native-stages.svg").read_text()


def test_the_code_on_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(block, {})
    shown = capsys.readouterr().out
    assert "forward:" in shown
    assert "every step:" in shown


def test_the_files_and_stages_that_are_named_exist() -> None:
    (home,) = native.__path__
    files = {path.name for path in Path(home).rglob("*.py")}
    named = set(re.findall(r"\b\w+\.py\b", PICTURE))
    assert named <= files
    for stage in STAGES:
        assert f">{stage}<" in PICTURE, stage
        assert stage in PAGE


@pytest.mark.parametrize("page", ["native-backend.md", "architecture.md"])
def test_the_rooms_are_listed_from_top_to_bottom(page: str) -> None:
    (table,) = re.findall(r"^\| `backend\.py` .*\n(?:\|.*\n)*", (DOCS / page).read_text(), re.MULTILINE)
    rooms = [re.findall(r"`(\w+)(?:/|\.py)`", line.split("|")[1]) for line in table.splitlines()]
    assert rooms == [list(floor) for floor in INNER_FLOORS["backends.native"]]


def test_the_files_that_the_page_names_exist() -> None:
    (home,) = native.__path__
    files = {path.name for path in Path(home).rglob("*.py")} | {"fuzz.py", "test_fuzz.py"}
    assert set(re.findall(r"\b\w+\.py\b", PAGE)) <= files
