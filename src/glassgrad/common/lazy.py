"""Public names that are loaded when they are first used (PEP 562)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

Attribute = tuple[str, str, str]
"""A class attribute: the module, the class, the name."""

Listing = tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]


def lazy_names(
    package: str,
    homes: Mapping[str, Sequence[str]],
    namespaces: Sequence[str] = (),
    bindings: Mapping[Attribute, tuple[str, str]] | None = None,
) -> Listing:
    """``__getattr__``, ``__dir__`` and ``__all__`` of ``package``.

    ``homes`` has the public names by the module that defines them; ``namespaces`` are public subpackages. Nothing
    is imported before it is used. A name that only a namespace has is refused with an AttributeError that says so.

    ``bindings`` are class attributes that hold a function from a higher floor, which their own module must not
    import: each is set as soon as its module is loaded by way of ``package``, and imports the function, given by
    module and name, when it is called.
    """
    home_of = {name: module for module, names in homes.items() for name in names}
    public = sorted({*home_of, *namespaces})

    def load(name: str) -> Any:
        if name in namespaces:
            return import_module(f"{package}.{name}")
        if name not in home_of:
            message = f"module {package!r} has no attribute {name!r}"
            if not name.startswith("_"):
                listings = [import_module(f"{package}.{space}") for space in namespaces]
                places = [f"{listing.__name__}.{name}" for listing in listings if name in listing.__all__]
                message += f"; use {' or '.join(places)}" if places else ""
            raise AttributeError(message, name=name, obj=sys.modules[package])
        value = getattr(import_module(home_of[name]), name)
        vars(sys.modules[package])[name] = value
        for (module, owner, attribute), function in (bindings or {}).items():
            if module in sys.modules:
                setattr(
                    getattr(sys.modules[module], owner), attribute, staticmethod(_imported_late(*function))
                )
        return value

    def list_names() -> list[str]:
        return sorted({*public, *(name for name in vars(sys.modules[package]) if name.startswith("__"))})

    return load, list_names, public


def _imported_late(module: str, name: str) -> Callable[..., Any]:
    """A function that imports another one when it is called."""

    def call(*args: Any, **options: Any) -> Any:
        return getattr(import_module(module), name)(*args, **options)

    return call
