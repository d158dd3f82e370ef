"""Files that are no model, or hardly one any more: each loads and can be used, or is refused in one line."""

from __future__ import annotations

import copy
import hashlib
import json
import warnings
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

import glassgrad as gg
from glassgrad.files.model_file import read_model
from training.small import blobs, train

# 20,000 examples of each, which take three minutes together, find no more.
quickly = settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])

PEOPLE: dict[str, list[Any]] = {
    "age": [20.0, 31.0, None, 44.0, 25.0, 90000.0] * 4,
    "city": ["Rome", "Oslo", "Bern", None] * 6,
    "member": [True, False, None] * 8,
    "joined": [datetime(2020, 1, 1) + timedelta(37 * day) for day in range(24)],
    "empty": [None] * 24,
}


def chain() -> gg.Model:
    network = gg.Sequential(
        gg.nn.Dense(4, "leaky_relu(0.2)"), gg.nn.BatchNorm(), gg.nn.Dropout(0.5), gg.nn.Dense(3)
    )
    return train(blobs(12), network=network, epochs=0, loss="categorical_cross_entropy(0.1)").model


def images() -> gg.Model:
    start = gg.Input()
    picture = gg.nn.AveragePool2D(2, 1)(gg.nn.MaxPool2D(2, 1)(gg.nn.Conv2D(2, 2, padding="same")(start)))
    rows = gg.nn.Dense(3, "elu(0.5)")(gg.nn.Reshape((2, -1))(gg.nn.Flatten()(picture)))
    last, mean = gg.nn.SimpleRNN(3, last=True)(rows), gg.nn.Dense(3)(gg.nn.GlobalAveragePool2D()(picture))
    both = gg.nn.Concatenate()(gg.nn.Add()(last, mean), gg.nn.LayerNorm()(gg.nn.Multiply()(last, mean)))
    network = gg.functional(start, gg.nn.Dense(2)(gg.nn.ActivationLayer("tanh")(both)))
    generator = np.random.default_rng(0)
    data = gg.from_arrays(generator.normal(size=(12, 4, 4, 2)), generator.normal(size=(12, 2)))
    return train(data, network=network, epochs=0, loss="huber(2.0)", dtype="float64").model


def tokens() -> gg.Model:
    network = gg.Sequential(gg.nn.Embedding(5, 2), gg.nn.Flatten(), gg.nn.Dense(1))
    data = gg.from_arrays(np.arange(12).reshape(6, 2) % 5, ["no", "yes"] * 3)
    return train(data, network=network, epochs=0, scaling="none").model


def table() -> gg.Model:
    data = gg.from_table(PEOPLE | {"earns": ["much", "little"] * 12}, target="earns")
    return train(data, epochs=0, layers=[3]).model


def numbered(model: gg.Model) -> dict[str, np.ndarray]:
    return model.weights | model.statistics


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("good")
    made = []
    for number, model in enumerate((chain(), images(), tokens(), table())):
        del model.training["settings"]  # a large part of the document, at which loading does not look
        path = folder / f"{number}.safetensors"
        path.write_bytes(model.to_bytes())
        assert use(gg.load_model(path, backend="reference"), path)
        made.append(path.read_bytes())
    return made


def use(model: gg.Model, path: Path) -> bool:
    """Whether the model predicts a row; if not, it refuses it in one line."""
    shape = model.schema.feature_shape
    if np.prod(shape, dtype=float) > 100_000:
        return False
    row: Any = np.zeros((1, *shape))
    if model.schema.table is not None:
        row = {name: values[:1] for name, values in PEOPLE.items()}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # weights and scales may be anything, so numbers overflow
        try:
            found = model.predict(row)
        except gg.InputError as error:
            assert len(str(error).splitlines()) == 1  # noqa: PT017
            return False
    assert isinstance(found, np.ndarray)
    assert len(found) == 1
    return True


