"""The exceptions that Glassgrad raises; the command line turns each into one line and an exit code."""

from __future__ import annotations

from collections.abc import Iterable


class GlassgradError(Exception):
    """Base of every exception that Glassgrad raises on purpose."""


class InputError(GlassgradError, ValueError):
    """Invalid input from the user. The message is one line: where, what is wrong, and how to fix it."""


class GraphError(GlassgradError, ValueError):
    """A graph that cannot be built or is malformed. The message names the op and the shapes."""


def shown(value: object, limit: int = 80) -> str:
    """The ``repr`` of ``value`` for a message, on one line, cut to ``limit`` characters.

    An int with more than ``limit`` digits is described by its number of digits.
    """
    if isinstance(value, int) and abs(value) >= 10**limit:
        return f"a whole number of about {int(value.bit_length() * 0.30103) + 1:,} digits"
    try:
        text = repr(value)
    except Exception:  # a list that contains such an int, or a class with a faulty __repr__
        text = f"<{type(value).__name__}>"
    text = " ".join(text.splitlines())
    return text if len(text) <= limit else f"{text[: limit - 4]} ..."


def unknown_name(kind: str, name: str, known: Iterable[str]) -> InputError:
    """The error for a name that is not in a registry: lists the known names and suggests the most similar one."""
    import difflib

    names = sorted(known)
    matches = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"; did you mean {matches[0]!r}?" if matches else ""
    return InputError(f"unknown {kind} {name!r}{hint} (known: {', '.join(names)})")
