"""``train --watch``: what the lenses saw, per epoch and of the whole run."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pytest

from cli.running import train
from glassgrad.cli import lenses_text
from glassgrad.cli.progress import Bar
from glassgrad.files.model_file import read_model
from glassgrad.training.lenses import Lenses, read_lenses


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    x = generator.normal(size=(60, 3))
    np.savez("points.npz", X=x, y=(x[:, 0] > 0).astype(int))


def test_a_line_per_epoch_and_a_table_of_the_run():
    done = train("points.npz", "--watch", "--out", "run", "--layers", "4,3")
    assert done.code == 0
    lines = done.err.splitlines()
    assert len(lines) == 2
    assert all("  gradient " in line and "  active " in line for line in lines)
    (header,) = [line for line in done.out.splitlines() if line.startswith("layer ")]
    assert "update : weight, first epoch" in header
    assert [line.split()[0] for line in done.out.splitlines() if line.startswith("dense_")] == [
        "dense_1",
        "dense_2",
        "dense_3",
    ]
    assert set(read_lenses("run").layers("gradient_norm")) == {"dense_1", "dense_2", "dense_3"}


def test_json_has_the_means_of_each_epoch():
    done = train("points.npz", "--watch", "--json", "--out", "run")
    found = done.json["lenses"]
    assert found["epochs"] == [1, 2]
    assert len(found["gradient_norm"]["dense_1"]) == 2
    assert found == read_lenses("run").per_epoch().document()


def test_without_watch_nothing_is_measured():
    done = train("points.npz", "--json", "--out", "run")
    assert "lenses" not in done.json
    assert not Path("run/lenses.safetensors").exists()
    plain = train("points.npz", "--out", "plain")
    assert "gradient" not in plain.out + plain.err


def test_watch_changes_no_weight():
    for name, option in (("a", ()), ("b", ("--watch",))):
        assert train("points.npz", *option, "--out", name).code == 0
    (a, _), (b, _) = (read_model(Path(name) / "model.safetensors") for name in "ab")
    assert all(a[key].tobytes() == b[key].tobytes() for key in a)


def test_a_diverged_run_shows_its_measurements():
    done = train("points.npz", "--watch", "--learning-rate", "1e30", "--json", "--optimizer", "sgd")
    assert done.code == 1
    assert done.json["status"] == "diverged"
    assert done.json["lenses"]["steps"][0] == 0


def seen(layers: int, **changed: float) -> Lenses:
    """Lenses of two epochs, all numbers 0.5 but for those ``changed``, by measure."""
    measures = ("gradient_norm", "weight_norm", "update_norm", "active", "output_mean")
    names = [f"dense_{i + 1}" for i in range(layers)]
    values = {(m, name): np.full(2, changed.get(m, 0.5), np.float32) for m in measures for name in names}
    values["output_mean", "flat"] = np.zeros(2, np.float32)
    return Lenses(np.array([0, 9]), np.array([1, 2]), values)


def test_a_deep_network_still_fits_on_a_line():
    assert lenses_text.epoch_line(seen(2)) == "  gradient 0.5 0.5  active 0.5 0.5"
    assert lenses_text.epoch_line(seen(30)) == "  gradient 0.5 .. 0.5  active 0.5 .. 0.5"


def test_nan_and_inf_are_shown():
    odd = seen(1, weight_norm=0.0, gradient_norm=math.inf, update_norm=0.0)
    assert lenses_text.epoch_rows(odd) == [["dense_1", "inf", "nan", "0.5"]]
    assert "inf" in lenses_text.run_table(odd)
    nothing = Lenses(np.zeros(0, np.int64), np.zeros(0, np.int64), {})
    assert lenses_text.epoch_line(nothing) == ""
    assert lenses_text.epoch_rows(nothing) == []


def test_a_terminal_gets_a_live_table(monkeypatch):
    from rich.console import Console

    from glassgrad.training.run import Progress

    written = io.StringIO()
    monkeypatch.setattr(
        "rich.console.Console", lambda **_: Console(file=written, force_terminal=True, width=100)
    )
    with Bar() as bar:
        bar(Progress(1, 2, 10, 20, 0.7))
        bar(Progress(1, 2, 10, 20, 0.7, {"train_loss": 0.7}, seen(3)))
    text = written.getvalue()
    assert "update : weight" in text
    assert "dense_3" in text
    assert "flat" not in text
