"""``dataclass``, at a tenth of the time.

The standard decorator writes the source of up to six methods for each class, and compiles it whenever the module is
imported: up to a millisecond a class, which a short run would pay for a hundred classes. Here the methods are
compiled once, as they stand below, and look at the fields of a class when they are called. All else is as in the
standard library: ``field``, ``fields``, ``replace``, and subclasses that are decorated with either one; to type
checkers it is the standard one. It knows the parameters ``frozen`` and ``eq``, and neither ``InitVar`` nor fields
that are keyword-only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any

__all__ = ["dataclass"]

if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(cls=None, /, *, frozen=False, eq=True):
        """Make a dataclass of ``cls``. Raises TypeError where the standard decorator does."""
        return _decorate(cls, frozen, eq) if cls is not None else lambda cls: _decorate(cls, frozen, eq)


def _decorate(cls: Any, frozen: bool, eq: bool) -> Any:
    fields: dict[str, dataclasses.Field[Any]] = {}
    for base in reversed(cls.__mro__[1:]):
        if "__dataclass_fields__" in vars(base):
            fields |= base.__dataclass_fields__
            if base.__dataclass_params__.frozen != frozen:
                raise TypeError("of a dataclass and its base either both are frozen or none is")
    own, parameters = _own_fields(cls)
    parameters.frozen, parameters.eq = frozen, eq
    cls.__dataclass_fields__, cls.__dataclass_params__ = fields | own, parameters
    listed = dataclasses.fields(cls)
    given = [field for field in listed if field.init]
    methods: dict[str, Any] = {
        "__repr__": _repr,
        "__replace__": _replace,
        "__match_args__": tuple(field.name for field in given),
    }
    by_hand = vars(cls)
    if "__init__" not in by_hand:
        methods |= {"__init__": _initializer(cls, given, listed), "__signature__": _Signature(cls)}
    if eq:
        compared = tuple(field.name for field in listed if field.compare)
        hashed = tuple(
            field.name for field in listed if (field.compare if field.hash is None else field.hash)
        )
        # As in the standard library: what compares equal and can be changed has no hash.
        methods |= {"__eq__": _equality(compared), "__hash__": _hash(hashed) if frozen else None}
    if frozen:
        methods |= _frozen(cls, frozenset(field.name for field in listed))
    if eq and "__eq__" in by_hand and by_hand["__hash__"] is None:  # which Python itself has put there
        del cls.__hash__
    for name, method in methods.items():
        if name not in by_hand:
            setattr(cls, name, method)
    return cls


def _own_fields(cls: Any) -> tuple[dict[str, dataclasses.Field[Any]], Any]:
    """The fields that ``cls`` adds, and its parameters, as the standard decorator finds them: on a stand-in."""
    annotations = cls.__annotations__
    content = {name: vars(cls)[name] for name in annotations if name in vars(cls)}
    content |= {"__annotations__": annotations, "__module__": cls.__module__, "__doc__": "stands in"}
    stand_in: Any = dataclasses.dataclass(init=False, repr=False, eq=False)(type(cls.__name__, (), content))
    for name in annotations:
        if isinstance(content.get(name), dataclasses.Field):  # gives way to the default, if it has one
            if name in vars(stand_in):
                setattr(cls, name, vars(stand_in)[name])
            else:
                delattr(cls, name)
    return stand_in.__dataclass_fields__, stand_in.__dataclass_params__


def _initializer(cls: Any, given: list[dataclasses.Field[Any]], listed: Any) -> Callable[..., None]:
    names = tuple(field.name for field in given)
    defaults = {field.name: field.default for field in given if field.default is not dataclasses.MISSING}
    makers = [
        (field.name, field.default_factory)
        for field in listed
        if field.default_factory is not dataclasses.MISSING
    ]
    optional = [name in defaults or name in dict(makers) for name in names]
    if optional != sorted(optional):
        raise TypeError(f"{cls.__name__}: a field without a default follows one with a default")

    def __init__(self: Any, *positional: Any, **named: Any) -> None:
        values = defaults | dict(zip(names, positional, strict=False)) | named
        for name, make in makers:
            if name not in values:
                values[name] = make()
        if len(positional) > len(names) or not named.keys().isdisjoint(names[: len(positional)]):
            raise TypeError(f"{cls.__name__}() takes {', '.join(names) or 'nothing'}, each once")
        for name in named:
            if name not in names:
                raise TypeError(f"{cls.__name__}() takes no {name!r}")
        for name in names:
            if name not in values:
                raise TypeError(f"{cls.__name__}() lacks {name!r}")
        for name, value in values.items():
            object.__setattr__(self, name, value)
        if hasattr(self, "__post_init__"):
            self.__post_init__()

    return __init__


@recursive_repr()
def _repr(self: Any) -> str:
    shown = [f"{item.name}={getattr(self, item.name)!r}" for item in dataclasses.fields(self) if item.repr]
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _replace(self: Any, /, **changes: Any) -> Any:
    return dataclasses.replace(self, **changes)


def _equality(names: tuple[str, ...]) -> Callable[[Any, Any], Any]:
    def __eq__(self: Any, other: Any) -> Any:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return _values(self, names) == _values(other, names)

    return __eq__


def _hash(names: tuple[str, ...]) -> Callable[[Any], int]:
    def __hash__(self: Any) -> int:
        return hash(_values(self, names))

    return __hash__


def _values(item: Any, names: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple([getattr(item, name) for name in names])


def _frozen(cls: Any, names: frozenset[str]) -> dict[str, Any]:
    """A frozen class takes no new values; a subclass that is no dataclass may have attributes of its own."""

    def __setattr__(self: Any, name: str, value: Any) -> None:
        if type(self) is cls or name in names:
            raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")
        super(cls, self).__setattr__(name, value)

    def __delattr__(self: Any, name: str) -> None:
        if type(self) is cls or name in names:
            raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")
        super(cls, self).__delattr__(name)

    return {"__setattr__": __setattr__, "__delattr__": __delattr__}


class _Signature:
    """The signature of a class, made when ``help`` or an editor asks."""

    def __init__(self, owner: Any) -> None:
        self.owner = owner

    def __get__(self, instance: object, cls: Any) -> Any:
        if instance is not None or cls.__init__ is not self.owner.__init__:  # of a subclass with its own
            raise AttributeError("__signature__")
        from inspect import Parameter, Signature

        parameters = []
        for field in dataclasses.fields(cls):
            if field.init:
                known = [x for x in (field.default, field.default_factory) if x is not dataclasses.MISSING]
                default = known[0] if known else Parameter.empty
                kind = Parameter.POSITIONAL_OR_KEYWORD
                parameters.append(Parameter(field.name, kind, default=default, annotation=field.type))
        return Signature(parameters)
