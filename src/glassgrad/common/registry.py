"""Registries of named parts (initializers, losses, schedules ...), which exist as text, configuration and objects.

A part is a frozen dataclass whose fields are numbers, strings, booleans, lists of these, or other parts. The same
part is ``leaky_relu(0.2)`` on the command line, ``{"name": "leaky_relu", "slope": 0.2}`` in a file, and
``LeakyReLU(slope=0.2)`` in Python.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterator, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any, Generic, TypeVar, cast

from glassgrad.common.errors import InputError, shown, unknown_name
from glassgrad.common.plain import plain

T = TypeVar("T")


class Registry(Generic[T]):
    """The classes of one kind of part, by name."""

    def __init__(self, kind: str, base: type[T]) -> None:
        """``kind`` is the name of such a part in messages. Every registered class derives from ``base``."""
        self.kind = kind
        self.base = base
        self._classes: dict[str, type[T]] = {}
        self._modules: dict[str, str] = {}  # by name: the module that registers it when it is imported
        self._names: dict[str, None] = {}  # all names in the order of registration
        _registries.append(self)

    def add(self, name: str, cls: type[T]) -> None:
        """Register ``cls`` under ``name``. Raises InputError if the name is registered already."""
        if name in self._classes or self._modules.get(name, cls.__module__) != cls.__module__:
            raise InputError(f"{self.kind} {name!r} is registered already")
        self._classes[name] = cls
        self._names.setdefault(name)

    def add_later(self, module: str, *names: str) -> None:
        """Import ``module``, which registers ``names``, when one of these names is first looked up."""
        self._modules |= dict.fromkeys(names, module)
        self._names |= dict.fromkeys(names)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def name_of(self, cls: type[T]) -> str | None:
        """The first name that ``cls`` is registered under, or None."""
        return next((name for name, registered in self._classes.items() if registered is cls), None)

    def __getitem__(self, name: str) -> type[T]:
        if name not in self._classes and name in self._modules:
            import_module(self._modules[name])
        if name not in self._classes:
            raise unknown_name(self.kind, name, self)
        return self._classes[name]

    def make(self, spec: str | Mapping[str, Any] | T, options: Mapping[str, Any] = MappingProxyType({})) -> T:
        """The part that ``spec`` describes: text, configuration, or an object, which is returned unchanged.

        ``options`` are values by field name that replace those of ``spec``. Only the combination is checked, so
        ``spec`` alone may be invalid. Raises InputError for an unknown name, and for arguments that the part does not
        take.
        """
        if isinstance(spec, self.base):
            if not options:
                return spec
            self._check_fields(self.label(spec), type(spec), options)
            return cast(T, dataclasses.replace(cast(Any, spec), **options))
        cls, name, arguments = self._arguments(cast(Any, spec))
        arguments |= options
        self._check_fields(name, cls, arguments)
        try:
            return cls(**arguments)
        except TypeError:
            raise self._argument_error(name, cls, spec) from None

    def names_given(self, spec: str | Mapping[str, Any] | T) -> frozenset[str]:
        """The names of the fields that ``spec`` sets: the arguments of a text or a table, all fields of an object."""
        if isinstance(spec, self.base):
            return frozenset(_field_names(type(spec)))
        _, _, arguments = self._arguments(cast(Any, spec))
        return frozenset(arguments)

    def fields_of(self, spec: str | Mapping[str, Any] | T) -> list[str]:
        """The names of all fields of the part that ``spec`` describes, without constructing the part."""
        return _field_names(
            type(spec) if isinstance(spec, self.base) else self._arguments(cast(Any, spec))[0]
        )

    def label(self, spec: str | Mapping[str, Any] | T) -> str:
        """The name of the part that ``spec`` describes, or the name of its class if it is not registered."""
        if isinstance(spec, self.base):
            return self.name_of(type(spec)) or type(spec).__name__
        return self._arguments(cast(Any, spec))[1]

    def _arguments(self, spec: str | Mapping[str, Any]) -> tuple[type[T], str, dict[str, Any]]:
        """The class that ``spec`` names, its registered name, and the arguments by field name."""
        positional: tuple[Any, ...] = ()
        if isinstance(spec, str):
            name, positional, named = _parse(self.kind, spec)
        elif isinstance(spec, Mapping):
            named = dict(spec)
            name = named.pop("name", None)
            if not isinstance(name, str):
                raise InputError(f"a {self.kind} needs a text entry 'name', not {shown(dict(spec))}")
        else:
            raise InputError(f"a {self.kind} is a name or a table, not {shown(spec)}")
        cls = self[name]
        names = _field_names(cls)
        if len(positional) > len(names) or set(names[: len(positional)]) & set(named):
            raise self._argument_error(name, cls, spec)
        return cls, name, dict(zip(names, positional, strict=False)) | named

    def _check_fields(self, name: str, cls: type[T], options: Mapping[str, Any]) -> None:
        names = _field_names(cls)
        for key in options:
            if key not in names:
                raise InputError(f"{self.kind} {name!r}: {unknown_name('option', key, names)}")

    def _argument_error(self, name: str, cls: type[T], spec: object) -> InputError:
        parameters = ", ".join(_field_names(cls)) or "no arguments"
        return InputError(f"{self.kind} {name!r} takes {parameters}; got {shown(spec)}")

    def config(self, part: T) -> dict[str, Any]:
        """The configuration of ``part``, as JSON values. ``make`` turns it back into an equal part.

        Raises InputError if ``part`` is not registered.
        """
        name = self.name_of(type(part))
        if name is None:
            raise InputError(
                f"{type(part).__name__} is not a registered {self.kind}; register it by name to save it"
            )
        values = {f.name: getattr(part, f.name) for f in dataclasses.fields(cast(Any, part)) if f.init}
        document: dict[str, Any] = plain(values, other=_config, null_for_nan=False)
        return {"name": name} | document


_registries: list[Registry[Any]] = []


def label_of(part: object) -> str:
    """The name of ``part`` in messages: ``optimizer 'sgd'``, or the name of its class if it is not registered."""
    for registry in _registries:
        if isinstance(part, registry.base) and registry.name_of(type(part)) is not None:
            return f"{registry.kind} {registry.name_of(type(part))!r}"
    return type(part).__name__


def _field_names(cls: type[Any]) -> list[str]:
    return [field.name for field in dataclasses.fields(cls) if field.init]


def _config(value: Any) -> Any:
    """The configuration of a nested part, such as the activation of a layer; any other value unchanged."""
    for registry in _registries:
        if isinstance(value, registry.base):
            return registry.config(value)
    return value


def _parse(kind: str, text: str) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
    """The name, positional arguments and keyword arguments of ``name`` or ``name(1, key=2)``.

    Accepts literals only and evaluates no code. Raises InputError for any other form.
    """
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
        pass  # TypeError: a list as a dict key. The last two: nesting too deep for Python's parser.
    raise InputError(f"{kind} {shown(text)} is not of the form name or name(value, option=value)")
