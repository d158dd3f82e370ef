"""docs/native-backend.md: its code runs, and the files and stages that it names exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import glassgrad.backends.native as native
from glassgrad.backends.native.inspect import STAGES

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
    files = {path.name for path in Path(home).glob("*.py")}
    named = set(re.findall(r"\b\w+\.py\b", PICTURE))
    assert named <= files
    assert files - named <= {
        "__init__.py",
        "generate.py",
        "inspect.py",
        "cache.py",
        "helpers.py",
        "store.py",
        "linker.py",
        "loader.py",
        "layout.py",
        *(name for name in files if name.startswith("math")),
    }
    for stage in STAGES:
        assert f">{stage}<" in PICTURE, stage
        assert stage in PAGE
