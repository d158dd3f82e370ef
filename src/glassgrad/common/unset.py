"""``UNSET``: the default of an option that tells "not given" from every value.

None, 0, False and an empty text are values that a caller may pass. With ``UNSET`` as the default, an option that is
passed explicitly is recognized even if it equals the default that applies later.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final


class Unset(Enum):
    """The type of ``UNSET``. An enum member keeps its identity when it is copied or pickled."""

    UNSET = "unset"

    def __repr__(self) -> str:
        return "unset"

    __str__ = __repr__

    def __bool__(self) -> bool:
        """False. Still compare with ``is UNSET``, because None and 0 are false too."""
        return False


UNSET: Final = Unset.UNSET
"""The option was not given. Compare with ``is``."""


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of ``options`` that were given: those other than ``UNSET``."""
    return {name: value for name, value in options.items() if value is not UNSET}