def try_it(path: Path, content: bytes) -> gg.Model | None:
    """The model in a file of this content; None if it is refused as it should be."""
    path.write_bytes(content)
    try:
        model = gg.load_model(path, backend="reference")
    except gg.InputError as error:
        assert str(error).startswith(f"{path}: ")  # noqa: PT017
        assert len(str(error).splitlines()) == 1  # noqa: PT017
        model = None
    else:
        use(model, path)
    assert path.read_bytes() == content
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    return model


# --- bytes -------------------------------------------------------------------------------------------------


def framed(header: bytes) -> bytes:
    return len(header).to_bytes(8, "little") + header


ANYTHING = st.binary(min_size=1, max_size=300)


@quickly
@given(ANYTHING | ANYTHING.map(framed) | ANYTHING.map(lambda rest: framed(b"{" + rest)))
def test_random_bytes_are_not_a_model(tmp_path: Path, content: bytes) -> None:
    assert try_it(tmp_path / "model.safetensors", content) is None


Edit = Callable[[bytes, int], bytes]

EDITS: st.SearchStrategy[Edit] = st.one_of(
    st.integers(1, 255).map(lambda bits: lambda b, at: b[:at] + bytes([b[at] ^ bits]) + b[at + 1 :]),
    st.binary(min_size=1, max_size=20).map(lambda new: lambda b, at: b[:at] + new + b[at:]),
    st.binary(min_size=1, max_size=20).map(lambda new: lambda b, at: b[:at] + new + b[at + len(new) :]),
    st.integers(1, 40).map(lambda count: lambda b, at: b[:at] + b[at + count :]),
    st.just(lambda b, at: b[: at + 1]),
    st.integers(-20, 20).map(lambda by: lambda b, at: _length(b, int.from_bytes(b[:8], "little") + by)),
    st.integers(0, 2**64 - 1).map(lambda length: lambda b, at: _length(b, length)),
)


def _length(content: bytes, length: int) -> bytes:
    return (length % 2**64).to_bytes(8, "little") + content[8:]


@quickly
@given(st.data())
def test_damage_is_detected(tmp_path: Path, models: list[bytes], data: st.DataObject) -> None:
    content = good = one_of(models, data.draw)
    for edit in data.draw(st.lists(EDITS, min_size=1, max_size=3)):
        # Half of the places are in the header, which is a small part of a file.
        near, far = st.integers(0, 150), st.integers(0, len(content) - 1)
        content = edit(content, min(data.draw(near | far), len(content) - 1)) or b"\0"
    model = try_it(tmp_path / "model.safetensors", content)
    # The digest covers all that counts: what still loads is the same model.
    assert model is None or framed_alike(model.to_bytes(), good)


def framed_alike(one: bytes, other: bytes) -> bool:
    """Whether two files hold the same, in a header that may be written in another way."""
    return parts(one) == parts(other)


def parts(content: bytes) -> tuple[Any, bytes]:
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), content[end:]


# --- a sound file with another document --------------------------------------------------------------------

DEEP = "a value that is many lists deep"

