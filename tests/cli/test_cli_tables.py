"""Tables on the command line: train, predict, evaluate, sweep and summary."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path

import numpy as np
import pytest

from cli.running import QUICK, Done, call, left, refused, train
from glassgrad.data.table_files import read_table
from glassgrad.training.model import load_model

LINES = 120


def people(rows: int = LINES) -> list[dict[str, object]]:
    generator = np.random.default_rng(0)
    made = []
    for number in range(rows):
        age = int(generator.integers(18, 80))
        made.append(
            {
                "id": f"P{number:04}",
                "age": age,
                "city": ("Rome", "Oslo", "Bern")[int(generator.integers(3))],
                "remark": f"this is remark number {number} of them",
                "earns": "much" if age > 45 else "little",
            }
        )
    return made


def write(path: Path, rows: list[dict[str, object]], *without: str) -> Path:
    text = io.StringIO()
    names = [name for name in rows[0] if name not in without]
    writer = csv.DictWriter(text, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    content = text.getvalue().encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table, in a current folder with nothing else."""
    monkeypatch.chdir(tmp_path)
    return write(Path("people.csv"), people())


def predicted(done: Done) -> list[dict[str, str]]:
    assert done.code == 0, done
    return list(csv.DictReader(io.StringIO(done.out)))


# --- train --------------------------------------------------------------------------------------------------


def test_the_first_line_has_target_task_and_unused_columns(data: Path) -> None:
    done = train(data, "--out", "run")
    assert done.code == 0
    first, second, third = done.out.splitlines()[:3]
    assert first == (
        "target: 'earns', the last column (choose another with --target NAME); "
        "classification into 2 classes (little, much); columns left out: 'id' (identifier), 'remark' (text)"
    )
    assert second == "inputs: 4 from 2 columns: 1 number, 1 category"
    assert third.split() == ["part", "rows", "loss", "accuracy"]


def test_a_target_that_is_named_is_not_called_the_last_column(data: Path) -> None:
    done = train(data, "--target", "age", "--out", "run")
    assert done.out.splitlines()[0].startswith(
        "target: 'age'; regression; columns left out: 'id' (identifier)"
    )
    labels = train(data, "--target", "city", "--task", "classification", "--json")
    assert labels.json["target"] == "city"
    assert labels.json["target_is_guessed"] is False


def test_json_has_the_same_entries(data: Path) -> None:
    done = train(data, "--json")
    assert len(done.out.splitlines()) == 1
    found = done.json
    assert (found["target"], found["target_is_guessed"], found["task"]) == ("earns", True, "classification")
    assert [(entry["name"], entry["kind"], entry["inputs"]) for entry in found["columns"]] == [
        ("id", "identifier", 0),
        ("age", "number", 1),
        ("city", "category", 3),
        ("remark", "text", 0),
    ]
    assert found["inputs"] == [4]
    assert found["notices"] == []
    assert found["source"] == "people"
    assert Path(found["run"]).name.startswith("people-")
    arrays = train("digits", "--epochs", 0, "--json").json
    assert (arrays["target"], arrays["columns"], arrays["inputs"]) == (None, None, [8, 8])


def test_rows_without_a_target_are_left_out_with_a_notice(data: Path) -> None:
    rows = people()
    for number in (3, 50, 51):
        rows[number]["earns"] = ""
    write(data, rows)
    done = train(data, "--out", "run")
    assert "note: 3 rows without a target are left out" in done.out.splitlines()
    found = train(data, "--json").json
    assert found["notices"] == ["3 rows without a target are left out"]
    assert sum(found["rows"].values()) == LINES - 3


