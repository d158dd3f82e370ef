"""The exceptions that Glassgrad raises; the command line turns each into one line and an exit code."""

from __future__ import annotations

from collections.abc import Iterable


class GlassgradError(Exception):
    """Base of every exception that Glassgrad raises on purpose."""


class InputError(GlassgradError, ValueError):
    """Something the user gave cannot be used. The message is one line: where, what, and the way out."""


class GraphError(GlassgradError, ValueError):
    """A graph that cannot be built or is not well formed. The message names the op and the shapes."""


def shown(value: object, limit: int = 80) -> str:
    """``value`` for a message: its ``repr``, cut where it is longer than ``limit`` characters.

    A whole number is given by its size where it has too many digits to print.
    """
    if isinstance(value, int) and abs(value) >= 10**limit:
        return f"a whole number of about {int(value.bit_length() * 0.30103) + 1:,} digits"
    try:
        text = repr(value)
    except Exception:  # a list with such a number in it, or a class with a faulty __repr__
        text = f"<{type(value).__name__}>"
    text = " ".join(text.splitlines())
    return text if len(text) <= limit else f"{text[: limit - 4]} ..."


def unknown_name(kind: str, name: str, known: Iterable[str]) -> InputError:
    """The error for a name that is not in a registry: lists the known ones and suggests the nearest."""
    import difflib

    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return InputError(f"unknown {kind} {name!r}{hint} (known: {', '.join(names)})")