WORDS = [
    *("dense_1", "input", "conv2d", "relu", "he_normal", "embedding", "hinge", "poisson", "kl", "float64"),
    *("classification", "regression", "standard", "none", "number", "category", "date", "boolean", "text"),
    *("same", "name", "type", "units", "inputs", "elu(1e999)", "elu({[]: 1})", "elu(", "elu(alpha=0.5)"),
    *("", "a\nb", "\u2028", "\ud800", "\0", "elu(" * 300, "elu(" + "-" * 20_000 + "1)", DEEP),
]
NUMBERS: st.SearchStrategy[Any] = st.one_of(
    st.integers(-3, 5),
    st.sampled_from([2**31, 2**53, 2**63, 2**64, -(2**63), 10**30, 10**400, 1e-320, 1e300, 0.5]),
    st.floats(),
)
PLAIN = st.none() | st.booleans() | NUMBERS | st.sampled_from(WORDS) | st.text(max_size=5)
VALUES: st.SearchStrategy[Any] = PLAIN | st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=3),
    max_leaves=5,
)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every entry of a JSON document: the list or the object that holds it, and its number or its key."""
    for key, entry in value.items() if isinstance(value, dict) else enumerate(value):
        yield value, key
        if isinstance(entry, (dict, list)):
            yield from places(entry)


Draw = Callable[[st.SearchStrategy[Any]], Any]


def one_of(items: list[Any], draw: Draw) -> Any:
    """One of ``items``; by its number, so that the report of a failure stays short."""
    return items[draw(st.integers(0, len(items) - 1))]


def spoil(document: dict[str, Any], draw: Draw) -> None:
    """Change one entry of ``document``."""
    # Metrics and provenance are not looked at either, so less is to be found there.
    parts = [document, *(document.get(name) for name in ("network", "preprocessing", "training") * 2)]
    part = one_of([part for part in parts if isinstance(part, dict) and part], draw)
    found = list(places(part))
    holder, key = one_of(found, draw)
    match draw(st.sampled_from(["replace", "replace", "replace", "remove", "rename", "repeat", "exchange"])):
        case "replace":
            holder[key] = draw(VALUES)
        case "remove":
            del holder[key]
        case "rename" if isinstance(holder, dict):
            holder[draw(st.sampled_from(WORDS) | st.text(max_size=5))] = holder.pop(key)
        case "repeat" if isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[key]))
        case _:
            other, place = one_of(found, draw)
            holder[key] = copy.deepcopy(other[place])


def spoil_tensors(tensors: dict[str, np.ndarray], draw: Draw) -> None:
    """Change one tensor in name, shape or kind."""
    name = draw(st.sampled_from(sorted(tensors)))
    match draw(st.sampled_from(["rename", "turn", "flatten", "convert", "fill", "empty"])):
        case "rename":
            tensors[draw(st.sampled_from(["other", "dense_1.weights", "input.weights", ""]))] = tensors.pop(
                name
            )
        case "turn":
            tensors[name] = np.ascontiguousarray(tensors[name].T)
        case "flatten":
            tensors[name] = tensors[name].reshape(-1)
        case "convert":
            kind = draw(st.sampled_from(["bool", "int8", "uint64", "float16", "float32", "float64"]))
            with np.errstate(all="ignore"):
                tensors[name] = tensors[name].astype(kind)
        case "fill" if tensors[name].dtype.kind == "f":
            tensors[name] = np.full_like(tensors[name], draw(st.sampled_from([0, 1, np.nan, np.inf])))
        case _:
            tensors[name] = np.zeros((0, *tensors[name].shape), np.float32)


def sealed(tensors: dict[str, np.ndarray], text: str) -> bytes:
    """The model file with the JSON ``text`` for its document, and a digest that fits."""
    digest = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(json.dumps([name, tensor.dtype.name, tensor.shape]).encode())
        digest.update(tensor.tobytes())
    start = text[:-1] + ("," if len(text) > 2 else "")
    return save(tensors, {"glassgrad": f'{start}"sha256":"{digest.hexdigest()}"}}'})


@quickly
@given(st.data())
def test_a_changed_document_is_refused_or_makes_a_model(
    tmp_path: Path, models: list[bytes], data: st.DataObject
) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(one_of(models, data.draw))
    tensors, document = read_model(path)
    for _ in range(data.draw(st.integers(1, 3))):
        if data.draw(st.integers(0, 5)) == 0:
            spoil_tensors(tensors, data.draw)
        else:
            spoil(document, data.draw)
    text = json.dumps(document, separators=(",", ":"))
    depth = data.draw(st.integers(1, 2000)) if DEEP in text else 0
    try_it(path, sealed(tensors, text.replace(f'"{DEEP}"', "[" * depth + "]" * depth)))
