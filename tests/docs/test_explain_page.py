"""docs/explain.md shows the output of the commands in it."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest

from glassgrad.cli.main import run
from glassgrad.explain.links import LARGEST
from glassgrad.explain.row_loss import FLOOR

PAGE = (Path(__file__).parents[2] / "docs" / "explain.md").read_text(encoding="utf-8")
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]\d+)?")


def test_the_commands_print_what_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
    commands = [line.removeprefix("$ glassgrad ") for line in block.splitlines() if line.startswith("$ ")]
    shown = "\n".join(line for line in block.splitlines() if not line.startswith("$ "))
    assert len(commands) == 2
    out = io.StringIO()
    for command in commands:
        out.truncate(0)
        out.seek(0)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
            assert run(shlex.split(command)) == 0
    printed = out.getvalue()
    without_numbers = [" ".join(NUMBER.sub("#", text).split()) for text in (shown, printed)]
    assert without_numbers[0] == without_numbers[1]
    numbers = [[float(item) for item in NUMBER.findall(text)] for text in (shown, printed)]
    tiny = 1e-9  # the errors of the checks are rounding errors, which differ between processors
    for expected, actual in zip(*numbers, strict=True):
        assert actual == pytest.approx(expected, rel=2e-3, abs=tiny)


def test_the_limits_are_those_of_the_program() -> None:
    assert f"more than {LARGEST // 1_000_000} million" in " ".join(PAGE.split())
    assert FLOOR == 1e-3
    assert "a thousandth of the largest" in PAGE
