"""The walkthrough in docs/add-a-kind.md runs, from its first block to its last."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

from glassgrad.diagnosis.core.kinds import Kind

PAGE = Path(__file__).parents[2] / "docs" / "add-a-kind.md"


def test_the_page_runs_as_it_is_written() -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 4
    # In a process of its own: the page adds to the list of kinds, which other tests compare with the documents.
    command = [sys.executable, "-W", "error", "-c", "\n".join(blocks)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_page_names_every_field_of_a_kind() -> None:
    page = PAGE.read_text(encoding="utf-8")
    fields = [field.name for field in dataclasses.fields(Kind)]
    shown = [name for name in fields if f"`{name}`" in page or f"    {name}=" in page]
    assert shown == fields
