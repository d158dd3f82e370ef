"""What all tests share.

This file also puts its folder on the import path, so that tests share helpers:
``from backends.runners import RUNNERS``.
"""

from __future__ import annotations

from pathlib import Path

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
