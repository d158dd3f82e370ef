"""What is given on the command line is given, also where it equals a default."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cli.running import QUICK, call, refused, train
from glassgrad.common.unset import UNSET
from glassgrad.files.run_folder import read_config
from glassgrad.training.defaults import DEFAULTS

DEFAULT_FLAGS = {
    "layers": "64,32",
    "activation": "relu",
    "init": "he_normal",
    "output_activation": "auto",
    "loss": "auto",
    "optimizer": "adam",
    "learning_rate": "0.002",
    "schedule": "cosine",
    "scaling": "standard",
    "freeze": "",
    "batch_size": "32",
    "epochs": "30",
    "keep": "best",
    "validation": "0.1",
    "test": "0.2",
    "seed": "0",
    "backend": "native",
    "dtype": "float32",
}
"""Every option with a default, written as that default."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The options that reach ``make_settings``, which then refuses to go on."""
    calls: list[dict[str, Any]] = []

    def make_settings(options: dict[str, Any]) -> None:
        calls.append(options)
        raise KeyboardInterrupt

    monkeypatch.setattr("glassgrad.training.settings.make_settings", make_settings)
    return calls


def test_options_not_given_are_unset(asked: list[dict[str, Any]]) -> None:
    call("train", "digits")
    assert set(asked[0].values()) == {UNSET}
    assert set(asked[0]) == {*DEFAULTS, "momentum", "weight_decay"}


@pytest.mark.parametrize("name", sorted(DEFAULT_FLAGS))
def test_an_option_that_equals_its_default_is_given(name: str, asked: list[dict[str, Any]]) -> None:
    call("train", "digits", f"--{name.replace('_', '-')}", DEFAULT_FLAGS[name])
    given = {key: value for key, value in asked[0].items() if value is not UNSET}
    assert given == {name: DEFAULTS[name]}


@pytest.mark.parametrize("optimizer", ["sgd(momentum=0.9)", "sgd", "adamw"])
@pytest.mark.parametrize("rate", [0.002, 0.001, 0.01])
def test_train_takes_the_learning_rate(optimizer: str, rate: float, tmp_path: Path) -> None:
    options = ["--optimizer", optimizer, "--learning-rate", rate, "--weight-decay", "0.0"]
    done = train("digits", *options, "--epochs", "0", "--out", tmp_path / "run")
    assert done.code == 0, done.err
    written = read_config(tmp_path / "run")["optimizer"]
    assert (written["learning_rate"], written["weight_decay"]) == (rate, 0.0)


def test_every_row_of_a_sweep_has_its_learning_rate(tmp_path: Path) -> None:
    """0.01 is the default of SGD, and 0.002 that of a bare name: rows with either must train with either."""
    rates = "0.001,0.002,0.004,0.01"
    options = ["--optimizer", "sgd(momentum=0.9)", "--learning-rate", rates, "--seeds", 1, "--epochs", 1]
    done = call(
        "sweep", "digits", *QUICK, *options, "--schedule", "constant", "--out", tmp_path / "out", "--json"
    )
    assert done.code == 0, done.err
    losses = {run["learning_rate"]: run["train_loss"] for run in done.json["runs"]}
    assert sorted(losses) == [0.001, 0.002, 0.004, 0.01]
    assert len(set(losses.values())) == 4
    for rate, loss in losses.items():
        alone = ["--optimizer", f"sgd({rate}, momentum=0.9)", "--schedule", "constant", "--epochs", 1]
        assert train("digits", *alone, "--json").json["metrics"]["train"]["loss"] == loss


def test_a_diagnosis_of_a_run_changes_only_the_given_options(tmp_path: Path) -> None:
    options = ["--optimizer", "sgd(0.1, momentum=0.9)", "--out", tmp_path / "run"]
    assert train("digits", *options).code == 0
    done = call("diagnose", tmp_path / "run", "--learning-rate", "0.002", "--budget", "1s", "--json")
    assert done.code in (0, 3), done.err
    settings = done.json["examined"]["settings"]
    assert settings["optimizer"] == {
        "name": "sgd",
        "learning_rate": 0.002,
        "momentum": 0.9,
        "nesterov": False,
        "weight_decay": 0.0,
    }
    assert settings["layers"] == [4]


def test_strict_is_for_tables(tmp_path: Path) -> None:
    assert train("digits", "--out", tmp_path / "run").code == 0
    done = call("predict", tmp_path / "run", "digits", "--strict")
    refused(done, "--strict is for tables")


def test_help_shows_the_defaults_of_the_table() -> None:
    text = call("train", "--help").out
    for shown in ("[default: 64,32]", "[default: 0.002]", "[default: cosine]"):
        assert shown in text


DIGITS = "9" * 5000
HEX = hex(10**5000)


@pytest.mark.parametrize(
    "options",
    [
        ["--epochs", DIGITS],
        ["--batch-size", f"-{DIGITS}"],
        ["--seed", 10**30],
        ["--learning-rate", DIGITS],
        ["--learning-rate", HEX],
        ["--momentum", "nan"],
        ["--optimizer", f"sgd({DIGITS})"],
        ["--optimizer", f"sgd({HEX})"],
        ["--schedule", f"step({HEX})"],
        ["--layers", DIGITS],
        ["--layers", 10**30],
    ],
    ids=lambda value: " ".join(map(str, value))[:30],
)
def test_numbers_of_any_length_get_one_short_line(options: list[Any]) -> None:
    line = refused(call("train", "digits", *options), options[0].removeprefix("--").split("-")[0])
    assert len(line) < 300


@pytest.mark.parametrize(
    "options", [["--seeds", 10**30], ["--learning-rate", f"1:2:{DIGITS}"], ["--batch-size", DIGITS]]
)
def test_a_sweep_refuses_numbers_of_any_length(options: list[Any]) -> None:
    assert len(refused(call("sweep", "digits", *options), options[0])) < 300


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("net.toml", f'[[layers]]\ntype = "dense"\nunits = {DIGITS}\n'),
        ("net.toml", f'[[layers]]\ntype = "dense"\nunits = {HEX}\n'),
        ("net.json", f'{{"layers": [{{"type": "dense", "units": {DIGITS}}}]}}'),
    ],
    ids=["toml", "toml in hexadecimal", "json"],
)
def test_network_files_with_such_numbers_get_one_short_line(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    assert len(refused(call("train", "digits", "--network", tmp_path / name), "digits")) < 400


def test_a_configuration_with_such_a_number_is_refused(tmp_path: Path) -> None:
    assert train("digits", "--epochs", 0, "--out", tmp_path / "run").code == 0
    path = tmp_path / "run" / "config.json"
    path.write_text(path.read_text().replace('"epochs": 0', f'"epochs": {DIGITS}'))
    refused(call("report", tmp_path / "run"), "contains a number with too many digits")
