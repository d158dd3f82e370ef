"""``glassgrad explain``: text, JSON, a page; refusals are one line; the sets of real data where they are at hand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from running import blobs, call, refused, train

import glassgrad as gg
from glassgrad.cli.networks import read_network

SHARED = Path(__file__).parents[3] / "shared" / "data"
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data.npz and a run on it."""
    folder = tmp_path_factory.mktemp("explain")
    blobs(folder / "data.npz")
    assert train(folder / "data.npz", "--out", folder / "run").code == 0
    return folder


def explain(folder: Path, *arguments: object) -> Any:
    return call("explain", folder / "run", folder / "data.npz", *arguments)


def test_the_text_has_every_part_and_fits_the_terminal(folder: Path) -> None:
    done = explain(folder, "--input", "x[1]", "--row", "4", "--paths", "2")
    assert done.code == 0, done
    for part in ("dL/d x[1]", "Chain rule", "The strongest 2", "sum of all 3 paths", "Checks", "Neurons"):
        assert part in done.out
    long = [line for line in done.out.splitlines() if len(line) > 90]
    assert [line for line in long if str(folder) not in line] == []
    assert "Step" not in done.out
    assert "Step: the effect of one step of Adam" in explain(folder, "--weight", "dense_2.weight[0,1]").out


def test_the_numbers_in_the_text_multiply_to_the_product(folder: Path) -> None:
    out = explain(folder, "--input", "x[1]", "--row", "4", "--paths", "1").out
    factors = [float(found) for found in re.findall(r"^ {6}[ ×] +(-?[\d.e-]+) ", out, re.MULTILINE)]
    (product,) = re.findall(r"^ {6}= +(-?[\d.e-]+)$", out, re.MULTILINE)
    result = 1.0
    for factor in factors:
        result *= factor
    assert len(factors) >= 4
    assert result == pytest.approx(float(product), rel=1e-4)


def test_json_has_the_same_numbers_and_the_checks_agree(folder: Path) -> None:
    found = explain(folder, "--weight", "dense_1.weights[0,1]", "--row", "1", "--json").json
    assert found["of"]["name"] == "dense_1.weights[0,1]"
    checks, paths = found["checks"], found["paths"]
    assert checks["forward_sweep_error"] <= 1e-10
    assert checks["central_difference_error"] <= 1e-6
    total = sum(path["product"] for path in paths["shown"]) + paths["remainder"]
    assert total == pytest.approx(found["derivative"], rel=1e-12, abs=1e-15)
    assert found["step"]["terms"][-1]["value"] == found["step"]["new"]


def test_zero_paths_skips_the_path_search(folder: Path) -> None:
    assert "No paths were searched" in explain(folder, "--input", "x[0]", "--paths", "0").out


def test_a_page_is_written(folder: Path) -> None:
    pytest.importorskip("matplotlib")
    done = explain(folder, "--weight", "dense_2.weights[1,1]", "--row", "2", "--out", folder / "page.html")
    assert done.code == 0
    assert done.out.endswith(f"page: {folder / 'page.html'}\n")
    text = (folder / "page.html").read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    for part in ("dL/d dense_2.weights[1,1]", "Is the derivative right?", "What would one step of Adam do"):
        assert part in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), ["--weight", "--input"]),
        (("--input", "x[0]", "--weight", "dense_1.bias[0]"), ["either --weight"]),
        (("--input", "x[9]"), ["x[9]", "x[0] to x[3]"]),
        (("--weight", "dense_7.weights[0,0]"), ["unknown weight"]),
        (("--weight", "dense_1.weights[0,99]"), ["go from"]),
        (("--weight", "dense_1"), ["does not name a weight"]),
        (("--input", "x[0]", "--row", "60"), ["rows 0 to 59"]),
        (("--input", "x[0]", "--paths", "-1"), ["paths"]),
        (("--input", "x[0]", "--out", "/"), ["folder"]),
    ],
)
def test_invalid_arguments_are_refused_in_one_line(
    folder: Path, arguments: tuple[str, ...], words: list[str]
) -> None:
    refused(explain(folder, *arguments), *words)


def test_a_missing_model_is_refused(folder: Path) -> None:
    refused(call("explain", folder / "none", folder / "data.npz", "--input", "x[0]"), "none")


CONVOLUTION = ROOT / "examples" / "convolution.toml"
REAL: dict[str, tuple[str, list[object], list[str]]] = {
    "digits": (
        "digits",
        [],
        ["--input=x[3,3]", "--weight=dense_1.weights[20,3]", "--weight=dense_2.weights[1,2]"],
    ),
    "adult": (
        "adult_income.csv.gz",
        ["--target", "income >50K"],
        ["--input=age", "--input=sex=Female", "--weight=dense_2.weights[3,7]"],
    ),
    "california": (
        "california_housing.csv.gz",
        ["--target", "median_house_value"],
        ["--input=median_income", "--weight=dense_1.weights[0,5]"],
    ),
    "convolution": (
        "mnist",
        [],
        [
            "--input=x[10,12]",
            "--weight=conv2d_1.weights[2,2,0,3]",
            "--weight=conv2d_2.bias[7]",
            "--weight=batch_norm_1.scale[2]",
        ],
    ),
}


@pytest.mark.parametrize("case", REAL)
def test_the_checks_agree_on_real_data(case: str, tmp_path: Path) -> None:
    name, options, questions = REAL[case]
    source: Path | str = name
    if case != "digits":
        source = SHARED / name
        if not source.exists():
            pytest.skip("../shared/data is absent")
        if source.is_file():
            pytest.importorskip("pyarrow")
    if case == "convolution":  # some rows are enough
        some = gg.load_source(source)
        rows = gg.from_arrays(some.features[:400], some.targets[:400])
        gg.train(rows, network=read_network(CONVOLUTION), epochs=2).save(tmp_path / "run")
    else:
        done = call("train", source, "--epochs", "1", "--out", tmp_path / "run", *options)
        assert done.code == 0, done.err
    for question in questions:
        found = call("explain", tmp_path / "run", source, question, "--row", "3", "--json").json
        checks = found["checks"]
        assert checks["forward_sweep_error"] <= 1e-10, question
        assert checks["central_difference_error"] <= 1e-6 or checks["kink"], (question, checks)
        assert checks["sum_of_all_paths_error"] <= 1e-10, question
