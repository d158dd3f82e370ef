"""The base class of all parts: layers, losses, optimizers, schedules, initializers and so on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import FrozenInstanceError, fields, is_dataclass
from typing import Any, ClassVar

from glassgrad.common.constraints import Constraint, check_fields
from glassgrad.common.registry import label_of


class Part:
    """A frozen value with named fields, which are checked on construction. Parts compare by class and fields.

    Subclasses are ``@dataclass(frozen=True, eq=False)``; ``frozen=True`` alone also works. This class defines
    equality and hash once, because generating them for every dataclass takes about half of the time to define it. A
    subclass that is not a dataclass compares by identity.

    A subclass without fields needs no decorator: it is frozen if the class that it inherits ``__init__`` from is
    frozen. A subclass that defines ``__init__`` itself is not frozen.
    """

    constraints: ClassVar[Mapping[str, Constraint]] = {}
    """Constraints on the fields, by field name."""

    def __post_init__(self) -> None:
        """Raise InputError for a field whose value its constraint does not allow."""
        check_fields(self, self.constraints, self.label())

    def label(self) -> str:
        """The name of the part in messages."""
        return label_of(self)

    def __setattr__(self, name: str, value: Any) -> None:
        if _is_frozen(type(self)):
            raise FrozenInstanceError(f"cannot assign to field {name!r}")
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        if _is_frozen(type(self)):
            raise FrozenInstanceError(f"cannot delete field {name!r}")
        object.__delattr__(self, name)

    def _comparison_key(self) -> tuple[Any, ...]:
        return tuple(getattr(self, item.name) for item in fields(self) if item.compare)  # type: ignore[arg-type]

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self) or not is_dataclass(self):
            return NotImplemented
        return self._comparison_key() == other._comparison_key()

    def __hash__(self) -> int:
        return hash((type(self), self._comparison_key())) if is_dataclass(self) else object.__hash__(self)


def _is_frozen(cls: type) -> bool:
    """Whether the class in which ``cls`` finds its ``__init__`` is a frozen dataclass."""
    initializer_class = next(base for base in cls.__mro__ if "__init__" in vars(base))
    params = vars(initializer_class).get("__dataclass_params__")
    return params is not None and params.frozen is True
