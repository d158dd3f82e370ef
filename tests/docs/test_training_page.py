"""docs/training.md: its code runs from top to bottom, and its tables name what exists."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import glassgrad as gg
from glassgrad.training.checkpoints import CHANGEABLE

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "training.md").read_text(encoding="utf-8")


def test_the_page_runs_as_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 6
    names: dict[str, object] = {}
    for block in blocks:
        exec(block, names)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["digits-checkpoint.safetensors"]
    reason = capsys.readouterr().out.splitlines()[-2]
    assert reason.startswith("no better validation loss in 15 epochs")


def test_the_tables_name_every_callback_and_method() -> None:
    for name in ("EarlyStopping", "MaxTime", "AveragedModel"):
        assert f"`{name}(" in PAGE
        for option in inspect.signature(getattr(gg, name)).parameters:
            assert re.search(rf"`{name}\([^`]*\b{option}\b", PAGE), f"{name}: {option}"
    methods = [name for name in vars(gg.Callback) if not name.startswith("_") and name != "every_steps"]
    assert [name for name in methods if f"`{name}(" not in PAGE] == []


def test_the_table_names_attributes_of_a_trainer() -> None:
    (rows,) = re.findall(r"^\| attribute or method \|.*\n\|---.*\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    names = [name for row in rows.splitlines() for name in re.findall(r"`(\w+)", row.split("|")[1])]
    trainer = gg.Trainer("digits", layers=[4], epochs=1)
    assert len(names) > 10
    assert [name for name in names if not hasattr(trainer, name)] == []


def test_a_name_that_is_no_hyperparameter_is_refused() -> None:
    assert "`trainer.momentum = 0.9` raises InputError with Adam" in PAGE
    with pytest.raises(gg.InputError, match="unknown hyperparameter"):
        gg.Trainer("digits", layers=[4], epochs=1, optimizer="adam").momentum = 0.9


def test_the_settings_that_may_change_are_named() -> None:
    first, *rest = CHANGEABLE[::-1]
    listed = ", ".join(f"`{name}`" for name in reversed(rest))
    assert f"{listed} and `{first}` may change" in PAGE
