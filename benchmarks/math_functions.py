"""The native elementwise functions next to NumPy's: largest error in ulp, and nanoseconds per element.

One core, 4,096 elements (which stay in the cache), medians of interleaved rounds; ratio = NumPy / native.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from glassgrad.backends.native.machine import host
from glassgrad.backends.native.math import FUNCTIONS
from glassgrad.ops.table import OPS

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # the errors are measured as the tests do
from backends.math_errors import DTYPES, compiled, library_call, samples, truth, ulps

SIZE = 4096


def nanoseconds(call: Callable[[], Any], repeats: int) -> float:
    """Per element, of one round of ``repeats`` calls."""
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / (repeats * SIZE) * 1e9


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--element", choices=DTYPES, default="float")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
