"""The marker for an option that was not given.

None, 0, False and an empty text are values that a caller may give. Only ``UNSET`` says that nothing was given, so an
option that equals its default is still an option that was given.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final


class Unset(Enum):
    """The type of ``UNSET``. An enumeration of one member stays one object when it is copied or pickled."""

    UNSET = "unset"

    def __repr__(self) -> str:
        return "unset"

    __str__ = __repr__

    def __bool__(self) -> bool:
        """False. Compare with ``is UNSET`` all the same: None and 0 are false too."""
        return False


UNSET: Final = Unset.UNSET
"""Not given. Test for it with ``is``."""


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of ``options`` that were given."""
    return {name: value for name, value in options.items() if value is not UNSET}
