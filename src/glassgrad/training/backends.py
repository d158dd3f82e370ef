"""Backends by name. Each is imported on first use."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from glassgrad.backends.base import Backend
from glassgrad.common.errors import unknown_name
from glassgrad.training.defaults import DEFAULTS

BACKENDS = {
    "native": ("glassgrad.backends.native.backend", "NativeBackend"),
    "reference": ("glassgrad.backends.reference", "ReferenceBackend"),
    "xla": ("glassgrad.backends.xla", "XlaBackend"),
}
DEFAULT: str = DEFAULTS["backend"]
THREADED = ("native",)
"""Backends that take a number of threads."""


def backend(name: str | Backend, threads: int | None = None) -> Backend:
    """The backend called ``name``; raises InputError for an unknown name or a missing library.

    ``threads`` limits the threads inside a call, for the backends in ``THREADED``.
    """
    if not isinstance(name, str):
        return name
    if name not in BACKENDS:
        raise unknown_name("backend", name, BACKENDS)
    module, class_name = BACKENDS[name]
    cls = getattr(import_module(module), class_name)
    return cast(Backend, cls(threads=threads) if threads and name in THREADED else cls())


def cores() -> int:
    """GLASSGRAD_THREADS, or the number of cores that this process may run on."""
    return cast(int, import_module("glassgrad.backends.native.backend").default_threads())
