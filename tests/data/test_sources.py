"""Reading data: the digits, .npz archives and idx folders, whole, foreign and damaged."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from glassgrad.common.errors import InputError
from glassgrad.data import digits
from glassgrad.data.idx import read_idx
from glassgrad.data.sources import load_source

MNIST = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "mnist"
needs_mnist = pytest.mark.skipif(not MNIST.is_dir(), reason=f"the MNIST files are not in {MNIST}")

IMAGES = np.arange(6 * 2 * 3, dtype=np.uint8).reshape(6, 2, 3)
LABELS = np.array([0, 1, 2, 0, 1, 2], dtype=np.uint8)
CODES = {"uint8": 0x08, "int8": 0x09, "int16": 0x0B, "int32": 0x0C, "float32": 0x0D, "float64": 0x0E}


def refusal(source: str | Path) -> str:
    with pytest.raises(InputError) as caught:
        load_source(source)
    message = str(caught.value)
    assert "\n" not in message
    return message


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, CODES[array.dtype.name], array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def idx_folder(folder: Path, test: bool = False) -> Path:
    folder.mkdir()
    for part in ("train", "t10k") if test else ("train",):
        (folder / f"{part}-images-idx3-ubyte").write_bytes(idx(IMAGES))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx(LABELS))
    return folder


def test_digits_are_the_published_ones() -> None:
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn holds the copy to compare with")
    published = datasets.load_digits()
    dataset = load_source("digits")
    assert dataset.name == "digits"
    assert dataset.classification
    assert dataset.features.dtype == np.uint8
    assert dataset.features.shape == (1797, 8, 8)
    assert np.array_equal(dataset.features, published.images)
    assert np.array_equal(dataset.targets, published.target)
    assert "CC BY 4.0" in Path(digits.__file__).with_name("digits.LICENSE").read_text()


@needs_mnist
def test_mnist_has_its_own_test_part() -> None:
    dataset = load_source(MNIST)
    assert dataset.name == "mnist"
    assert dataset.features.shape == (60000, 28, 28)
    assert dataset.test_features is not None
    assert dataset.test_targets is not None
    assert dataset.test_features.shape == (10000, 28, 28)
    # The mean of 0.1307 is the one that MNIST recipes normalise with.
    assert dataset.targets[:5].tolist() == [5, 0, 4, 1, 9]
    assert dataset.test_targets[:5].tolist() == [7, 2, 1, 0, 4]
    assert round(float(dataset.features.mean()) / 255, 4) == 0.1307


@needs_mnist
@pytest.mark.parametrize("keep", [1, 1000, 4516])
def test_a_cut_mnist_file_is_refused(tmp_path: Path, keep: int) -> None:
    whole = (MNIST / "t10k-labels-idx1-ubyte.gz").read_bytes()
    (tmp_path / "labels.gz").write_bytes(whole[:keep])
    with pytest.raises(InputError) as caught:
        read_idx(tmp_path / "labels.gz")
    assert str(caught.value).startswith(f"{tmp_path / 'labels.gz'}: ")


@pytest.mark.parametrize("given", ["digts", "mnist", "", " ", "no\0name"])
def test_an_unknown_name_lists_the_possible_sources(given: str) -> None:
    message = refusal(given)
    assert message.startswith("unknown source ")
    assert "'digits', a .csv, .tsv or .parquet table, an .npz file" in message
    assert ("did you mean 'digits'" in message) == (given == "digts")


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    for name in ("nowhere.npz", "no folder"):
        assert refusal(tmp_path / name).startswith(f"{tmp_path / name}: no such file or folder; give ")
    assert refusal(tmp_path / ("x" * 300)).startswith(f"{tmp_path / ('x' * 300)}: ")


def test_a_built_in_name_gives_way_to_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    idx_folder(tmp_path / "digits")
    assert len(load_source("digits").targets) == 1797
    assert len(load_source("./digits/../digits").targets) == 6
    assert len(load_source(Path("digits")).targets) == 6


@pytest.mark.parametrize("name", ["data.xls", "model.safetensors", "train-images-idx3-ubyte"])
def test_other_files_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"1,2,3\n")
    message = refusal(tmp_path / name)
    assert message.startswith(f"{tmp_path / name}: ")
    assert "folder" in message


# ---- npz


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_archive_gives_its_arrays(tmp_path: Path, save: Callable[..., None]) -> None:
    save(tmp_path / "some.npz", X=IMAGES, y=LABELS, extra=np.ones(3))
    dataset = load_source(str(tmp_path / "some.npz"))
    assert dataset.name == "some"
    assert np.array_equal(dataset.features, IMAGES)
    assert np.array_equal(dataset.targets, LABELS)
    assert dataset.classification


def npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def foreign_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("X", "not an array")
        archive.writestr("y.npy", b"\x93NUMPY garbage")
    return buffer.getvalue()


BAD_NPZ = {
    "empty": (b"", "is empty"),
    "text": (b"X,y\n1,2\n", "is not an .npz archive"),
    "npy": (b"\x93NUMPY\x01\0", "is not an .npz archive"),
    "pickle": (pickle.dumps({"X": [1], "y": [2]}), "is not an .npz archive"),
    "no zip": (b"PK\x03\x04" + bytes(100), "is damaged"),
    "cut": (npz(X=IMAGES, y=LABELS)[:-40], "is damaged or cut short"),
    "foreign zip": (foreign_zip(), "entry X is not an array"),
    "no X": (npz(x=IMAGES, y=LABELS), "has no array X (it has: 'x', 'y')"),
    "no y": (npz(X=IMAGES, labels=LABELS), "has no array y (it has: 'X', 'labels')"),
    "neither": (npz(), "has no array X and no array y (it has: none)"),
    "objects": (
        npz(X=IMAGES, y=np.array([None] * 6)),
        "array y holds Python objects, which are never unpickled",
    ),
    "rows": (npz(X=IMAGES, y=LABELS[:4]), "X has 6 rows but y has 4"),
    "nan": (npz(X=np.array([[1.0], [np.nan]]), y=np.array([0, 1])), "X has NaN in row 1, column 0"),
}


@pytest.mark.parametrize("case", BAD_NPZ)
def test_a_bad_archive_is_refused(tmp_path: Path, case: str) -> None:
    content, said = BAD_NPZ[case]
    path = tmp_path / "bad.npz"
    path.write_bytes(content)
    message = refusal(path)
    assert message.startswith(f"{path}: ")
    assert said in message


@pytest.mark.parametrize("compressed", [False, True])
def test_no_flipped_byte_changes_the_data(tmp_path: Path, compressed: bool) -> None:
    buffer = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(buffer, X=IMAGES, y=LABELS)
    whole = buffer.getvalue()
    path = tmp_path / "flipped.npz"
    refused = 0
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                dataset = load_source(path)
        except InputError as error:
            assert str(error).startswith(f"{path}: ")  # noqa: PT017
            refused += 1
        else:
            assert np.array_equal(dataset.features, IMAGES)
            assert np.array_equal(dataset.targets, LABELS)
    assert refused > 100


# ---- idx


@pytest.mark.parametrize("dtype", CODES)
@pytest.mark.parametrize("packed", [False, True])
def test_every_idx_dtype_is_read(tmp_path: Path, dtype: str, packed: bool) -> None:
    array = np.arange(-3, 9).reshape(3, 4).astype(dtype)
    path = tmp_path / "some-idx"
    path.write_bytes(gzip.compress(idx(array)) if packed else idx(array))
    read = read_idx(path)
    assert read.dtype == np.dtype(dtype)
    assert read.dtype.isnative
    assert np.array_equal(read, array)


def test_an_idx_folder_with_and_without_test_part(tmp_path: Path) -> None:
    alone = load_source(idx_folder(tmp_path / "alone"))
    assert alone.name == "alone"
    assert alone.test_features is None
    both = load_source(idx_folder(tmp_path / "both", test=True))
    assert both.test_features is not None
    assert np.array_equal(both.features, IMAGES)
    assert np.array_equal(both.test_features, IMAGES)


def test_an_unpacked_file_has_priority_over_its_gzipped_copy(tmp_path: Path) -> None:
    folder = idx_folder(tmp_path / "data")
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(b"never read")
    assert np.array_equal(load_source(folder).targets, LABELS)


PACKED = gzip.compress(idx(LABELS))
BAD_IDX = {
    "empty": (b"", "is empty"),
    "text": (b"label\n1\n", "is not an idx file"),
    "magic": (b"\0\1" + idx(LABELS)[2:], "is not an idx file (it begins with 00 01 08 01)"),
    "dtype": (b"\0\0\x0a\1" + idx(LABELS)[4:], "is not an idx file"),
    "rank 0": (b"\0\0\x08\0", "is not an idx file"),
    "tiny": (b"\0\0", "is not an idx file"),
    "header": (idx(IMAGES)[:9], "is cut short inside its header"),
    "cut": (idx(LABELS)[:-1], "is cut short; its header declares shape [6], 6 bytes, but only 5 follow"),
    "long": (idx(LABELS) + b"\0", "is too long"),
    "promise": (b"\0\0\x08\x03" + b"\xff" * 12 + b"12345", "but only 5 follow"),
    "impossible": (b"\0\0\x08\x48" + b"\0" * (4 * 72), "impossible shape"),
    "bad gzip": (b"\x1f\x8b" + b"garbage, not a stream", "gzip data is damaged"),
    "cut gzip": (PACKED[:-3], "gzip data is damaged or cut short"),
    "checksum": (PACKED[:-8] + bytes([PACKED[-8] ^ 1]) + PACKED[-7:], "gzip data is damaged"),
    "gzip of text": (gzip.compress(b"1,2,3"), "is not an idx file"),
}


@pytest.mark.parametrize("case", BAD_IDX)
def test_a_bad_idx_file_is_refused(tmp_path: Path, case: str) -> None:
    content, said = BAD_IDX[case]
    folder = idx_folder(tmp_path / "data")
    path = folder / "train-labels-idx1-ubyte"
    path.write_bytes(content)
    message = refusal(folder)
    assert message.startswith(f"{path}: ")
    assert said in message


def test_mismatched_idx_files_are_refused(tmp_path: Path) -> None:
    folder = idx_folder(tmp_path / "counts")
    (folder / "train-labels-idx1-ubyte").write_bytes(idx(LABELS[:4]))
    message = refusal(folder)
    assert message.startswith(f"{folder / 'train-images-idx3-ubyte'}: has 6 rows but train-labels")

    folder = idx_folder(tmp_path / "partner", test=True)
    (folder / "t10k-labels-idx1-ubyte").unlink()
    assert refusal(folder).startswith(f"{folder}: has a t10k-images file but no t10k-labels file")

    folder = idx_folder(tmp_path / "doubled")
    (folder / "train-labels-other").write_bytes(idx(LABELS))
    assert "both match train-labels*" in refusal(folder)

    (tmp_path / "bare").mkdir()
    assert refusal(tmp_path / "bare").startswith(f"{tmp_path / 'bare'}: has no train-images")

    folder = idx_folder(tmp_path / "class")
    (folder / "train-labels-idx1-ubyte").write_bytes(idx(LABELS * 0))
    assert refusal(folder).startswith(f"{folder}: y has only one class")


def test_an_unreadable_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = idx_folder(tmp_path / "data")
    np.savez(tmp_path / "some.npz", X=IMAGES, y=LABELS)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert refusal(tmp_path / "some.npz").startswith(f"{tmp_path / 'some.npz'}: no permission")
    assert refusal(folder).startswith(f"{folder / 'train-images-idx3-ubyte'}: no permission")


def test_folders_instead_of_files_are_refused(tmp_path: Path) -> None:
    folder = idx_folder(tmp_path / "data")
    (folder / "train-labels-idx1-ubyte").unlink()
    (folder / "train-labels-idx1-ubyte").mkdir()
    assert "is a folder, but a file is needed" in refusal(folder)
