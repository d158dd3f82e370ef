"""No attribute is read that may not be there: ``getattr`` with a default hides a field that does not exist.

What a part (a layer, a loss, an optimizer ...) has is declared: by its class, by its base, or by a protocol.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import glassgrad

PACKAGE = Path(glassgrad.__file__).parent
SOURCES = {
    file.relative_to(PACKAGE).as_posix(): file.read_text(encoding="utf-8")
    for file in sorted(PACKAGE.rglob("*.py"))
}

# What is asked is no part of Glassgrad's own: an object of another library or of the user.
ALLOWED = {
    ("data/frames.py", "hasattr(type(frame), mark)"): "the marks of the data frames of other libraries",
    ("data/frames.py", "hasattr(native, 'sparse')"): "an accessor that pandas gives to sparse columns only",
    ("data/dataset.py", "getattr(targets, 'name', None)"): "a Series of any library has its name",
    (
        "ops/custom.py",
        "getattr(function, '__name__', 'custom')",
    ): "a function of the user, or a functools.partial",
    (
        "backends/native/driver/generate.py",
        "getattr(emitter, '__module__', '')",
    ): "a function of the user, or a partial",
    ("cli/app.py", "getattr(error, 'ctx', None)"): "an error of Click, whose class Typer does not name",
}


def guesses(source: str) -> list[str]:
    """The calls of ``hasattr``, and of ``getattr`` with a default, in ``source``."""
    return [
        ast.unparse(node)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and (
            node.func.id == "hasattr"
            or (node.func.id == "getattr" and len(node.args) + len(node.keywords) > 2)
        )
        and ast.unparse(node.args[0]) != "os"  # what an operating system lacks is asked for in this way
    ]


@pytest.mark.parametrize("path", sorted(SOURCES))
def test_no_attribute_is_guessed(path: str) -> None:
    assert [call for call in guesses(SOURCES[path]) if (path, call) not in ALLOWED] == []


def test_guesses_are_seen() -> None:
    assert guesses("getattr(loss, 'quantile', 0.5)") == ["getattr(loss, 'quantile', 0.5)"]
    assert guesses("if hasattr(layer, 'units'): pass") == ["hasattr(layer, 'units')"]
    assert guesses("getattr(self, field.name)") == []
