"""The schema: scaling, encoding and decoding, and the document that travels with the model."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from glassgrad.common.errors import InputError
from glassgrad.data import scaling as scaling_module
from glassgrad.data.schema import Schema

RANDOM = np.random.default_rng(0)
TABLE = RANDOM.normal([0, 100, -5], [1, 30, 0.01], (50, 3))
LABELS = np.arange(50) % 3
FLOATS = RANDOM.normal(7, 4, 50)


def test_a_table_is_scaled_per_column() -> None:
    schema = Schema.fit(TABLE, LABELS, True, "standard")
    assert np.allclose(schema.feature_mean, TABLE.mean(axis=0))
    assert np.allclose(schema.feature_scale, TABLE.std(axis=0))
    scaled = schema.transform_features(TABLE, "float64")
    assert np.allclose(scaled.mean(axis=0), 0)
    assert np.allclose(scaled.std(axis=0), 1)


def test_images_share_one_mean_and_scale() -> None:
    images = RANDOM.integers(0, 256, (20, 4, 5), dtype=np.uint8)
    images[:, 0, 0] = 0
    images[3, 0, 0] = 1  # a rare pixel: on its own it would be scaled to more than 4
    schema = Schema.fit(images, LABELS[:20], True)
    assert schema.feature_mean.shape == ()
    assert np.isclose(schema.feature_mean, images.mean())
    assert np.isclose(schema.feature_scale, images.std())
    scaled = schema.transform_features(images, np.float32)
    assert scaled.dtype == np.float32
    assert scaled.shape == images.shape
    assert scaled.flags.c_contiguous
    assert abs(scaled[3, 0, 0] - scaled[2, 0, 0]) < 0.1


@pytest.mark.parametrize("constant", [0.1, 1e300, -3.0, 0.0])
def test_constant_columns_become_zero(constant: float) -> None:
    table = np.column_stack([TABLE, np.full(50, constant)])
    schema = Schema.fit(table, FLOATS, False)
    assert schema.feature_scale[3] == 1
    assert (schema.transform_features(table, "float64")[:, 3] == 0).all()


def test_without_scaling_features_stay_unchanged() -> None:
    schema = Schema.fit(TABLE, LABELS, True, "none")
    assert np.array_equal(schema.transform_features(TABLE, "float64"), TABLE)
    assert np.array_equal(schema.transform_features(TABLE, "float32"), TABLE.astype(np.float32))


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Schema.fit(TABLE, FLOATS, False)
    monkeypatch.setattr(scaling_module, "CHUNK", 7)
    parts = Schema.fit(TABLE, FLOATS, False)
    assert np.allclose(parts.feature_scale, whole.feature_scale, rtol=1e-14)
    scaled = whole.transform_features(TABLE, "float32")
    monkeypatch.undo()
    assert np.array_equal(scaled, whole.transform_features(TABLE, "float32"))


def test_a_wide_column_is_scaled_without_overflow() -> None:
    table = np.array([[1e200], [-1e200], [1e200], [-1e200]])
    schema = Schema.fit(table, FLOATS[:4], False)
    assert schema.transform_features(table, "float64").ravel().tolist() == [1, -1, 1, -1]
    with pytest.raises(InputError, match=r"^X: column 0 .*cannot standardize") as refusal:
        Schema.fit(np.array([[1.7e308], [1.6e308]]), FLOATS[:2], False)
    assert "\n" not in str(refusal.value)


def test_columns_rows_and_strides() -> None:
    schema = Schema.fit(TABLE[:, :1], LABELS, True)
    assert schema.transform_features(TABLE[:, 0], "float32").shape == (50, 1)
    assert schema.transform_features(np.zeros((0, 1)), "float32").shape == (0, 1)
    flipped = Schema.fit(TABLE, LABELS, True).transform_features(TABLE[::-2], "float32")
    assert flipped.flags.c_contiguous


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (TABLE[:, :2], "X has shape [50, 2]; this model takes [rows, 3]"),
        (TABLE[0], "X has shape [3]; this model takes [rows, 3]"),
        (1.0, "X has shape []"),
        (TABLE.astype(str), "X holds text"),
        ([[1, 2, None]], "X holds Python objects"),
        ([[1, 2], [3]], "X is not a regular array"),
        ([[1, np.nan, 2]], "X has NaN in row 0, column 1"),
        ([[1, 2, 3], [1, 1e300, 2]], "X scaled for float32 has Inf in row 1, column 1"),
    ],
)
def test_invalid_features_are_refused(features: Any, message: str) -> None:
    schema = Schema.fit(TABLE, LABELS, True)
    with pytest.raises(InputError) as refusal:
        schema.transform_features(features, "float32", "new.npz")
    assert str(refusal.value).startswith(f"new.npz: {message}")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "labels",
    [
        np.array([3, -1, 3, 8]),
        np.array([True, False, True, True]),
        np.array(["cat", "dog", "ant", "cat"]),
        np.array([2**63 + 1, 1, 2**64 - 1, 1], dtype=np.uint64),
        np.array([-(2**63), 0, 1, 1]),
    ],
)
def test_classes_survive_encoding_and_decoding(labels: np.ndarray) -> None:
    schema = Schema.fit(TABLE[:4], labels, True)
    assert schema.classes == tuple(sorted(set(labels.tolist())))
    assert schema.outputs == len(schema.classes)
    coded = schema.encode_targets(labels, "float32")
    assert coded.dtype == np.int32
    assert schema.labels(coded).tolist() == labels.tolist()
    again = Schema.from_document(json.loads(json.dumps(schema.to_document())))
    assert again.classes == schema.classes
    assert [type(c) for c in again.classes or ()] == [type(c) for c in schema.classes]


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ([0, 1, 7, 9], "y has the unknown class 7 in row 2 (rows count from 0); this model knows 0, 1, 2"),
        (["0", "1"], "y has the unknown class '0' in row 0"),
        ([0.0, 0.5], "y has the unknown class 0.5 in row 1"),
        ([[0], [1]], "y has shape [2, 1]; this model takes [rows]"),
    ],
)
def test_unknown_classes_are_refused_with_their_row(targets: Any, message: str) -> None:
    with pytest.raises(InputError) as refusal:
        Schema.fit(TABLE, LABELS, True).encode_targets(targets, "float32", "new.npz")
    assert str(refusal.value).startswith(f"new.npz: {message}")
    assert "\n" not in str(refusal.value)


def test_a_long_list_of_classes_is_shortened() -> None:
    schema = Schema.fit(TABLE, np.arange(50), True)
    with pytest.raises(InputError, match=r"knows 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 40 more$"):
        schema.encode_targets([50], "float32")


@pytest.mark.parametrize("targets", [FLOATS, np.column_stack([FLOATS, 100 - FLOATS]), FLOATS[:, None]])
def test_regression_targets_survive_encoding_and_decoding(targets: np.ndarray) -> None:
    schema = Schema.fit(TABLE, targets, False)
    coded = schema.encode_targets(targets, "float64")
    assert coded.ndim == 2
    assert coded.shape[1] == schema.outputs
    assert np.allclose(coded.mean(axis=0), 0)
    assert np.allclose(coded.std(axis=0), 1)
    back = schema.decode_outputs(coded)
    assert back.shape == targets.shape
    assert np.allclose(back, targets)


def test_counts_are_not_scaled() -> None:
    counts = np.array([0.0, 3.0, 1.0, 7.0])
    schema = Schema.fit(TABLE[:4], counts, False, "standard", standardize_targets=False)
    assert schema.encode_targets(counts, "float32").ravel().tolist() == counts.tolist()
    assert schema.decode_outputs(counts[:, None]).tolist() == counts.tolist()


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (FLOATS[:, None], "y has shape [50, 1]; this model takes [rows]"),
        (["a"], "y holds text"),
        ([1.0, np.inf], "y has Inf in row 1"),
    ],
)
def test_invalid_regression_targets_are_refused(targets: Any, message: str) -> None:
    with pytest.raises(InputError) as refusal:
        Schema.fit(TABLE, FLOATS, False).encode_targets(targets, "float32")
    assert str(refusal.value).startswith(f"targets: {message}")


def test_each_task_has_its_own_decoder() -> None:
    with pytest.raises(InputError, match="labels"):
        Schema.fit(TABLE, LABELS, True).decode_outputs(np.zeros((1, 3)))
    with pytest.raises(InputError, match="decode_outputs"):
        Schema.fit(TABLE, FLOATS, False).labels([0])


def test_a_fit_on_invalid_rows_is_refused() -> None:
    with pytest.raises(InputError, match="unknown scaling 'standart'; did you mean 'standard'"):
        Schema.fit(TABLE, LABELS, True, "standart")
    with pytest.raises(InputError, match="0 rows"):
        Schema.fit(TABLE[:0], LABELS[:0], True)
    with pytest.raises(InputError, match="50 rows of X and 3 of y"):
        Schema.fit(TABLE, LABELS[:3], True)


@given(
    arrays.arrays(np.float64, (5, 2), elements=st.floats(-1e100, 1e100)),
    arrays.arrays(np.float64, st.sampled_from([(5,), (5, 3)]), elements=st.floats(-1e100, 1e100)),
    st.sampled_from(["standard", "none"]),
)
def test_the_document_keeps_every_bit(features: np.ndarray, targets: np.ndarray, scaling: str) -> None:
    try:
        schema = Schema.fit(features, targets, False, scaling)
    except InputError:
        return  # a spread too small for float64
    document = json.loads(json.dumps(schema.to_document(), allow_nan=False))
    again = Schema.from_document(document)
    assert again.to_document() == schema.to_document()
    for key in ("feature_mean", "feature_scale", "target_mean", "target_scale"):
        assert getattr(again, key).tobytes() == getattr(schema, key).tobytes()
        assert getattr(again, key).shape == getattr(schema, key).shape
    assert again.feature_shape == schema.feature_shape
    assert again.target_shape == schema.target_shape


@pytest.mark.parametrize(
    "change",
    [
        {"task": "clustering"},
        {"task": None},
        {"feature_shape": 3},
        {"feature_shape": [3.0]},
        {"feature_shape": [0]},
        {"feature_shape": [4]},
        {"classes": None},
        {"classes": []},
        {"classes": [0, 0, 1]},
        {"classes": [0, "a"]},
        {"classes": [0, True]},
        {"classes": [0.5, 1.5]},
        {"target_shape": [2]},
        {"scaling": "minmax"},
        {"scaling": "none"},
        {"feature_mean": [1.0]},
        {"feature_mean": [0.0, 0.0, None]},
        {"feature_mean": "text"},
        {"feature_scale": [1.0, 0.0, 1.0]},
        {"feature_scale": [1.0, -1.0, 1.0]},
        {"target_mean": [0.0]},
        {"extra": 1},
    ],
)
def test_a_damaged_document_is_refused(change: dict[str, Any]) -> None:
    document = Schema.fit(TABLE, LABELS, True).to_document()
    Schema.from_document(document)
    with pytest.raises(InputError, match="preprocessing") as refusal:
        Schema.from_document(document | change)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("key", Schema.fit(TABLE, FLOATS, False).to_document())
def test_a_document_without_an_entry_is_refused(key: str) -> None:
    document = Schema.fit(TABLE, FLOATS, False).to_document()
    del document[key]
    with pytest.raises(InputError, match=r"^preprocessing: "):
        Schema.from_document(document)
