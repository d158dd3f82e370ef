"""What all tests share.

This file also puts its folder on the import path, so that tests share helpers:
``from backends.runners import RUNNERS``.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

# Before NumPy is loaded: the products of tests are small, and several workers with several threads each would
# spend their time waiting for one another.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# Compiled code goes where pytest keeps its own cache, and not among the user's.
os.environ.setdefault("GLASSGRAD_CACHE", str(Path(__file__).parents[1] / ".pytest_cache" / "glassgrad-code"))

# A shell starts jobs in the background with SIGINT ignored; tests of interrupts need Python's own handler.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest
from hypothesis import settings

# A deadline would time the machine, not the code.
settings.register_profile("glassgrad", deadline=None)
settings.load_profile("glassgrad")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of larger data sets beside the repository; tests that need it are skipped without it."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the folder ../shared/data, beside the repository, is not here: no larger data sets")
    return folder
