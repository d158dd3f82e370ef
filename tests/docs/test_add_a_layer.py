"""The walkthrough in docs/add-a-layer.md runs, from its first block to its last, and names files that exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "add-a-layer.md").read_text(encoding="utf-8")


def test_the_page_runs_as_it_is_written() -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 4
    # In a process of its own: the page registers parts, which other tests compare with their cases.
    command = [sys.executable, "-W", "error", "-c", "\n".join(blocks)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_layer_is_found_by_name_before_its_file_is_loaded() -> None:
    package = ROOT / "src" / "glassgrad" / "nn"
    added = {
        f"glassgrad.nn.layers.{file.stem}": re.findall(
            r'^LAYERS\.add\("(\w+)"', file.read_text(), re.MULTILINE
        )
        for file in (package / "layers").glob("*.py")
        if file.stem != "__init__"
    }
    listed = {
        module: re.findall(r'"(\w+)"', names)
        for module, names in re.findall(
            r'^LAYERS\.add_later\("([\w.]+)"((?:,\s*"\w+")+)',
            (package / "layer.py").read_text(),
            re.MULTILINE,
        )
    }
    assert {module: sorted(names) for module, names in listed.items()} == {
        module: sorted(names) for module, names in added.items() if names
    }


def test_the_files_and_tables_that_the_page_names_exist() -> None:
    paths = re.findall(r"`((?:\w+/)+\w+\.py)`", PAGE)
    assert len(paths) > 10
    bases = (ROOT, ROOT / "src" / "glassgrad")
    assert [path for path in paths if not any((base / path).is_file() for base in bases)] == []
    tables = {"CASES": "nn/test_layers", "WRONG": "nn/test_layers", "PLAIN": "optim/test_optimizers"}
    for name, file in (tables | {"SPECS": "optim/test_optimizers"}).items():
        assert f"`{name}`" in PAGE
        assert re.search(rf"^{name}\b", (ROOT / "tests" / f"{file}.py").read_text(), re.MULTILINE), name
