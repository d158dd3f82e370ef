"""Every backend as a function on graphs, and how closely two backends have to agree."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from glassgrad.backends import reference, xla
from glassgrad.backends.base import Backend
from glassgrad.backends.native import backend as native
from glassgrad.graph.node import Graph

Run = Callable[[Graph, Iterable[Any]], list[np.ndarray]]

# A graph and its arrays to its outputs, by backend. A new backend is one line here and one below.
RUNNERS: dict[str, Run] = {"reference": reference.evaluate, "native": native.run_graph, "xla": xla.run_graph}
BACKENDS: dict[str, Backend] = {
    "reference": reference.ReferenceBackend(),
    "native": native.NativeBackend(),
    "xla": xla.XlaBackend(),
}

# An elementary function (exp, tanh, erf, a power ...) may be wrong by this many units in the last place on
# either side. XLA and the native backend use polynomials of their own; the worst measured is 2.
FUNCTION_ULPS = 8


def tolerance(dtype: Any, terms: int, magnitude: Any) -> Any:
    """How far two backends may be apart: eps * (FUNCTION_ULPS + 2 terms) * magnitude.

    A sum of n terms errs by at most (n - 1) eps * sum(|term|), whatever its order (N. Higham, "Accuracy
    and stability of numerical algorithms", 2002, section 4.2); two sums in two orders by twice that. The
    inputs of the cases are of order one, so that the largest result (at least 1) stands for sum(|term|).
    Where nothing is added up, each result has only its own size to go by. Below the smallest normal number
    a backend may flush to zero.
    """
    info = np.finfo(dtype)
    return float(info.eps) * (FUNCTION_ULPS + 2 * terms) * magnitude + float(info.tiny)


def assert_agree(
    found: Sequence[np.ndarray], wanted: Sequence[np.ndarray], terms: int = 1, *, elementwise: bool = False
) -> None:
    """Shapes and dtypes are equal; integers and bools to the bit, floats within the tolerance, NaN as NaN.

    ``elementwise``: every float is judged by its own size.
    """
    assert len(found) == len(wanted) > 0
    for got, want in zip(found, wanted, strict=True):
        assert (got.shape, got.dtype) == (want.shape, want.dtype)
        if not np.issubdtype(want.dtype, np.floating):
            np.testing.assert_array_equal(got, want)
            continue
        finite = np.isfinite(want)
        np.testing.assert_array_equal(got[~finite], want[~finite])
        sizes = np.abs(want[finite]).astype(np.float64)
        magnitude = sizes if elementwise else max(1.0, float(sizes.max(initial=0.0)))
        apart = np.abs(got[finite].astype(np.float64) - want[finite])
        allowed = tolerance(want.dtype, terms, magnitude)
        assert (apart <= allowed).all(), f"apart by {apart.max()}: got {got}, want {want}"
