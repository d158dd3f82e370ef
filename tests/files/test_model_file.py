"""The model file: what goes in comes out, and nothing else comes in."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save, save_file

from glassgrad.common.errors import InputError
from glassgrad.files.model_file import model_bytes, read_model, write_model

TENSORS = {
    "layer2.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "layer1.weight": np.linspace(0, 1, 5),
    "steps": np.array(7, dtype=np.int32),
    "alive": np.array([True, False]),
    "nothing": np.zeros((0, 3), dtype=np.uint32),
}
DOCUMENT: dict[str, Any] = {
    "format": "glassgrad.model",
    "version": 1,
    "network": {"layers": [{"name": "dense", "units": 3}]},
    "preprocessing": {"feature_mean": [0.1, 1e-300, 1 / 3], "classes": ["a", "ü", "\n"]},
    "training": {"seed": 2**63, "early_stop": None},
    "metrics": {"loss": 0.123456789012345678},
    "provenance": {"when": "2025-01-01T00:00:00Z"},
}


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_model(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def header(content: bytes) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return result


def with_text(text: str) -> bytes:
    return save(TENSORS, {"glassgrad": text})


def test_a_model_survives_a_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write_model(path, TENSORS, DOCUMENT)
    tensors, document = read_model(path)
    assert document == DOCUMENT
    assert list(document["network"]) == list(DOCUMENT["network"])
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype
        assert tensors[name].shape == tensor.shape
        assert tensors[name].tobytes() == tensor.tobytes()
        assert tensors[name].flags.writeable
    assert os.listdir(tmp_path) == ["model.safetensors"]


def test_it_is_one_safetensors_file_with_one_document(tmp_path: Path) -> None:
    content = model_bytes(TENSORS, DOCUMENT)
    metadata = header(content)["__metadata__"]
    assert list(metadata) == ["glassgrad"]
    document = json.loads(metadata["glassgrad"])
    assert len(document.pop("sha256")) == 64
    assert document == DOCUMENT


def test_the_same_input_gives_the_same_bytes() -> None:
    backwards = dict(reversed(TENSORS.items()))
    assert model_bytes(TENSORS, DOCUMENT) == model_bytes(backwards, json.loads(json.dumps(DOCUMENT)))


def test_layout_and_byte_order_in_memory_do_not_matter(tmp_path: Path) -> None:
    square = np.arange(12, dtype=np.float32).reshape(3, 4)
    plain = model_bytes({"w": square}, DOCUMENT)
    assert model_bytes({"w": np.asfortranarray(square)}, DOCUMENT) == plain
    assert model_bytes({"w": np.repeat(square, 2, axis=1)[:, ::2]}, DOCUMENT) == plain
    assert model_bytes({"w": square.astype(">f4")}, DOCUMENT) == plain


def test_tuples_become_lists(tmp_path: Path) -> None:
    write_model(tmp_path / "m.safetensors", {}, DOCUMENT | {"training": {"betas": (0.9, 0.999)}})
    assert read_model(tmp_path / "m.safetensors")[1]["training"] == {"betas": [0.9, 0.999]}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": "other"}, "is 'other' version 1"),
        ({"version": 2}, "'glassgrad.model' version 2"),
        ({"version": True}, "'version' of the model's document is not of type int"),
        ({"network": []}, "'network' of the model's document is not of type dict"),
        ({"extra": 1}, "unknown entry 'extra'"),
        ({"metrics": {"loss": float("nan")}}, "document.metrics.loss is nan"),
        ({"metrics": {"loss": [1.0, float("inf")]}}, "document.metrics.loss[1] is inf"),
        ({"metrics": {"loss": json.loads("[" * 100 + "]" * 100)}}, "is more than 100 levels deep"),
        ({"metrics": {1: 2.0}}, "document.metrics has the key 1"),
        ({"metrics": {"loss": np.float32(1)}}, "document.metrics.loss is of type float32"),
        ({"training": {"path": Path("x")}}, "document.training.path is of type PosixPath"),
    ],
)
def test_an_invalid_document_is_not_written(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    path = tmp_path / "model.safetensors"
    with pytest.raises(InputError) as caught:
        write_model(path, TENSORS, DOCUMENT | change)
    assert str(caught.value).startswith(f"{path}: ")
    assert said.replace("PosixPath", type(Path()).__name__) in str(caught.value)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("key", DOCUMENT)
def test_a_document_that_lacks_an_entry_is_refused_both_ways(tmp_path: Path, key: str) -> None:
    document = {k: v for k, v in DOCUMENT.items() if k != key}
    path = tmp_path / "model.safetensors"
    with pytest.raises(InputError, match=f"has no {key!r}"):
        write_model(path, TENSORS, document)
    path.write_bytes(with_text(json.dumps(document)))
    refusal(path)


def test_a_tensor_of_another_kind_is_not_written(tmp_path: Path) -> None:
    for tensor in (np.array(["text"]), np.array([None]), np.zeros(2, dtype=complex)):
        with pytest.raises(InputError, match="tensor 'w' has dtype"):
            write_model(tmp_path / "model.safetensors", {"w": tensor}, DOCUMENT)


def test_a_newer_version_asks_for_an_upgrade(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(with_text(json.dumps({"format": "glassgrad.model", "version": 2, "new": 1})))
    assert "made by a newer Glassgrad (file version 2, this one reads up to 1); upgrade" in refusal(path)


def npz() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, X=np.zeros(3))
    return buffer.getvalue()


FOREIGN = {
    "empty": (b"", "is empty"),
    "short": (b"abc", "is not a Glassgrad model file"),
    "text": (b"name,value\n" * 20, "is not a Glassgrad model file"),
    "npz": (npz(), "is not a Glassgrad model file"),
    "pickle": (b"\x80\x04\x95" + bytes(50), "is not a Glassgrad model file"),
    "no JSON": ((20).to_bytes(8, "little") + b"{" + b"?" * 30, "is not a Glassgrad model file"),
    "no metadata": (save(TENSORS), "is a safetensors file of another program"),
    "other metadata": (save(TENSORS, {"format": "pt"}), "is a safetensors file of another program"),
    "no document": (with_text("[1]"), "is damaged"),
    "broken document": (with_text("{"), "is damaged"),
    "deep document": (with_text("[" * 100_000), "is damaged"),
    "levels enough to exhaust the stack": (with_text("[" * 950 + "]" * 950), "is damaged"),
    "no digest": (with_text(json.dumps(DOCUMENT)), "is damaged"),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_a_file_of_another_format_is_refused(tmp_path: Path, case: str) -> None:
    content, said = FOREIGN[case]
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    assert said in refusal(path)


def test_a_missing_file_or_a_folder_is_refused(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "model.safetensors")
    (tmp_path / "folder").mkdir()
    assert "is a folder, but a file is needed" in refusal(tmp_path / "folder")


def test_a_tensor_of_unknown_dtype_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    content = model_bytes({"w": np.zeros(4, dtype=np.float16)}, DOCUMENT)
    path.write_bytes(content.replace(b'"dtype":"F16"', b'"dtype":"BF16"'.ljust(13))[: len(content)])
    refusal(path)


def test_every_truncation_is_detected(tmp_path: Path) -> None:
    whole = model_bytes(TENSORS, DOCUMENT)
    path = tmp_path / "model.safetensors"
    for length in range(1, len(whole)):
        path.write_bytes(whole[:length])
        assert length < 9 or "is cut short" in refusal(path)
    path.write_bytes(whole + b"\0")
    assert "is damaged" in refusal(path)


def test_no_flipped_byte_changes_the_model(tmp_path: Path) -> None:
    tensors = {"w": np.arange(6, dtype=np.float32)}
    whole = model_bytes(tensors, DOCUMENT)
    path = tmp_path / "model.safetensors"
    for at in range(len(whole)):
        for bits in (0x01, 0x20):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ bits]) + whole[at + 1 :])
            try:
                read, document = read_model(path)
            except InputError as error:
                assert str(error).startswith(f"{path}: ")  # noqa: PT017
                assert "\n" not in str(error)  # noqa: PT017
            else:
                assert document == DOCUMENT
                assert read["w"].tobytes() == tensors["w"].tobytes()


def test_another_program_can_read_the_tensors(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors")
    write_model(tmp_path / "m.safetensors", TENSORS, DOCUMENT)
    with safetensors.safe_open(tmp_path / "m.safetensors", framework="numpy") as file:
        assert set(file.keys()) == set(TENSORS)
        assert np.array_equal(file.get_tensor("layer2.weight"), TENSORS["layer2.weight"])
    save_file(TENSORS, tmp_path / "other.safetensors")
    assert "another program" in refusal(tmp_path / "other.safetensors")
