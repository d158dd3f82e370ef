"""Values: what every part (a layer, a loss, an optimizer ...) has in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import FrozenInstanceError, fields, is_dataclass
from typing import Any, ClassVar

from glassgrad.common.constraints import Constraint, check_fields
from glassgrad.common.registry import label_of


class Part:
    """Equal to a part of the same class with equal fields, as a dataclass is; and checked when it is made.

    A dataclass would write both methods anew for every class, which is near half of the time that it takes to make
    one. So parts are ``@dataclass(frozen=True, eq=False)``; ``frozen=True`` alone is right too. A part of your own
    that is no dataclass is equal to itself only.

    A class without options need not be decorated to be frozen: it is as frozen as the class that its ``__init__``
    comes from. One with an ``__init__`` of its own sets what it likes.
    """

    constraints: ClassVar[Mapping[str, Constraint]] = {}
    """What the fields may be, by name."""

    def __post_init__(self) -> None:
        """Raises InputError for a field that its constraint does not allow."""
        check_fields(self, self.constraints, self.label())

    def label(self) -> str:
        """What messages call the part."""
        return label_of(self)

    def __setattr__(self, name: str, value: Any) -> None:
        if _is_frozen(type(self)):
            raise FrozenInstanceError(f"cannot assign to field {name!r}")
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        if _is_frozen(type(self)):
            raise FrozenInstanceError(f"cannot delete field {name!r}")
        object.__delattr__(self, name)

    def _compared(self) -> tuple[Any, ...]:
        return tuple(getattr(self, item.name) for item in fields(self) if item.compare)  # type: ignore[arg-type]

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self) or not is_dataclass(self):
            return NotImplemented
        return self._compared() == other._compared()

    def __hash__(self) -> int:
        return hash((type(self), self._compared())) if is_dataclass(self) else object.__hash__(self)


def _is_frozen(cls: type) -> bool:
    """Whether the class in which ``cls`` finds its ``__init__`` is a frozen dataclass."""
    maker = next(base for base in cls.__mro__ if "__init__" in vars(base))
    params = vars(maker).get("__dataclass_params__")
    return params is not None and params.frozen is True
