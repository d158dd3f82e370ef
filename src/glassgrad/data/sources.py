"""What a user can name as data: the built-in digits, a table, an ``.npz`` archive, a folder of idx files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from glassgrad.common.errors import InputError, unknown_name
from glassgrad.common.frozen import frozen
from glassgrad.data.checks import Array, to_array
from glassgrad.data.dataset import Dataset, from_arrays, from_table
from glassgrad.data.digits import load_digits
from glassgrad.data.idx import load_idx_folder
from glassgrad.data.npz import load_npz, read_npz
from glassgrad.data.origin import Origin
from glassgrad.data.reading import unreadable
from glassgrad.data.table import Table
from glassgrad.data.table_files import is_table_file, read_table

BUILT_IN = {"digits": load_digits}
KINDS = (
    "'digits', a .csv, .tsv or .parquet table, an .npz file with arrays X and y, or a folder of MNIST-style idx "
    "files"
)


@frozen
class Rows:
    """The rows of a source that a trained model is used on, as they were given.

    ``features`` [rows, ...] is an array or a table; ``targets`` [rows] or [rows, n], or None where they were not
    asked for. A table holds all its columns: the model knows which one is the target. ``part`` is "test" where
    the source brings a test part (these rows are it), else "all".
    """

    features: Array | Table
    targets: Array | None
    part: str


def load_source(source: str | Path, *, target: str | None = None, task: str = "auto") -> Dataset:
    """The data set that ``source`` names.

    A text that is the name of a built-in source means that source; write ``./digits`` for a folder of that
    name. Everything else is a path. ``target`` names the column of a table that is predicted (the last one,
    unless given); ``task`` is "auto", "classification" or "regression", as in ``from_table`` and
    ``from_arrays``. Raises InputError where nothing can be read there, or the data is not usable.
    """
    found = _find(source)
    given = ({} if target is None else {"target": target}) | ({} if task == "auto" else {"task": task})
    origin = Origin.of(found, **given)  # before reading: a change meanwhile will show
    if isinstance(found, Path) and is_table_file(found):
        dataset = from_table(read_table(found), target, name=_stem(found), task=task)
    elif target is not None:
        raise InputError(
            f"{found}: brings its own targets; a target is named for tables only, so leave it out"
        )
    else:
        dataset = _with_task(_load(found), task, str(found))
    object.__setattr__(dataset, "origin", origin)
    return dataset


def _stem(path: Path) -> str:
    """The name of a table's file without its kind: "adult" of adult.csv.gz."""
    bare = path.with_suffix("")
    return bare.stem if is_table_file(bare) else bare.name


def _load(found: str | Path) -> Dataset:
    if isinstance(found, str):
        return BUILT_IN[found]()
    return load_idx_folder(found) if found.is_dir() else load_npz(found)


def _with_task(dataset: Dataset, task: str, place: str) -> Dataset:
    if task == "auto":
        return dataset
    again = from_arrays(
        dataset.features,
        dataset.targets,
        task=task,
        test_features=dataset.test_features,
        test_targets=dataset.test_targets,
        place=place,
    )
    return replace(again, name=dataset.name)


def load_rows(source: str | Path, *, targets: bool) -> Rows:
    """The rows of ``source`` to predict, or (with ``targets``) to evaluate: its test part, or else all rows.

    An ``.npz`` archive needs no y where no targets are asked for, a table no target, and one class is enough;
    whether the rows suit a model is for its schema to say. Raises InputError where nothing can be read there.
    """
    found = _find(source)
    if isinstance(found, Path) and is_table_file(found):
        return Rows(read_table(found), None, "all")
    if isinstance(found, Path) and not found.is_dir():
        names = ("X", "y") if targets else ("X",)
        arrays = {name: to_array(item, str(found), name) for name, item in read_npz(found, names).items()}
        X, y = arrays["X"], arrays.get("y")
        if y is not None and X.shape[:1] != y.shape[:1]:
            raise InputError(
                f"{found}: X has shape {list(X.shape)} but y has {list(y.shape)}; give equally many rows"
            )
        return Rows(X, y, "all")
    dataset = load_source(source)
    if dataset.test_features is not None:
        return Rows(dataset.test_features, dataset.test_targets if targets else None, "test")
    return Rows(dataset.features, dataset.targets if targets else None, "all")


def _find(source: str | Path) -> str | Path:
    """The name of a built-in source, or the path of a folder or of an ``.npz`` file."""
    if isinstance(source, str) and source in BUILT_IN:
        return source
    text = str(source)
    path = Path(source)
    try:
        exists, is_folder = path.exists(), path.is_dir()
    except OSError as error:
        raise unreadable(path, error) from None
    except ValueError:  # a NUL character
        exists = is_folder = False
    if not exists or not text.strip():
        if path.suffix or len(path.parts) > 1:
            raise InputError(f"{path}: no such file or folder; give {KINDS}")
        raise InputError(f"{unknown_name('source', text, BUILT_IN)}; give {KINDS}")
    if is_folder or path.suffix.lower() == ".npz" or is_table_file(path):
        return path
    if "idx" in path.name:
        raise InputError(f"{path}: is one file of a set; give the folder that holds it")
    raise InputError(f"{path}: is not a kind of file that can be read; give {KINDS}")
