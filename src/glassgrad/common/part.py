"""Values: what every part (a layer, a loss, an optimizer ...) has in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, ClassVar

from glassgrad.common.constraints import Constraint, check_fields
from glassgrad.common.registry import label_of


class Part:
    """Equal to a part of the same class with equal fields, as a dataclass is; and checked when it is made.

    A dataclass would write both methods anew for every class, which is near half of the time that it takes to make
    one. So parts are ``@dataclass(frozen=True, eq=False)``; ``frozen=True`` alone is right too. A part of your own
    that is no dataclass is equal to itself only.
    """

    constraints: ClassVar[Mapping[str, Constraint]] = {}
    """What the fields may be, by name."""

    def __post_init__(self) -> None:
        """Raises InputError for a field that its constraint does not allow."""
        check_fields(self, self.constraints, self.label())

    def label(self) -> str:
        """What messages call the part."""
        return label_of(self)

    def _compared(self) -> tuple[Any, ...]:
        return tuple(getattr(self, item.name) for item in fields(self) if item.compare)  # type: ignore[arg-type]

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self) or not is_dataclass(self):
            return NotImplemented
        return self._compared() == other._compared()

    def __hash__(self) -> int:
        return hash((type(self), self._compared())) if is_dataclass(self) else object.__hash__(self)
