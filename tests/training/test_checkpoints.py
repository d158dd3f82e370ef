"""A resumed training continues to the same bits, on every backend, with every optimizer and schedule."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

import glassgrad as gg
from glassgrad.files import checkpoint_file
from training.small import blobs, same_bits, surface
from training.test_trainer import BACKENDS, OPTIMIZERS, SCHEDULES, SMALL, convolution, images


def continued(tmp_path: Path, data: gg.Dataset, at: int, **options: object) -> tuple[gg.Run, gg.Run]:
    """The same training without and with a stop after ``at`` steps."""
    whole = gg.Trainer(data, **options).run()
    trainer = gg.Trainer(data, **options)
    trainer.advance(steps=at)
    trainer.checkpoint(tmp_path / "ck")
    return whole, gg.Trainer.resume(tmp_path / "ck", data).run()


def assert_same(one: gg.Run, other: gg.Run) -> None:
    assert same_bits(one.model.weights, other.model.weights)
    assert same_bits(one.model.statistics, other.model.statistics)
    assert one.history == other.history
    assert one.step_losses.tobytes() == other.step_losses.tobytes()
    assert (one.best_epoch, one.metrics, one.changes) == (other.best_epoch, other.metrics, other.changes)


@pytest.mark.parametrize("at", [0, 3, 4, 13])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_resumed_training_ends_with_the_same_bits_as_an_uninterrupted_one(
    tmp_path, backend: str, at: int
) -> None:
    options = {"network": convolution(), "batch_size": 16, "epochs": 4, "watch": True, "backend": backend}
    whole, resumed = continued(tmp_path, images(), at, **options)
    assert_same(whole, resumed)
    assert whole.lenses.document() == resumed.lenses.document()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_is_resumed(tmp_path, optimizer: str) -> None:
    assert_same(*continued(tmp_path, blobs(), 9, optimizer=optimizer, **SMALL))


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_is_resumed(tmp_path, schedule: str) -> None:
    options = {"schedule": schedule, "learning_rate": 0.2, "optimizer": "sgd", "keep": "last", **SMALL}
    assert_same(*continued(tmp_path, blobs(), 14, **options))


def test_a_changed_learning_rate_and_the_state_of_a_callback_are_resumed(tmp_path) -> None:
    def trained(stop: bool) -> tuple[gg.Run, dict[str, np.ndarray]]:
        average = gg.AveragedModel(0.9, every_steps=3)
        trainer = gg.Trainer(blobs(), callbacks=[average], **SMALL)
        trainer.advance(steps=5)
        trainer.learning_rate = 0.05
        trainer.advance(steps=5)
        if stop:
            trainer.checkpoint(tmp_path / "ck")
            average = gg.AveragedModel(0.9, every_steps=3)
            trainer = gg.Trainer.resume(tmp_path / "ck", blobs(), callbacks=[average])
        return trainer.run(), average.weights

    (whole, one), (resumed, other) = trained(False), trained(True)
    assert_same(whole, resumed)
    assert same_bits(one, other)


def test_data_from_a_source_are_loaded_again(tmp_path) -> None:
    options = {"layers": [8], "epochs": 3}
    trainer = gg.Trainer("digits", **options)
    trainer.advance(steps=50)
    file = trainer.checkpoint(tmp_path / "ck.safetensors")
    assert file == tmp_path / "ck.safetensors"
    assert_same(gg.train("digits", **options), gg.Trainer.resume(file).run())


def test_a_resumed_training_can_have_more_epochs(tmp_path) -> None:
    options = SMALL | {"schedule": "constant"}
    trainer = gg.Trainer(blobs(), **options)
    trainer.run()
    trainer.checkpoint(tmp_path / "ck")
    longer = gg.Trainer.resume(tmp_path / "ck", blobs(), epochs=9)
    assert not longer.ended
    assert_same(longer.run(), gg.train(blobs(), **(options | {"epochs": 9})))


def test_settings_that_may_not_change_are_refused_by_name(tmp_path) -> None:
    gg.Trainer(blobs(), **SMALL).checkpoint(tmp_path / "ck")
    with pytest.raises(
        gg.InputError, match="batch_size cannot change when a training is resumed, only epochs"
    ):
        gg.Trainer.resume(tmp_path / "ck", blobs(), batch_size=4)
    with pytest.raises(gg.InputError, match="was trained on other data"):
        gg.Trainer.resume(tmp_path / "ck", blobs(seed=1))
    with pytest.raises(gg.InputError, match=r"with the callbacks \[\], not \['EarlyStopping'\]"):
        gg.Trainer.resume(tmp_path / "ck", blobs(), callbacks=[gg.EarlyStopping(3)])
    with pytest.raises(gg.InputError, match="was trained on data from memory"):
        gg.Trainer.resume(tmp_path / "ck")
    with pytest.raises(gg.InputError, match="no such file"):
        gg.Trainer.resume(tmp_path / "none", blobs())


# --- two generations ---------------------------------------------------------------------------------------


def two_checkpoints(tmp_path: Path) -> tuple[Path, Path]:
    trainer = gg.Trainer(blobs(), **SMALL)
    trainer.advance(steps=4)
    trainer.checkpoint(tmp_path / "ck")
    trainer.advance(steps=4)
    trainer.checkpoint(tmp_path / "ck")
    newest, previous = checkpoint_file.checkpoint_paths(tmp_path / "ck")
    assert sorted(tmp_path.iterdir()) == [previous, newest]
    return newest, previous


def test_a_damaged_checkpoint_falls_back_to_the_previous_one(tmp_path) -> None:
    newest, _ = two_checkpoints(tmp_path)
    content = newest.read_bytes()
    for place in np.random.default_rng(0).integers(0, len(content), 40):
        newest.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        with pytest.warns(UserWarning, match=r"using the previous checkpoint, ck\.previous\.safetensors"):
            assert gg.Trainer.resume(tmp_path / "ck", blobs()).step == 4
    newest.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert gg.Trainer.resume(tmp_path / "ck", blobs()).step == 8


def test_a_missing_checkpoint_falls_back_to_the_previous_one(tmp_path) -> None:
    newest, previous = two_checkpoints(tmp_path)
    newest.unlink()
    with pytest.warns(UserWarning, match="using the previous checkpoint"):
        assert gg.Trainer.resume(tmp_path / "ck", blobs()).step == 4
    previous.write_bytes(b"{}")
    newest.write_bytes(b"")
    with pytest.raises(gg.InputError, match="cannot be read either"):
        gg.Trainer.resume(tmp_path / "ck", blobs())


@pytest.mark.parametrize("function", ["write_new", "sync_folder", "os.replace"])
def test_a_failed_write_keeps_a_valid_checkpoint(tmp_path, monkeypatch, function: str) -> None:
    two_checkpoints(tmp_path)
    trainer = gg.Trainer.resume(tmp_path / "ck", blobs())
    trainer.advance(steps=2)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(f"glassgrad.files.checkpoint_file.{function}", fail)
        with pytest.raises(gg.InputError, match="the disk is full"):
            trainer.checkpoint(tmp_path / "ck")
    assert not list(tmp_path.glob(".*"))
    assert gg.Trainer.resume(tmp_path / "ck", blobs()).step in (8, 10)


# --- snapshots ---------------------------------------------------------------------------------------------


def test_a_fork_is_independent() -> None:
    trainer = gg.Trainer(blobs(), **SMALL)
    trainer.advance(steps=7)
    twin = trainer.fork()
    twin.learning_rate = 1.0
    twin.advance(steps=4)
    assert trainer.step == 7
    assert trainer.changes == ()
    assert_same(trainer.run(), gg.train(blobs(), **SMALL))


def test_restoring_a_snapshot() -> None:
    trainer = gg.Trainer(blobs(), **SMALL)
    trainer.advance(steps=7)
    snapshot = trainer.snapshot()
    first = trainer.run()
    trainer.restore(snapshot)
    assert trainer.step == 7
    assert_same(trainer.run(), first)
    with pytest.raises(gg.InputError, match="has different weights from this network"):
        gg.Trainer(blobs(), **(SMALL | {"layers": [7]})).restore(snapshot)


def test_a_checkpoint_of_the_epoch_in_which_patience_ended_the_training_is_ended_too(tmp_path) -> None:
    class Save(gg.Callback):
        def on_epoch_end(self, trainer: gg.Trainer) -> None:
            trainer.checkpoint(tmp_path / "ck")

    options = SMALL | {"epochs": 200, "patience": 2, "learning_rate": 0.3}
    run = gg.Trainer(blobs(), callbacks=[Save()], **options).run()
    assert run.stopped is not None
    resumed = gg.Trainer.resume(tmp_path / "ck", blobs(), callbacks=[Save()]).run()
    assert resumed.stopped == run.stopped
    assert_same(run, resumed)


@pytest.mark.parametrize(("first", "then"), [(["f1"], []), ([], ["f1"]), (["f1"], ["roc_auc"])])
def test_records_of_other_metrics_are_kept(tmp_path, first: list[str], then: list[str]) -> None:
    trainer = gg.Trainer(blobs(), metrics=first, **SMALL)
    trainer.advance(epochs=2)
    trainer.checkpoint(tmp_path / "ck")
    changed = gg.Trainer.resume(tmp_path / "ck", blobs(), metrics=then)
    changed.advance(epochs=2)
    changed.checkpoint(tmp_path / "ck")
    assert gg.Trainer.resume(tmp_path / "ck", blobs()).history == changed.history
    assert [f"validation_{name}" in changed.history[0] for name in first] == [True] * len(first)
    assert [f"validation_{name}" in changed.history[3] for name in then] == [True] * len(then)


@pytest.mark.parametrize("watch", [False, True])
def test_a_training_that_diverged_stays_diverged(tmp_path, watch: bool) -> None:
    """The weights that are kept are those before the step that went wrong: going on would be another training."""
    trainer = gg.Trainer(surface(), layers=[6], batch_size=16, epochs=30, optimizer="sgd(3)", watch=watch)
    run = trainer.run()
    assert run.status == "diverged"
    trainer.checkpoint(tmp_path / "ck")
    for again in (gg.Trainer.resume(tmp_path / "ck", surface()), trainer.fork()):
        assert again.ended
        other = again.run()
        assert_same(run, other)
        assert (other.status, other.message) == (run.status, run.message)


@pytest.mark.parametrize("path", ["", ".", "/", "a\0b", None, 3])
def test_a_path_that_names_no_file_is_refused(path: object) -> None:
    trainer = gg.Trainer(blobs(), **SMALL)
    with pytest.raises(gg.InputError, match="a checkpoint is the path of a file"):
        trainer.checkpoint(path)
    with pytest.raises(gg.InputError, match="a checkpoint is the path of a file"):
        gg.Trainer.resume(path)


def test_a_folder_in_the_place_of_a_checkpoint_stays(tmp_path) -> None:
    folder = tmp_path / "ck.safetensors"
    folder.mkdir()
    (folder / "file").write_text("kept")
    with pytest.raises(gg.InputError, match="is a folder"):
        gg.Trainer(blobs(), **SMALL).checkpoint(folder)
    assert [item.name for item in tmp_path.iterdir()] == ["ck.safetensors"]
    assert (folder / "file").read_text() == "kept"


def test_a_snapshot_with_a_hyperparameter_that_this_training_lacks_is_refused() -> None:
    clipped, plain = gg.Trainer(blobs(), clip_norm=1.0, **SMALL), gg.Trainer(blobs(), **SMALL)
    clipped.clip_norm = 0.5
    with pytest.raises(gg.InputError, match="clip_norm"):
        plain.restore(clipped.snapshot())
    assert "clip_norm" not in plain.hyperparameters
