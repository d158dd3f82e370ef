"""Registries whose parts are imported on first use."""

from __future__ import annotations

import subprocess
import sys
import types
from dataclasses import dataclass

import pytest

from glassgrad.common.errors import InputError
from glassgrad.common.registry import Registry


class Part:
    """The base class of the parts in this file."""


@dataclass(frozen=True)
class Near(Part):
    """Registered without a delay."""

    size: int = 1


FAR = """
from dataclasses import dataclass

from common.test_registry import Part

@dataclass(frozen=True)
class Far(Part):
    size: int = 2

def register(parts):
    parts.add("far", Far)
    parts.add("distant", Far)
"""


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Registry[Part]:
    """A registry with ``near``, and with ``far`` in a module that is not imported yet."""
    registry: Registry[Part] = Registry("part", Part)
    registry.add("near", Near)
    registry.add_later("made_up_far", "far", "distant")

    class Finder:
        @staticmethod
        def find_spec(name: str, *_: object) -> object:
            if name != "made_up_far":
                return None
            from importlib.machinery import ModuleSpec

            return ModuleSpec(name, Finder)  # type: ignore[arg-type]

        @staticmethod
        def create_module(_: object) -> None:
            return None

        @staticmethod
        def exec_module(module: types.ModuleType) -> None:
            exec(FAR, vars(module))
            vars(module)["register"](registry)

    monkeypatch.setattr(sys, "meta_path", [Finder, *sys.meta_path])
    monkeypatch.delitem(sys.modules, "made_up_far", raising=False)
    return registry


def test_names_are_known_before_their_module_is_loaded(parts: Registry[Part]) -> None:
    assert list(parts) == ["near", "far", "distant"]
    with pytest.raises(InputError, match=r"unknown part 'fat'; did you mean 'far'\? .*distant, far, near"):
        parts.make("fat")
    assert parts.config(Near(3)) == {"name": "near", "size": 3}
    assert "made_up_far" not in sys.modules


def test_the_module_is_imported_when_one_of_its_parts_is_used(parts: Registry[Part]) -> None:
    part = parts.make("far(5)")
    assert "made_up_far" in sys.modules
    assert type(part).__module__ == "made_up_far"
    assert parts.config(part) == {"name": "far", "size": 5}
    assert parts.name_of(type(part)) == "far"
    assert parts.make({"name": "distant"}) == parts.make("far")
    assert list(parts) == ["near", "far", "distant"]


def test_a_name_cannot_be_registered_twice(parts: Registry[Part]) -> None:
    with pytest.raises(InputError, match="registered already"):
        parts.add("far", Near)
    with pytest.raises(InputError, match="registered already"):
        parts.add("near", Near)
    assert parts.name_of(Part) is None


def test_a_dense_network_does_not_import_convolution() -> None:
    script = (
        "import sys, glassgrad.nn.network as n; from glassgrad.nn.layers.dense import Dense\n"
        "document = n.Sequential(Dense(3)).to_document(); n.from_document(document)\n"
        "print('glassgrad.nn.layers.convolution' in sys.modules)\n"
        "layer = {'type': 'conv2d', 'filters': 2, 'name': 'c'}\n"
        "print(n.kind_of(n.from_document({'layers': [layer]})['c'].layer))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "conv2d"]
