"""CONTRIBUTING.md: its code runs, its links lead somewhere, and each kind of change is one click from it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import glassgrad.data.sources as sources

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"]
PAGES += sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))
PAGES += sorted(f"docs/decisions/{path.name}" for path in (ROOT / "docs" / "decisions").glob("*.md"))


def anchors(page: str) -> set[str]:
    """The anchors that a Markdown page has for its headings."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", page, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_data_source_on_the_page_is_trained_on() -> None:
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    # In a process of its own: the page adds to the table of sources.
    command = [sys.executable, "-W", "error", "-c", block]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_names_for_a_file_format_exist() -> None:
    for name in ("_find", "_load", "load_rows", "KINDS", "BUILT_IN"):
        assert f"`{name}`" in PAGE
        assert hasattr(sources, name), name


@pytest.mark.parametrize("target", ["add-an-op", "add-a-layer", "add-a-kind", "training", "architecture"])
def test_the_walkthroughs_are_one_click_away(target: str) -> None:
    assert f"](docs/{target}.md)" in PAGE
    assert "](CONTRIBUTING.md)" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_every_link_inside_the_repository_leads_somewhere(page: str) -> None:
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text):
        path, _, anchor = link.partition("#")
        target = ((ROOT / page).parent / path) if path else ROOT / page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), link
