"""The settings and data that a diagnosis examines, by its options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import glassgrad as gg
from glassgrad.common.errors import InputError
from glassgrad.diagnosis import diagnose as module
from glassgrad.diagnosis.core.variants import DATA_ACTIONS, make_variant
from glassgrad.training.given import Given
from glassgrad.training.settings import Settings
from training.small import blobs

OPTIONS: dict[str, Any] = {"backend": "reference", "layers": [4], "epochs": 1}


class _Examined(Exception):
    """Stands in for the work: what would have been examined."""


@pytest.fixture
def examined(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that gives the data and the settings that ``diagnose`` would examine."""

    def examine(given: Given, settings: Settings, clock: object) -> None:
        raise _Examined(given, settings)

    monkeypatch.setattr(module, "examine", examine)

    def call(*arguments: Any, **options: Any) -> tuple[Given, Settings]:
        with pytest.raises(_Examined) as caught:
            gg.diagnose(*arguments, **options)
        given, settings = caught.value.args
        return given, settings

    return call


@pytest.fixture(scope="module")
def run() -> gg.Run:
    return gg.train(blobs(), optimizer="sgd(momentum=0.9)", class_weight="balanced", **OPTIONS)


@pytest.mark.parametrize("rate", [0.001, 0.002, 0.01])
def test_a_learning_rate_that_equals_a_default_counts(rate: float, run: gg.Run, examined: Any) -> None:
    for arguments in ((run,), (blobs(),)):
        options = {"learning_rate": rate} | (
            {"optimizer": "sgd(momentum=0.9)"} if arguments[0] is not run else {}
        )
        _, settings = examined(*arguments, **options)
        assert settings.resolved_optimizer.hyperparameters() == {"learning_rate": rate, "momentum": 0.9}


def test_the_options_of_a_run_are_kept_unless_replaced(run: gg.Run, examined: Any) -> None:
    given, settings = examined(run)
    assert settings == run.settings
    assert given.class_weight == "balanced"
    _, settings = examined(run, optimizer="adam")
    assert settings.value("learning_rate") == run.settings.value("learning_rate") == 0.01


def test_weights_of_none_replace_those_of_a_run(run: gg.Run, examined: Any) -> None:
    assert examined(run, class_weight=None)[0].class_weight is None
    assert examined(run, class_weight={0: 2.0})[0].class_weight == {0: 2.0}
    weighted = gg.train(blobs(), sample_weight=np.ones(len(blobs().targets)), **OPTIONS)
    assert examined(weighted)[0].sample_weight is not None
    assert examined(weighted, sample_weight=None)[0].sample_weight is None
    assert gg.replay(run, class_weight=None).given.class_weight is None


def test_a_run_folder_does_not_need_its_weights(tmp_path: Path, examined: Any) -> None:
    np.savez(tmp_path / "data.npz", X=blobs().features, y=blobs().targets)
    weights = np.ones(len(blobs().targets))
    gg.train(tmp_path / "data.npz", sample_weight=weights, **OPTIONS).save(tmp_path / "run")
    with pytest.raises(InputError, match="give sample_weight"):
        gg.diagnose(tmp_path / "run")
    given, _ = examined(tmp_path / "run", sample_weight=None)
    assert given.sample_weight is None
    assert gg.replay(tmp_path / "run", sample_weight=None).epochs == 1


@pytest.mark.parametrize("name", [name for name in DATA_ACTIONS if name not in ("task", "class_weight")])
def test_actions_on_data_are_no_options(name: str, run: gg.Run) -> None:
    for data in (run, blobs()):
        with pytest.raises(InputError, match=f"unknown option '{name}'"):
            gg.diagnose(data, **{name: ["x[0]"]})
    with pytest.raises(InputError, match=f"unknown option '{name}'"):
        gg.replay(run, **{name: ["x[0]"]})


@pytest.mark.parametrize("name", ["force", "watch"])
@pytest.mark.parametrize("value", [True, False])
def test_options_that_a_diagnosis_does_not_use_are_refused(name: str, value: bool, run: gg.Run) -> None:
    for data in (run, blobs()):
        with pytest.raises(InputError, match=f"diagnose does not take the option {name}; leave it out"):
            gg.diagnose(data, **{name: value})


def test_a_task_is_no_option_of_a_run(run: gg.Run) -> None:
    with pytest.raises(InputError, match="target and task apply to data sources only"):
        gg.diagnose(run, task="regression")


def test_variants_that_train_the_same_have_one_key() -> None:
    plain = make_variant(Settings(optimizer="sgd(momentum=0.9)"), {})
    assert make_variant(plain.settings, {"learning_rate": 0.01}).key == plain.key
    assert make_variant(Settings(optimizer="sgd"), {"learning_rate": 0.01, "momentum": 0.9}).key == plain.key
    assert make_variant(plain.settings, {"learning_rate": 0.002}).key != plain.key
    assert make_variant(plain.settings, {"class_weight": None}).key != plain.key
