"""What a user can name as data: the built-in digits, an ``.npz`` archive, a folder of idx files."""

from __future__ import annotations

from pathlib import Path

from glassgrad.common.errors import InputError, unknown_name
from glassgrad.data.dataset import Dataset
from glassgrad.data.digits import load_digits
from glassgrad.data.idx import load_idx_folder
from glassgrad.data.npz import load_npz
from glassgrad.data.reading import unreadable

BUILT_IN = {"digits": load_digits}
KINDS = "'digits', an .npz file with arrays X and y, or a folder of MNIST-style idx files"


def load_source(source: str | Path) -> Dataset:
    """The data set that ``source`` names.

    A text that is the name of a built-in source means that source; write ``./digits`` for a folder of that
    name. Everything else is a path. Raises InputError where nothing can be read there, or the data is not
    usable.
    """
    if isinstance(source, str) and source in BUILT_IN:
        return BUILT_IN[source]()
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
    if is_folder:
        return load_idx_folder(path)
    if path.suffix.lower() == ".npz":
        return load_npz(path)
    if "idx" in path.name:
        raise InputError(f"{path}: is one file of a set; give the folder that holds it")
    raise InputError(f"{path}: is not a kind of file that can be read; give {KINDS}")
