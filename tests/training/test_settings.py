"""Options are resolved by whether they were given, not by whether they differ from a default."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

import pytest

import glassgrad as gg
from glassgrad.common.errors import InputError
from glassgrad.common.unset import UNSET
from glassgrad.optim.optimizers import OPTIMIZERS, SGD, AdamW
from glassgrad.training.changes import changed_settings
from glassgrad.training.defaults import DEFAULTS
from glassgrad.training.settings import OF_LAYERS, OF_OPTIMIZER, Settings, settings_of_document
from training.small import blobs

OWN = {"learning_rate": 0.01, "momentum": 0.0, "weight_decay": 0.0}
"""The defaults of SGD."""

WRITTEN: dict[str, tuple[Any, dict[str, float]]] = {
    "bare text": ("sgd", {"learning_rate": DEFAULTS["learning_rate"]}),
    "text": ("sgd(momentum=0.9)", {"momentum": 0.9}),
    "text without arguments": ("sgd()", {}),
    "text with all": (
        "sgd(0.3, momentum=0.9, weight_decay=0.1)",
        {"learning_rate": 0.3, "momentum": 0.9, "weight_decay": 0.1},
    ),
    "object": (SGD(momentum=0.9), {"momentum": 0.9}),
    "table": ({"name": "sgd", "momentum": 0.9}, {"momentum": 0.9}),
    "table with all": (
        {"name": "sgd", "learning_rate": 0.3, "momentum": 0.9, "weight_decay": 0.1},
        {"learning_rate": 0.3, "momentum": 0.9, "weight_decay": 0.1},
    ),
}
"""How an optimizer may be written, and what that says of its numbers."""

VALUES = {
    "learning_rate": (UNSET, DEFAULTS["learning_rate"], OWN["learning_rate"], 0.004),
    "momentum": (UNSET, OWN["momentum"], 0.5),
    "weight_decay": (UNSET, OWN["weight_decay"], 0.01),
}
"""Values to give on their own, those that equal a default among them."""

NETWORK = gg.Sequential(gg.nn.Dense(4, "relu"), gg.nn.Dropout(0.5), gg.nn.Dense(3))


def resolved(settings: Settings) -> dict[str, float]:
    return {name: getattr(settings.resolved_optimizer, name) for name in OWN}


def expected(numbers: dict[str, float], options: dict[str, Any]) -> dict[str, float]:
    return OWN | numbers | {name: value for name, value in options.items() if value is not UNSET}


COMBINATIONS = [dict(zip(VALUES, values, strict=True)) for values in itertools.product(*VALUES.values())]


@pytest.mark.parametrize("name", list(WRITTEN))
def test_a_separate_option_overrides_the_one_inside_the_optimizer(name: str) -> None:
    optimizer, numbers = WRITTEN[name]
    for options in COMBINATIONS:
        settings = Settings(optimizer=optimizer, **options)
        assert resolved(settings) == expected(numbers, options), options
        left_out = {key: value for key, value in options.items() if value is not UNSET}
        assert resolved(Settings(optimizer=optimizer, **left_out)) == expected(numbers, options), options


@pytest.mark.parametrize("decay", [UNSET, 0.0, 0.01, 0.2])
@pytest.mark.parametrize("optimizer", ["adamw", "adamw()", AdamW(), {"name": "adamw"}])
def test_a_weight_decay_of_zero_counts_as_given(optimizer: Any, decay: Any) -> None:
    settings = Settings(optimizer=optimizer, weight_decay=decay)
    assert settings.value("weight_decay") == (0.01 if decay is UNSET else decay)


def test_every_way_to_train_accepts_an_option_that_equals_its_default() -> None:
    options = {"optimizer": "sgd(momentum=0.9)", "layers": [4], "epochs": 1, "backend": "reference"}
    options["schedule"] = "constant"
    rates = [0.001, 0.002, 0.01, 0.004]
    runs = [gg.train(blobs(), learning_rate=rate, **options) for rate in rates]
    runs += gg.train_many(blobs(), [{"learning_rate": rate} for rate in rates], **options)
    runs += [gg.replay(runs[0], learning_rate=rate) for rate in rates]
    runs += [gg.replay(gg.train(blobs(), **options), learning_rate=rate) for rate in rates]
    for run, rate in zip(runs, rates * 4, strict=True):
        assert resolved(run.settings) == OWN | {"learning_rate": rate, "momentum": 0.9}
        assert run.history[0]["learning_rate"] == rate


def test_an_option_of_the_optimizer_can_require_a_separate_one() -> None:
    nesterov = Settings(optimizer="sgd(nesterov=True)", momentum=0.9).resolved_optimizer
    assert nesterov == SGD(learning_rate=0.01, momentum=0.9, nesterov=True)
    with pytest.raises(InputError, match="nesterov needs a momentum above 0"):
        Settings(optimizer="sgd(momentum=0.9, nesterov=True)", momentum=0.0)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_an_option_that_the_optimizer_lacks_is_refused(momentum: float) -> None:
    with pytest.raises(InputError, match=r"not an option of 'adam'; use it with sgd"):
        Settings(optimizer="adam", momentum=momentum)


def test_unset_is_the_default_of_every_option() -> None:
    options = [item.name for item in dataclasses.fields(Settings) if item.init]
    assert Settings(**dict.fromkeys(options, UNSET)) == Settings()
    assert sorted(options) == sorted({*DEFAULTS, *OF_OPTIMIZER})
    for name, default in DEFAULTS.items():
        assert Settings().value(name) == default
        if name != "network":
            assert Settings(**{name: default}).value(name) == default


@pytest.mark.parametrize("name", OF_LAYERS)
def test_options_of_layers_are_refused_beside_a_network(name: str) -> None:
    with pytest.raises(InputError, match=f"network replaces all layers, so {name} has no effect"):
        Settings(network=NETWORK, **{name: DEFAULTS[name]})
    settings = Settings(network=NETWORK)
    assert getattr(settings, name) is UNSET
    assert settings.value(name) is None
    assert dataclasses.replace(settings, network=None).value(name) == DEFAULTS[name]


# --- options that are given later -------------------------------------------------------------------------------


@pytest.mark.parametrize("written", list(WRITTEN))
@pytest.mark.parametrize("name", OF_OPTIMIZER)
def test_a_changed_option_goes_into_the_optimizer(written: str, name: str) -> None:
    optimizer, numbers = WRITTEN[written]
    for before, value in itertools.product((UNSET, 0.25), VALUES[name]):
        settings = changed_settings(Settings(optimizer=optimizer, **{name: before}), {name: value})
        kept = before if value is UNSET else value
        assert resolved(settings) == expected(numbers, {name: kept})


def test_a_changed_optimizer_has_its_own_defaults_and_keeps_the_learning_rate() -> None:
    before = Settings(optimizer="sgd(0.3)", momentum=0.9, weight_decay=0.1)
    assert resolved(changed_settings(before, {"optimizer": "sgd"})) == OWN | {"learning_rate": 0.3}
    adamw = changed_settings(before, {"optimizer": "adamw"}).resolved_optimizer
    assert adamw == AdamW(learning_rate=0.3)
    named: list[tuple[dict[str, Any], float]] = [
        ({"optimizer": "adamw", "learning_rate": DEFAULTS["learning_rate"]}, DEFAULTS["learning_rate"]),
        ({"optimizer": "adamw(0.001)"}, 0.001),
        ({"optimizer": "adamw(learning_rate=0.001)"}, 0.001),
        ({"optimizer": {"name": "adamw", "learning_rate": 0.001}}, 0.001),
        ({"optimizer": {"name": "adamw", "beta1": 0.8}}, 0.3),
        ({"optimizer": AdamW()}, 0.001),
    ]
    for changes, rate in named:
        assert changed_settings(before, changes).value("learning_rate") == rate
    both = changed_settings(before, {"optimizer": "sgd", "momentum": 0.0, "learning_rate": 0.01})
    assert resolved(both) == OWN


def test_layers_replace_a_network_and_a_network_replaces_layers() -> None:
    deep = Settings(layers=(5,), activation="tanh")
    assert changed_settings(deep, {"network": NETWORK}).network == NETWORK
    again = changed_settings(Settings(network=NETWORK), {"layers": (7,)})
    assert (again.network, again.layers, again.activation) == (None, (7,), "relu")
    with pytest.raises(InputError, match="network replaces all layers, so layers has no effect"):
        changed_settings(deep, {"network": NETWORK, "layers": (7,)})


@pytest.mark.parametrize("changes", [{"dropout": 0.1}, {"activation": "tanh"}, {"init": "zeros"}])
def test_a_change_without_effect_on_any_layer_is_refused(changes: dict[str, Any]) -> None:
    plain = gg.Sequential(gg.nn.Flatten(), gg.nn.LayerNorm())
    with pytest.raises(InputError, match="has no effect: no layer of the network has such an option"):
        changed_settings(Settings(network=plain), changes)


def test_dropout_needs_a_network() -> None:
    with pytest.raises(InputError, match="dropout needs a network"):
        changed_settings(Settings(), {"dropout": 0.1})


def test_replay_changes_the_layers_of_a_network() -> None:
    run = gg.train(blobs(), network=NETWORK, epochs=1, backend="reference")
    again = gg.replay(run, activation="tanh", dropout=0.0)
    first, drop, _ = (node.layer for node in again.model.network.nodes)
    assert (type(first.activation).__name__, drop.rate) == ("Tanh", 0.0)  # type: ignore[attr-defined]


# --- documents --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("written", list(WRITTEN))
def test_a_document_holds_the_resolved_optimizer(written: str) -> None:
    for options in COMBINATIONS:
        settings = Settings(optimizer=WRITTEN[written][0], **options)
        document = json.loads(json.dumps(settings.to_document()))
        again = settings_of_document(document)
        assert again.resolved_optimizer == settings.resolved_optimizer
        assert again.to_document() == settings.to_document()


@pytest.mark.parametrize("written", ["adamw", "sgd"])
def test_a_document_of_an_earlier_version_describes_the_same_training(written: str) -> None:
    """They list every option, at its default where it was not given or was taken for that."""
    optimizer = OPTIMIZERS.config(OPTIMIZERS.make(written, {"learning_rate": 0.05}))
    earlier = Settings().to_document() | {"optimizer": optimizer}
    earlier |= {"learning_rate": 0.002, "momentum": 0.0, "weight_decay": 0.0}
    assert settings_of_document(earlier).resolved_optimizer == OPTIMIZERS.make(optimizer)
    settings = settings_of_document(earlier | {"network": NETWORK.to_document()})
    assert settings.layers is UNSET


FILES = sorted((Path(__file__).parent.parent / "files" / "models").glob("*.config.json"))


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_recorded_documents_load(path: Path) -> None:
    document = json.loads(path.read_text())
    document.pop("source", None)
    settings = settings_of_document(document)
    assert OPTIMIZERS.config(settings.resolved_optimizer) == document["optimizer"]
    for name in ("epochs", "batch_size", "seed", "validation", "test", "keep", "scaling", "dtype"):
        assert getattr(settings, name) == document[name]


def test_recorded_documents_exist() -> None:
    assert FILES
