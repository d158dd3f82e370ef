"""The exceptions that Glassgrad raises; the command line turns each into one line and an exit code."""

from __future__ import annotations

from collections.abc import Iterable


class GlassgradError(Exception):
    """Base of every exception that Glassgrad raises on purpose."""


class InputError(GlassgradError, ValueError):
    """Something the user gave cannot be used. The message is one line: where, what, and the way out."""


class GraphError(GlassgradError, ValueError):
    """A graph that cannot be built or is not well formed. The message names the op and the shapes."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> InputError:
    """The error for a name that is not in a registry: lists the known ones and suggests the nearest."""
    import difflib

    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return InputError(f"unknown {kind} {name!r}{hint} (known: {', '.join(names)})")
