"""Public names of a package, each imported on first use (PEP 562)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

Attribute = tuple[str, str, str]
"""A class attribute: its module, its class and its name."""

Listing = tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]


def lazy_names(
    package: str,
    homes: Mapping[str, Sequence[str]],
    namespaces: Sequence[str] = (),
    bindings: Mapping[Attribute, tuple[str, str]] | None = None,
) -> Listing:
    """``__getattr__``, ``__dir__`` and ``__all__`` of ``package``.

    ``homes`` maps each module to the public names that it defines. ``namespaces`` are public subpackages. Nothing is
    imported before it is used. The AttributeError for an unknown name points to the namespaces that have it.

    ``bindings`` maps class attributes to functions (module, name) from a higher floor, which the module of the class
    must not import. An attribute is set when its module is loaded through ``package``. Its function is imported when
    the attribute is called.
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
                full_names = [f"{listing.__name__}.{name}" for listing in listings if name in listing.__all__]
                message += f"; use {' or '.join(full_names)}" if full_names else ""
            raise AttributeError(message, name=name, obj=sys.modules[package])
        value = getattr(import_module(home_of[name]), name)
        vars(sys.modules[package])[name] = value
        for (module, owner, attribute), function in (bindings or {}).items():
            if module in sys.modules:
                setattr(
                    getattr(sys.modules[module], owner), attribute, staticmethod(_import_on_call(*function))
                )
        return value

    def list_names() -> list[str]:
        return sorted({*public, *(name for name in vars(sys.modules[package]) if name.startswith("__"))})

    return load, list_names, public


def _import_on_call(module: str, name: str) -> Callable[..., Any]:
    """A function that imports ``name`` from ``module`` when it is called, and calls it."""

    def call(*args: Any, **options: Any) -> Any:
        return getattr(import_module(module), name)(*args, **options)

    return call