def test_all_file_formats_give_the_same_bits(data: Path) -> None:
    rows = people()
    write(Path("people.csv.gz"), rows)
    Path("people.tsv").write_text(data.read_text().replace(",", "\t"))
    losses = {
        train(name, "--json").json["metrics"]["test"]["loss"]
        for name in (data, "people.csv.gz", "people.tsv")
    }
    assert len(losses) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--target", "earn"], ["people.csv: has no column 'earn'", "did you mean 'earns'?"]),
        (
            ["--target", "remark"],
            ["people.csv: target 'remark' has 120 distinct texts", "choose another target"],
        ),
        (
            ["--task", "regression"],
            ["people.csv: target 'earns' has '", "in line 2", "a regression needs numbers"],
        ),
        (["--task", "guess"], ["unknown task 'guess'", "(known: auto, classification, regression)"]),
        (["--target", "age", "--loss", "hinge"], ["hinge"]),
    ],
)
def test_invalid_arguments_are_refused_in_one_line(
    data: Path, arguments: list[str], words: list[str]
) -> None:
    refused(train(data, *arguments), *words)
    assert left(Path()) == ["people.csv"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n", ["no rows"]),
        ("a,b\n1,x\n2,x\n3,x\n", ["target 'b' has only one class, 'x'"]),
        ("a,b\n1,\n2,\n3,\n", ["target 'b' has no value in any row"]),
        ("a,b\n" + "1,x\n1,y\n" * 9, ["no column is left to learn from", "'a' (constant)"]),
        ("b\n1\n0\n1\n", ["no column besides the target"]),
        ("a,b\n1,2\n3\n", ["line 3"]),
        ("a,a\n1,2\n3,4\n", ["both called 'a'"]),
        ("a,b\n1,2\ninf,4\n2,1\n", ["column 'a' has Inf in line 3"]),
    ],
)
def test_tables_without_usable_columns_are_refused(data: Path, text: str, words: list[str]) -> None:
    Path("bad.csv").write_text(text)
    refused(train("bad.csv"), "bad.csv: ", *words)
    assert left(Path()) == ["bad.csv", "people.csv"]


def test_a_target_is_for_tables_only(data: Path) -> None:
    refused(train("digits", "--target", "y"), "digits: has its own targets")
    refused(call("sweep", "digits", "--target", "y"), "digits: has its own targets")


# --- predict and evaluate -----------------------------------------------------------------------------------


def test_predict_writes_one_row_with_class_probabilities_per_row(data: Path) -> None:
    assert train(data, "--out", "run", "--epochs", 30, "--learning-rate", 0.05).code == 0
    new = write(Path("new.csv"), people(50), "earns", "id", "remark")
    rows = predicted(call("predict", "run", new))
    assert len(rows) == 50
    assert list(rows[0]) == ["label", "probability_little", "probability_much"]
    for row in rows:
        little, much = float(row["probability_little"]), float(row["probability_much"])
        assert little + much == pytest.approx(1)
        assert row["label"] == ("much" if much > little else "little")
    with_target = call("predict", "run", write(Path("whole.csv"), people(50)))
    assert with_target.out == call("predict", "run", new).out
    assert with_target.err == ""
    model = load_model("run")
    found = model.predict_probabilities(read_table(new))
    assert [[float(v) for v in list(row.values())[1:]] for row in rows] == found.tolist()


def test_a_regression_predicts_in_its_own_units(data: Path) -> None:
    assert train(data, "--target", "age", "--out", "run").code == 0
    rows = predicted(call("predict", "run", data))
    assert list(rows[0]) == ["prediction"]
    assert 10 < np.mean([float(row["prediction"]) for row in rows]) < 90


def test_unseen_cells_give_a_notice_or_with_strict_an_error(data: Path) -> None:
    assert train(data, "--out", "run").code == 0
    rows = people(10)
    for number in (4, 7):
        rows[number]["city"] = "Atlantis"
    rows[8]["city"] = ""
    new = write(Path("new.csv"), [row | {"more": 1} for row in rows])
    done = call("predict", "run", new)
    assert len(predicted(done)) == 10
    assert done.err.splitlines() == [
        "glassgrad: new.csv: columns ignored because the training table did not have them: 'more'",
        "glassgrad: new.csv: column 'city': 1 cell has no value (in line 10), but all training rows had one; "
        "replaced by the average of the training rows",
        "glassgrad: new.csv: column 'city': 2 cells have a category that is not in the training rows "
        "('Atlantis', the first in line 6); replaced by the average of the training rows",
    ]
    refused(call("predict", "run", new, "--strict"), "new.csv: column 'city' has no value in line 10")
    rows[8]["city"] = "Rome"
    write(new, rows)
    refused(call("predict", "run", new, "--strict"), "new.csv: column 'city' has 'Atlantis'", "in line 6")
    assert call("predict", "run", data, "--strict").code == 0


