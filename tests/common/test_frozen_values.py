"""Every frozen class of the package rejects assignment to any field."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from dataclasses import FrozenInstanceError, fields, is_dataclass
from typing import Any

import pytest

import glassgrad
from glassgrad.common import frozen as frozen_module
from glassgrad.common.part import Part

OURS = frozen_module._set_once


def is_frozen(cls: type) -> bool:
    """Whether ``cls`` is frozen: by the standard library, by ``frozen``, or as a ``Part``."""
    if not is_dataclass(cls):
        return issubclass(cls, Part) and cls is not Part
    return cls.__dataclass_params__.frozen or cls.__setattr__ is OURS  # type: ignore[attr-defined]


def frozen_classes() -> list[type]:
    classes: dict[str, type] = {}
    for module_info in pkgutil.walk_packages(glassgrad.__path__, "glassgrad."):
        if module_info.name.endswith("__main__"):
            continue
        module = importlib.import_module(module_info.name)
        for cls in vars(module).values():
            if inspect.isclass(cls) and cls.__module__ == module.__name__ and is_frozen(cls):
                classes[f"{cls.__module__}.{cls.__qualname__}"] = cls
    return [classes[name] for name in sorted(classes)]


CLASSES = frozen_classes()


def bare_instance(cls: type) -> Any:
    """An instance with a placeholder in every field that ``__init__`` sets."""
    value = object.__new__(cls)
    for item in fields(cls) if is_dataclass(cls) else ():
        if item.init:
            object.__setattr__(value, item.name, "placeholder")
    return value


def test_the_walk_finds_frozen_classes() -> None:
    names = {cls.__name__ for cls in CLASSES}
    assert {"Dataset", "Origin", "Program", "Graph", "Type", "Dense", "Add", "Feed", "Schema"} <= names
    assert len(CLASSES) > 150


@pytest.mark.parametrize(
    "cls", [c for c in CLASSES if not inspect.isabstract(c)], ids=lambda c: c.__qualname__
)
def test_no_field_of_a_frozen_value_can_be_set_or_deleted(cls: type) -> None:
    value = bare_instance(cls)
    names = [item.name for item in fields(cls)] if is_dataclass(cls) else []
    properties = [name for name, item in inspect.getmembers_static(cls) if "property" in type(item).__name__]
    for name in [*names, *properties, "made_up"]:
        with pytest.raises((FrozenInstanceError, TypeError)):  # TypeError: a slot of a class with slots
            setattr(value, name, "changed")
        if name not in properties:
            assert getattr(value, name, None) != "changed"
        with pytest.raises((FrozenInstanceError, TypeError)):
            delattr(value, name)


def test_the_origin_of_a_data_set_cannot_be_replaced() -> None:
    data = glassgrad.from_arrays([[1.0], [2.0]], [0, 1])
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'origin'"):
        data.origin = "x"  # type: ignore[assignment, misc]
    assert data.origin is None
    loaded = glassgrad.load_source("digits")
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'origin'"):
        loaded.origin = None
    assert loaded.origin is not None
