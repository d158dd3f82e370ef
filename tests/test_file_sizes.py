"""Files stay small enough to read: a longer one says at its top why it is one file."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("src", "tests", "benchmarks", "docs", "examples", "tools")
LIMIT = 400
"""Lines of a file that needs no reason."""

REASON = "one file because"


def long_files() -> list[Path]:
    files = [file for folder in FOLDERS for file in sorted((ROOT / folder).rglob("*.py"))]
    assert len(files) > 300, "the walker looked in the wrong place"
    return [file for file in files if len(file.read_text(encoding="utf-8").splitlines()) > LIMIT]


@pytest.mark.parametrize("file", long_files(), ids=lambda file: file.relative_to(ROOT).as_posix())
def test_a_long_file_says_why_it_is_one_file(file: Path) -> None:
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    assert REASON in " ".join(docstring.split())