@pytest.mark.parametrize("strict", [(), ("--strict",)])
def test_an_invalid_cell_is_named_with_its_line(data: Path, strict: tuple[str, ...]) -> None:
    assert train(data, "--out", "run").code == 0
    rows = people()
    rows[70]["age"] = "forty"
    write(data, rows)
    line = refused(call("predict", "run", data, *strict), "people.csv: column 'age' has 'forty' in line 72")
    assert line.count("people.csv") == 1
    refused(call("evaluate", "run", data), "people.csv: column 'age' has 'forty' in line 72")
    refused(call("predict", "run", data, "--out", "out.csv"))
    assert not Path("out.csv").exists()


def test_missing_columns_are_named(data: Path) -> None:
    assert train(data, "--out", "run").code == 0
    rows = [{"Age": row["age"]} | row for row in people(5)]
    new = write(Path("new.csv"), rows, "age", "city")
    refused(
        call("predict", "run", new),
        "new.csv: has no column 'age', 'city', which",
        "did you rename it to 'Age'?",
    )
    refused(call("predict", "run", "digits"), "digits: ", "takes tables with the columns 'age', 'city'")
    assert train("digits", "--out", "other", "--epochs", 0).code == 0
    refused(call("predict", "other", data), "people.csv: is a table, but this model takes arrays")
    refused(call("evaluate", "other", data), "there are no targets; give y")


def test_evaluate_uses_the_target_of_the_model(data: Path) -> None:
    assert train(data, "--target", "age", "--out", "run").code == 0
    done = call("evaluate", "run", data, "--json")
    assert done.json["metrics"].keys() == {"loss", "rmse", "mae", "r2"}
    assert (done.json["rows"], done.json["part"], done.json["notices"]) == (LINES, "all", [])
    rows = people()
    rows[2]["age"] = ""
    write(data, rows)
    found = call("evaluate", "run", data, "--json")
    assert found.json["rows"] == LINES - 1
    assert found.json["notices"] == ["people.csv: 1 row without a target is left out"]
    assert "1 row without a target" in found.err
    new = write(Path("new.csv"), people(), "age")
    refused(call("evaluate", "run", new), "new.csv: has no column 'age', which is this model's target")


def test_an_unknown_class_is_named(data: Path) -> None:
    assert train(data, "--out", "run").code == 0
    rows = people()
    rows[9]["earns"] = "enough"
    write(data, rows)
    refused(
        call("evaluate", "run", data),
        "target 'earns' has 'enough' in line 11",
        "its classes are 'little', 'much'",
    )


# --- summary, sweep -----------------------------------------------------------------------------------------


def test_summary_shows_the_columns(data: Path) -> None:
    assert train(data, "--out", "run").code == 0
    lines = call("summary", "run").out.splitlines()
    assert "target:     earns" in lines
    assert any(line.split() == ["age", "number", "1", "its", "value"] for line in lines)
    assert any(line.startswith("id ") and "left out" in line for line in lines)
    found = call("summary", "run", "--json").json
    assert found["target"] == "earns"
    assert [entry["name"] for entry in found["columns"]] == ["id", "age", "city", "remark"]


def test_a_sweep_trains_on_a_table(data: Path) -> None:
    done = call("sweep", data, *QUICK, "--learning-rate", "0.01", "--seeds", 2, "--target", "city", "--json")
    assert done.code == 0
    assert (done.json["target"], done.json["task"], len(done.json["runs"])) == ("city", "classification", 2)
    text = call("sweep", data, *QUICK, "--learning-rate", "0.01", "--seeds", 1)
    assert text.out.startswith("target: 'earns', the last column")


def test_the_run_folder_records_its_data(data: Path) -> None:
    assert train(data, "--target", "city", "--task", "classification", "--out", "run").code == 0
    source = json.loads(Path("run/config.json").read_text())["source"]
    assert source["options"] == {"target": "city", "task": "classification"}
    assert source["source"] == str(data.absolute())
