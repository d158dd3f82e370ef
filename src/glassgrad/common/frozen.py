"""Values of a few named fields that do not change."""

from __future__ import annotations

from dataclasses import MISSING, FrozenInstanceError, dataclass, field, fields
from typing import Any, TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(field,))
def frozen(cls: type[T]) -> type[T]:
    """``dataclass(frozen=True, eq=False)``, made in a third of the time.

    That writes the source of four methods for each class, and compiles it in every process that imports it, which
    for a hundred classes takes longer than many a training run. Here only ``__init__`` is made anew.
    """
    made = dataclass(eq=False, repr=False)(cls)
    # A field with a plain default that __init__ does not take is left to the class, so nobody may set it at all.
    assigned = (item for item in fields(made) if item.init or item.default_factory is not MISSING)  # type: ignore[arg-type]
    made._assigned_by_init = frozenset(item.name for item in assigned)  # type: ignore[attr-defined]
    for name, method in _METHODS.items():
        if name not in vars(made):
            setattr(made, name, method)
    return made


def _set_once(self: Any, name: str, value: Any) -> None:
    """``__init__`` sets each field; nobody sets it again."""
    if name in vars(self) or name not in type(self)._assigned_by_init:
        raise FrozenInstanceError(f"cannot assign to field {name!r}")
    vars(self)[name] = value


def _refuse_to_delete(self: Any, name: str) -> None:
    raise FrozenInstanceError(f"cannot delete field {name!r}")


def _show(self: Any) -> str:
    shown = (f"{item.name}={getattr(self, item.name)!r}" for item in fields(self) if item.repr)
    return f"{type(self).__qualname__}({', '.join(shown)})"


_METHODS = {"__setattr__": _set_once, "__delattr__": _refuse_to_delete, "__repr__": _show}
