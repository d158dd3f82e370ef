"""Loading of data sources: the built-in digits, a table, an ``.npz`` archive, or a folder of idx files."""

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
    """The rows of a source for a trained model, unprocessed.

    ``features`` [rows, ...] is an array or a table. ``targets`` [rows] or [rows, n] is None if not requested. A table
    still has all its columns, including the target, which the model finds. ``part`` is "test" if the rows are the
    test part of the source, else "all".
    """

    features: Array | Table
    targets: Array | None
    part: str


def load_source(source: str | Path, *, target: str | None = None, task: str = "auto") -> Dataset:
    """The data set of ``source``, which is the name of a built-in source or a path.

    The name of a built-in source has priority; write ``./digits`` for a folder of that name. ``target`` is the column
    of a table to predict (default: the last one). ``task`` is "auto", "classification" or "regression", as in
    ``from_table`` and ``from_arrays``. Raises InputError if the source cannot be read, or the data is invalid.
    """
    located = _find(source)
    options = ({} if target is None else {"target": target}) | ({} if task == "auto" else {"task": task})
    origin = Origin.of(located, **options)  # taken before reading, so that a change meanwhile is noticed
    if isinstance(located, Path) and is_table_file(located):
        dataset = from_table(read_table(located), target, name=_stem(located), task=task)
    elif target is not None:
        raise InputError(
            f"{located}: has its own targets, and a target can be chosen for tables only; leave out the target"
        )
    else:
        dataset = _with_task(_load(located), task, str(located))
    object.__setattr__(dataset, "origin", origin)
    return dataset


def _stem(path: Path) -> str:
    """The name of a table's file without its suffixes: "adult" for adult.csv.gz."""
    bare = path.with_suffix("")
    return bare.stem if is_table_file(bare) else bare.name


def _load(source: str | Path) -> Dataset:
    if isinstance(source, str):
        return BUILT_IN[source]()
    return load_idx_folder(source) if source.is_dir() else load_npz(source)


def _with_task(dataset: Dataset, task: str, source_name: str) -> Dataset:
    if task == "auto":
        return dataset
    converted = from_arrays(
        dataset.features,
        dataset.targets,
        task=task,
        test_features=dataset.test_features,
        test_targets=dataset.test_targets,
        source_name=source_name,
    )
    return replace(converted, name=dataset.name)


def load_rows(source: str | Path, *, targets: bool) -> Rows:
    """The rows of ``source`` to predict or evaluate: its test part if it has one, else all rows.

    Without ``targets``, an ``.npz`` archive needs no y and a table no target column. A single class is enough. The
    schema of a model checks later if it can use the rows. Raises InputError if the source cannot be read.
    """
    located = _find(source)
    if isinstance(located, Path) and is_table_file(located):
        return Rows(read_table(located), None, "all")
    if isinstance(located, Path) and not located.is_dir():
        names = ("X", "y") if targets else ("X",)
        arrays = {
            name: to_array(array, str(located), name) for name, array in read_npz(located, names).items()
        }
        X, y = arrays["X"], arrays.get("y")
        if y is not None and X.shape[:1] != y.shape[:1]:
            raise InputError(
                f"{located}: X has shape {list(X.shape)} but y has {list(y.shape)}; give the same number of rows"
            )
        return Rows(X, y, "all")
    dataset = load_source(source)
    if dataset.test_features is not None:
        return Rows(dataset.test_features, dataset.test_targets if targets else None, "test")
    return Rows(dataset.features, dataset.targets if targets else None, "all")


def _find(source: str | Path) -> str | Path:
    """The name of a built-in source, or the path of a folder, a table or an ``.npz`` file.

    Raises InputError if there is no such source.
    """
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
        raise InputError(f"{path}: is one of several idx files; give the folder that holds them")
    raise InputError(f"{path}: has an unknown file format; give {KINDS}")
