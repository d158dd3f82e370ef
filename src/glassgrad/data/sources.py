"""What a user can name as data: the built-in digits, an ``.npz`` archive, a folder of idx files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from glassgrad.common.errors import InputError, unknown_name
from glassgrad.data.checks import Array, to_array
from glassgrad.data.dataset import Dataset
from glassgrad.data.digits import load_digits
from glassgrad.data.idx import load_idx_folder
from glassgrad.data.npz import load_npz, read_npz
from glassgrad.data.reading import unreadable

BUILT_IN = {"digits": load_digits}
KINDS = "'digits', an .npz file with arrays X and y, or a folder of MNIST-style idx files"


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of a source that a trained model is used on, as they were given.

    ``features`` [rows, ...]; ``targets`` [rows] or [rows, n], or None where they were not asked for. ``part``
    is "test" where the source brings a test part (these rows are it), else "all".
    """

    features: Array
    targets: Array | None
    part: str


def load_source(source: str | Path) -> Dataset:
    """The data set that ``source`` names.

    A text that is the name of a built-in source means that source; write ``./digits`` for a folder of that
    name. Everything else is a path. Raises InputError where nothing can be read there, or the data is not
    usable.
    """
    found = _find(source)
    if isinstance(found, str):
        return BUILT_IN[found]()
    return load_idx_folder(found) if found.is_dir() else load_npz(found)


def load_rows(source: str | Path, *, targets: bool) -> Rows:
    """The rows of ``source`` to predict, or (with ``targets``) to evaluate: its test part, or else all rows.

    An ``.npz`` archive needs no y where no targets are asked for, and one class is enough; whether the rows
    suit a model is for its schema to say. Raises InputError where nothing can be read there.
    """
    found = _find(source)
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
    if is_folder or path.suffix.lower() == ".npz":
        return path
    if "idx" in path.name:
        raise InputError(f"{path}: is one file of a set; give the folder that holds it")
    raise InputError(f"{path}: is not a kind of file that can be read; give {KINDS}")
