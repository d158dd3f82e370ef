"""Named, parametrised parts (initializers, losses, schedules ...) as text, as configuration, and as objects.

A part is a frozen dataclass whose fields are plain numbers, strings, booleans, lists of these, or other
parts. The same part is written ``leaky_relu(0.2)`` on the command line, ``{"name": "leaky_relu", "slope":
0.2}`` in a file, and ``LeakyRelu(slope=0.2)`` in Python.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, Generic, TypeVar, cast

from glassgrad.common.errors import InputError, unknown_name
from glassgrad.common.plain import plain

T = TypeVar("T")


class Registry(Generic[T]):
    """The parts of one kind, by name."""

    def __init__(self, kind: str, base: type[T]) -> None:
        """``kind`` is what error messages call a part; every registered class derives from ``base``."""
        self.kind = kind
        self.base = base
        self._classes: dict[str, type[T]] = {}
        self._later: dict[str, str] = {}
        _registries.append(self)

    def add(self, name: str, cls: type[T]) -> None:
        """Register ``cls`` under ``name``; a name can be taken once."""
        if name in self._classes or self._later.get(name, cls.__module__) != cls.__module__:
            raise InputError(f"{self.kind} {name!r} is registered already")
        self._classes[name] = cls

    def add_later(self, module: str, *names: str) -> None:
        """``names`` that ``module`` registers: it is imported when one of them is asked for."""
        self._later |= dict.fromkeys(names, module)

    def __iter__(self) -> Iterator[str]:
        return iter({**self._classes, **self._later})

    def name_of(self, cls: type[T]) -> str | None:
        """The name of ``cls``; the first, where it has several."""
        return next((name for name, known in self._classes.items() if known is cls), None)

    def __getitem__(self, name: str) -> type[T]:
        if name not in self._classes and name in self._later:
            import_module(self._later[name])
        if name not in self._classes:
            raise unknown_name(self.kind, name, self)
        return self._classes[name]

    def make(self, spec: str | Mapping[str, Any] | T) -> T:
        """The part that ``spec`` describes: an object (returned as it is), text, or configuration.

        Raises InputError for an unknown name and for arguments that the part does not take.
        """
        if isinstance(spec, self.base):
            return spec
        if isinstance(spec, str):
            name, positional, named = _parse(self.kind, spec)
        elif isinstance(spec, Mapping):
            named = dict(spec)
            name, positional = named.pop("name", None), ()
            if not isinstance(name, str):
                raise InputError(f"a {self.kind} needs a text entry 'name', not {dict(spec)!r}")
        else:
            raise InputError(f"a {self.kind} is a name or a table, not {spec!r}")
        cls = self[name]
        fields = [field.name for field in dataclasses.fields(cast(Any, cls)) if field.init]
        for key in named:
            if key not in fields:
                raise InputError(f"{self.kind} {name!r}: {unknown_name('option', key, fields)}")
        try:
            return cls(*positional, **named)
        except TypeError:
            takes = ", ".join(fields) or "nothing"
            raise InputError(f"{self.kind} {name!r} takes {takes}; got {spec!r}") from None

    def config(self, part: T) -> dict[str, Any]:
        """``part`` as plain configuration that ``make`` turns back into an equal part."""
        name = self.name_of(type(part))
        if name is None:
            raise InputError(
                f"{type(part).__name__} is not a registered {self.kind}; register it by name to save it"
            )
        values = {f.name: getattr(part, f.name) for f in dataclasses.fields(cast(Any, part)) if f.init}
        document: dict[str, Any] = plain(values, other=_config, null_for_nan=False)
        return {"name": name} | document


_registries: list[Registry[Any]] = []


def _config(value: Any) -> Any:
    """The configuration of a part inside a part, such as the activation of a layer; any other value as it is."""
    for registry in _registries:
        if isinstance(value, registry.base):
            return registry.config(value)
    return value


def _parse(kind: str, text: str) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
    """``name`` or ``name(1, key=2)``, read without evaluating anything."""
    if text.isidentifier():
        return text, (), {}
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        if isinstance(tree, ast.Name):
            return tree.id, (), {}
        if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name):
            positional = tuple(ast.literal_eval(argument) for argument in tree.args)
            named = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in tree.keywords}
            return tree.func.id, positional, named
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        pass  # the last three: a list as a key of a dict, and nesting too deep for Python's parser
    raise InputError(f"{kind} {text!r} is not of the form name or name(value, option=value)")
