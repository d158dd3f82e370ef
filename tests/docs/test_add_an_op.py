"""The walkthrough in docs/add-an-op.md runs, from its first block to its last."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "add-an-op.md"


def test_the_page_runs_as_it_is_written() -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 5
    # In a process of its own: the page adds to the op table, which other tests compare with their cases.
    command = [sys.executable, "-W", "error", "-c", "\n".join(blocks)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_files_that_the_page_names_exist() -> None:
    paths = re.findall(r"`((?:\w+/)+\w+\.py)`", PAGE.read_text())
    assert len(paths) > 10
    root = PAGE.parents[1]
    bases = (root, root / "src" / "glassgrad")
    assert [path for path in paths if not any((base / path).is_file() for base in bases)] == []
