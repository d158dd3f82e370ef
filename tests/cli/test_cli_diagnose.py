"""``glassgrad diagnose``: what it prints, what it exits with, and the JSON document against its schema."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import glassgrad as gg
from cli.running import Done, blobs, call, refused
from diagnosis.planting import fault_of
from glassgrad.cli.diagnosis_text import Painter, command_options, text_of
from glassgrad.diagnosis.core.evidence import Intervention, Trial
from glassgrad.diagnosis.core.findings import Answer, Diagnosis
from glassgrad.diagnosis.core.questions import QUESTIONS
from glassgrad.diagnosis.kinds import KINDS

DOCS = Path(__file__).parents[2] / "docs"
SCHEMA = json.loads((DOCS / "diagnosis.schema.json").read_text(encoding="utf-8"))
QUICK = ("--layers", "8", "--epochs", "15", "--batch-size", "16")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return blobs(tmp_path_factory.mktemp("data") / "blobs.npz", rows=180)


@pytest.fixture(scope="module")
def healthy(data: Path) -> Done:
    return call("diagnose", data, *QUICK, "--learning-rate", "0.02", "--json")


@pytest.fixture(scope="module")
def faulty(data: Path) -> Done:
    return call("diagnose", data, *QUICK, "--learning-rate", "1e-7", "--json")


def check(value: Any, schema: Any, place: str = "") -> None:
    """Whether ``value`` is as ``schema`` says, as far as the words of JSON Schema that ours uses go."""
    if "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    if "anyOf" in schema:
        assert any(_fits(value, item, place) for item in schema["anyOf"]), (place, value)
    if "const" in schema:
        assert value == schema["const"], place
    if "enum" in schema:
        assert value in schema["enum"], (place, value)
    if "type" in schema:
        kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        assert any(_is(value, kind) for kind in kinds), (place, value)
    if isinstance(value, dict):
        assert set(schema.get("required", ())) <= set(value), place
        known = schema.get("properties", {})
        if schema.get("additionalProperties") is False:
            assert set(value) <= set(known), place
        for key, item in value.items():
            check(item, known.get(key, {}), f"{place}.{key}")
    if isinstance(value, list):
        assert schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", math.inf), place
        for number, item in enumerate(value):
            check(item, schema.get("items", {}), f"{place}[{number}]")


def _fits(value: Any, schema: Any, place: str) -> bool:
    try:
        check(value, schema, place)
    except AssertionError:
        return False
    return True


def _is(value: Any, kind: str) -> bool:
    if kind in ("number", "integer") and isinstance(value, bool):
        return False
    kinds: dict[str, Any] = {
        "object": dict,
        "array": list,
        "string": str,
        "number": (int, float),
        "integer": int,
        "boolean": bool,
        "null": type(None),
    }
    return isinstance(value, kinds[kind])


def test_the_documented_kinds_are_the_kinds() -> None:
    assert SCHEMA["$defs"]["kind"]["enum"] == list(KINDS)
    page = (DOCS / "diagnosis.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| ([\w ]+) \| (.+?) \|", page, re.MULTILINE)
    documented = {name: (question, meaning) for name, question, meaning in rows}
    wanted = {name: (kind.question.replace("_", " "), kind.meaning) for name, kind in KINDS.items()}
    assert {name: documented.get(name) for name in wanted} == wanted
    assert [name for name, *_ in rows if name in wanted] == list(KINDS)


def test_a_healthy_network_exits_with_0(healthy: Done) -> None:
    assert healthy.code == 0, healthy.out
    check(healthy.json, SCHEMA)
    assert healthy.json["named"] is None
    assert [item["question"] for item in healthy.json["questions"]] == list(QUESTIONS)


def test_a_confirmed_fault_exits_with_3(faulty: Done) -> None:
    assert faulty.code == 3
    check(faulty.json, SCHEMA)
    assert faulty.json["named"] == "learning_rate_too_low"
    (fault,) = [
        fault
        for question in faulty.json["questions"]
        for fault in question["faults"]
        if fault["kind"] == "learning_rate_too_low"
    ]
    assert fault["trial"]["confirmed"]
    assert 0 not in fault["trial"]["seeds"]
    assert fault["prescription"]["changes"]["learning_rate"] > 1e-4


def test_the_fix_that_is_prescribed_helps(data: Path, faulty: Done) -> None:
    (fault,) = [f for q in faulty.json["questions"] for f in q["faults"] if f["verdict"] == "fault"]
    before, after = (
        gg.train(data, layers=(8,), epochs=15, batch_size=16, seed=77, **options).metrics["test"]["loss"]
        for options in ({"learning_rate": 1e-7}, fault["prescription"]["changes"])
    )
    assert after < 0.5 * before


def test_progress_goes_to_standard_error(healthy: Done) -> None:
    assert len(healthy.out.splitlines()) == 1
    shares = [int(line.split("%")[0]) for line in healthy.err.splitlines()]
    assert shares == sorted(shares)
    assert shares[0] == 0


def test_text_for_people(data: Path) -> None:
    done = call("diagnose", data, *QUICK, "--learning-rate", "1e-7")
    assert done.code == 3
    assert max(map(len, done.out.splitlines())) <= 80
    for word in ("Neurons", "Learning rate", "Initialization", "Loss", "Chain rule", "trial", "seeds"):
        assert word in done.out
    assert "Fault: learning rate too low" in done.out


def test_combinations_that_train_refuses_are_accepted(data: Path) -> None:
    arguments = (*QUICK, "--learning-rate", "0.02", "--loss", "absolute_error")
    refused(call("train", data, *arguments), "absolute_error")
    done = call("diagnose", data, *arguments, "--json")
    assert done.code == 3
    assert done.json["named"] == "loss_output_mismatch"
    assert "absolute_error" in done.json["examined"]["refused"]


def test_a_run_folder_brings_its_data_and_settings(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert call("train", data, *QUICK, "--learning-rate", "1e-7", "--out", folder).code == 0
    done = call("diagnose", folder, "--json")
    assert done.json["named"] == "learning_rate_too_low"
    assert done.json["examined"]["settings"]["layers"] == [8]
    fixed = call("diagnose", folder, "--learning-rate", "0.02", "--json")
    assert fixed.code == 0, fixed.out


def test_a_run_in_python_can_be_diagnosed(data: Path) -> None:
    run = gg.train(data, layers=(8,), epochs=15, batch_size=16, learning_rate=1e-7)
    found = run.diagnose(budget="20s")
    assert found.named.kind == "learning_rate_too_low"


def test_a_page_is_written(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    page = tmp_path / "page.html"
    done = call("diagnose", data, *QUICK, "--learning-rate", "1e-7", "--out", page, "--json")
    assert done.json["report"] == str(page)
    assert "<html" in page.read_text(encoding="utf-8")


def test_bad_input_exits_with_2(data: Path, tmp_path: Path) -> None:
    refused(call("diagnose", "digit"), "digits")
    refused(call("diagnose", data, "--budget", "soon"), "30s")
    refused(call("diagnose", data, "--out", tmp_path), "folder")
    refused(call("diagnose", data, "--activation", "rely"), "relu")
    refused(call("diagnose", tmp_path), str(tmp_path))


# --- the text alone ------------------------------------------------------------------------------------------


def made_up() -> Diagnosis:
    trial = Trial((1, 2, 3), "loss", (2.0, math.inf, 2.0), (0.1, 0.1, 0.1), True, 0.5, constant=2.3)
    long = "It is so because of this and that, and of much else that fills a line of eighty characters. " * 2
    fix = Intervention({"init": "he_normal"}, "Use He.")
    fault = replace(fault_of("zero_init", "dense_1", prescription=fix, trial=trial), sentence=long)
    follows = [fault_of("dead_neurons", f"dense_{i}", because="zero_init") for i in range(9)]
    doubt = fault_of("overfitting")
    by_question = {"initialization": (fault,), "neurons": tuple(follows), "loss": (doubt,)}
    answers = tuple(
        Answer(
            name, "fault" if name == "initialization" else "ok", long, by_question.get(name, ()), None, 0.1
        )
        for name in QUESTIONS
    )
    examined = {"rows": {"train": 1234}, "epochs": 1, "scaled_down": {"rows": (50000, 1234)}}
    return Diagnosis("blobs", answers, (fault, *follows, doubt), examined, 1.0, 30.0, ("a long look",))


@pytest.mark.parametrize("width", [80, 64])
@pytest.mark.parametrize("unicode", [True, False])
def test_lines_fit(width: int, unicode: bool) -> None:
    text = text_of(made_up(), Painter(color=False, unicode=unicode), width)
    assert max(len(line) for line in text.splitlines() if " " in line.strip()) <= width
    assert text.isascii() is not unicode
    plain = " ".join(text.split())
    for part in (
        "1,234 of 50,000 rows",
        "--init he_normal",
        "dead neurons (dense_0, dense_1, dense_2, dense_3 and 5 more)",
        "overfitting; no fix was tried",
        "Fault: zero init (dense_1)",
        "a long look",
    ):
        assert part in plain


def test_colors_can_be_turned_off() -> None:
    assert "\033" not in text_of(made_up(), Painter(color=False, unicode=True))
    assert "\033" in text_of(made_up(), Painter(color=True, unicode=True))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"learning_rate": 0.001, "layers": (64, 32)}, "--learning-rate 0.001 --layers 64,32"),
        ({"layers": ()}, "--layers none"),
        ({"optimizer": {"name": "sgd", "momentum": 0.9}}, "--optimizer 'sgd(momentum=0.9)'"),
        ({"epochs": np.int64(3)}, "--epochs 3"),
        ({"drop_inputs": ["age"]}, ""),
        ({"clip_norm": None}, ""),
    ],
)
def test_a_fix_as_options_of_the_command_line(options: dict[str, Any], text: str) -> None:
    assert command_options(options) == text
