"""``replay``: a run is repeated from memory or from its folder, with or without changes."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import glassgrad as gg
from glassgrad.common.errors import InputError
from glassgrad.data.origin import fingerprint
from glassgrad.training.lenses import read_lenses
from glassgrad.training.model import load_model
from glassgrad.training.replay import replay
from glassgrad.training.run import Run
from training.small import blobs, merged, same_bits, train

SMALL = {"layers": [5], "epochs": 3, "batch_size": 16}


@pytest.fixture
def source(tmp_path):
    """An archive of points."""
    data = blobs()
    np.savez(tmp_path / "points.npz", X=data.features, y=data.targets)
    return tmp_path / "points.npz"


def kept(source, folder, **options):
    """A run on ``source`` that was saved in ``folder``."""
    run = gg.train(source, **merged(SMALL, options))
    run.save(folder)
    return run


def refusal(*arguments, **changes):
    with pytest.raises(InputError) as caught:
        replay(*arguments, **changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- the same bits -----------------------------------------------------------------------------------------

OPTIONS = {
    "defaults": {},
    "own parts": {
        "optimizer": "sgd(0.3, momentum=0.5)",
        "activation": "leaky_relu(0.2)",
        "schedule": "cosine",
        "clip_norm": 0.5,
        "keep": "last",
        "seed": 9,
        "dtype": "float64",
        "backend": "reference",
    },
    "own network": {
        "network": gg.Sequential(
            gg.nn.Dense(4, "tanh"), gg.nn.Dropout(0.3), gg.nn.BatchNorm(), gg.nn.Dense(3)
        )
    },
    "labels": {"class_weight": {0: 1.0, 1: 2.0, 2: 0.5}},
    "balanced": {"class_weight": "balanced"},
}


@pytest.mark.parametrize("name", list(OPTIONS))
def test_replaying_a_run_folder_gives_the_same_bits(name, source, tmp_path):
    run = kept(source, tmp_path / "run", **OPTIONS[name])
    again = replay(tmp_path / "run")
    assert same_bits(again.model.weights, load_model(tmp_path / "run").weights)
    assert again.history == run.history
    assert again.metrics == run.metrics


def test_a_built_in_source_is_loaded_again(tmp_path):
    run = kept("digits", tmp_path / "run", layers=[4], epochs=1)
    assert same_bits(replay(tmp_path / "run").model.weights, run.model.weights)


def test_a_folder_of_idx_files_is_loaded_again(shared_data, tmp_path):
    options = {"layers": [2], "epochs": 1, "batch_size": 512, "validation": 0}
    run = kept(shared_data / "mnist", tmp_path / "run", **options)
    assert same_bits(replay(tmp_path / "run", epochs=1).model.weights, run.model.weights)


def test_a_table_is_loaded_again_with_its_target(tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow reads tables")
    rows = [f"{i % 7},{'ab'[i % 2]},{i * 0.5}" for i in range(60)]
    (tmp_path / "t.csv").write_text("\n".join(["age,kind,size", *rows]) + "\n")
    run = gg.train(tmp_path / "t.csv", target="kind", **SMALL)
    run.save(tmp_path / "run")
    again = replay(tmp_path / "run")
    assert again.model.schema.classes == run.model.schema.classes == ("a", "b")
    assert same_bits(again.model.weights, run.model.weights)


def test_a_relative_path_works_from_another_folder(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = kept("points.npz", "first")
    second = kept("points.npz", "second", init_from="first")
    os.mkdir("elsewhere")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert same_bits(replay("../first").model.weights, first.model.weights)
    assert same_bits(replay("../second").model.weights, second.model.weights)


def test_a_replay_can_be_saved_and_replayed(source, tmp_path):
    run = kept(source, tmp_path / "a")
    replay(tmp_path / "a").save(tmp_path / "b")
    assert same_bits(replay(tmp_path / "b").model.weights, run.model.weights)
    config = [(tmp_path / name / "config.json").read_bytes() for name in "ab"]
    assert config[0] == config[1]


def test_a_run_in_memory_needs_no_file():
    weights = np.linspace(0, 1, 90)
    run = gg.train(blobs(), sample_weight=weights, class_weight="balanced", **SMALL)
    again = replay(run)
    assert same_bits(again.model.weights, run.model.weights)
    assert again.dataset is run.dataset


# --- with something changed ----------------------------------------------------------------------------------


def test_a_replay_can_add_lenses(source, tmp_path):
    run = kept(source, tmp_path / "run")
    seen = replay(tmp_path / "run", watch=True)
    assert same_bits(seen.model.weights, run.model.weights)
    seen.save(tmp_path / "seen")
    assert read_lenses(tmp_path / "seen").steps.tolist() == seen.lenses.steps.tolist()
    assert len(replay(run, watch=True).lenses) == len(seen.lenses)


@pytest.mark.parametrize(
    "before", ["adam", "adam(0.2)", {"name": "sgd", "learning_rate": 0.2, "momentum": 0.5}]
)
@pytest.mark.parametrize("rate", [0.001, 0.05])
def test_a_learning_rate_overrides_the_one_of_the_optimizer(before, rate, source, tmp_path):
    run = kept(source, tmp_path / "run", optimizer=before, schedule="constant")
    for again in (replay(tmp_path / "run", learning_rate=rate), replay(run, learning_rate=rate)):
        assert again.settings.resolved_optimizer.learning_rate == rate
        assert again.history[0]["learning_rate"] == rate
        assert getattr(again.settings.resolved_optimizer, "momentum", 0.5) == 0.5


def test_changes_and_data_of_other_size(source, tmp_path):
    run = kept(source, tmp_path / "run")
    assert replay(run, epochs=1).epochs == 1
    assert replay(tmp_path / "run", layers=[2, 2]).settings.layers == (2, 2)
    assert replay(tmp_path / "run", blobs(60)).rows["train"] < run.rows["train"]
    assert replay(run, blobs(60)).rows["train"] < run.rows["train"]


def test_an_unknown_option_is_refused(source, tmp_path):
    run = kept(source, tmp_path / "run")
    assert "did you mean 'watch'?" in refusal(tmp_path / "run", wach=True)
    assert "did you mean 'watch'?" in refusal(run, wach=True)


# --- the data ------------------------------------------------------------------------------------------------


def test_missing_data_are_named(source, tmp_path):
    run = kept(source, tmp_path / "run")
    moved = source.rename(tmp_path / "moved.npz")
    message = refusal(tmp_path / "run")
    assert message.startswith(f"{source}: no longer exists")
    assert "give its new path as source" in message
    assert same_bits(replay(tmp_path / "run", moved).model.weights, run.model.weights)


def test_changed_data_are_named(source, tmp_path):
    kept(source, tmp_path / "run")
    data = blobs(seed=1)
    np.savez(source, X=data.features, y=data.targets)
    message = refusal(tmp_path / "run")
    assert message.startswith(f"{source}: has changed since")
    assert replay(tmp_path / "run", source).status == "finished"


def test_data_that_changed_during_training_are_refused(source, tmp_path):
    run = gg.train(source, **SMALL)
    np.savez(source, X=np.zeros((4, 2)), y=[0, 1, 0, 1])
    run.save(tmp_path / "run")
    entry = json.loads((tmp_path / "run" / "config.json").read_text())["source"]
    assert entry["sha256"] is None
    assert "was changed while" in refusal(tmp_path / "run")


def test_data_from_memory_must_be_given_again(tmp_path):
    data = blobs()
    run = train(data, **SMALL)
    run.save(tmp_path / "run")
    assert "from memory, which are not stored; give the source" in refusal(tmp_path / "run")
    assert same_bits(replay(tmp_path / "run", data).model.weights, run.model.weights)


def test_a_part_of_a_source_is_not_the_source(source, tmp_path):
    from dataclasses import replace

    whole = gg.load_source(source)
    part = replace(whole, features=whole.features[:60], targets=whole.targets[:60])
    train(part, **SMALL).save(tmp_path / "run")
    assert "from memory" in refusal(tmp_path / "run")


def test_sample_weights_must_be_given_again(source, tmp_path):
    weights = np.linspace(0, 1, 90)
    run = kept(source, tmp_path / "run", sample_weight=weights)
    assert "give sample_weight" in refusal(tmp_path / "run")
    again = replay(tmp_path / "run", sample_weight=weights)
    assert same_bits(again.model.weights, run.model.weights)


def test_a_run_of_an_earlier_version_names_its_missing_entries(source, tmp_path):
    run = kept(source, tmp_path / "run")
    path = tmp_path / "run" / "config.json"
    config = json.loads(path.read_text())
    del config["source"], config["watch"]
    path.write_text(json.dumps(config))
    assert "give the source" in refusal(tmp_path / "run")
    assert same_bits(replay(tmp_path / "run", source).model.weights, run.model.weights)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"layrs": [3]}', '{"epochs": -1}', '{"source": 3}'])
def test_a_damaged_configuration_is_refused_by_its_path(source, tmp_path, content):
    kept(source, tmp_path / "run")
    (tmp_path / "run" / "config.json").write_text(content)
    assert str(tmp_path / "run") in refusal(tmp_path / "run")
    assert "no such file or folder" in refusal(tmp_path / "nowhere")


def test_the_fingerprint_of_a_folder_is_that_of_its_files(tmp_path):
    for name, text in (("a", "1"), ("b", "2")):
        (tmp_path / name).write_text(text)
    first = fingerprint(tmp_path)
    (tmp_path / "inner").mkdir()
    (tmp_path / ".hidden").write_text("x")
    assert fingerprint(tmp_path) == first
    assert first[0] == 2
    (tmp_path / "b").rename(tmp_path / "c")
    assert fingerprint(tmp_path)[1] != first[1]
    assert fingerprint(tmp_path / "nothing") == (None, None)


# --- diagnosing a run ----------------------------------------------------------------------------------------

SCRIPT = """
import sys
{line}
assert "glassgrad.diagnosis.diagnose" not in sys.modules
import glassgrad.diagnosis.diagnose as module
module.diagnose = lambda run, **options: (run, options)
found = run.diagnose(budget=5)
assert found[0] is run and found[1] == {{"budget": 5}}
"""


@pytest.mark.parametrize(
    "line",
    [
        "import glassgrad as gg; run = gg.train('digits', epochs=0, layers=[2])",
        "from glassgrad import train_many; run = train_many('digits', [{'epochs': 0}], layers=[2])[0]",
    ],
)
def test_a_run_is_diagnosed_through_the_package(line):
    script = SCRIPT.format(line=line)
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_a_run_without_diagnosis_names_the_function_to_call(monkeypatch):
    run = train(blobs(), epochs=0)
    error = gg.GlassgradError  # first: loading a public name binds the function
    monkeypatch.setattr(Run, "diagnose_run", None)
    with pytest.raises(error, match=r"glassgrad\.diagnose\(run\)"):
        run.diagnose()
