"""The order in which an epoch visits the training rows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from glassgrad.common.errors import InputError
from glassgrad.data.streams import SHUFFLE, generator


def epoch_order(rows: int, *, seed: int, epoch: int, shuffle: bool = True) -> npt.NDArray[np.int32]:
    """A permutation of ``0 .. rows - 1``, int32 ``[rows]``: the same for the same ``(rows, seed, epoch)``.

    It depends on no earlier epoch, so a resumed run visits the rows as an unbroken one does. With ``shuffle``
    false, the rows come in their own order. Raises InputError for fewer than 0 or more than 2**31 - 1 rows.
    """
    if not 0 <= rows < 2**31:
        raise InputError(f"an epoch of {rows} rows cannot be ordered; give from 0 to 2**31 - 1 rows")
    order = np.arange(rows, dtype=np.int32)
    return generator(seed, SHUFFLE, epoch).permutation(order) if shuffle else order
