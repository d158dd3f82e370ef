"""Backends by name. Each is imported when it is first asked for."""

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


def backend(name: str | Backend, threads: int | None = None) -> Backend:
    """The backend called ``name``; raises InputError for an unknown one, or one whose library is missing.

    ``threads`` bounds those inside a call, where the backend can be told.
    """
    if not isinstance(name, str):
        return name
    if name not in BACKENDS:
        raise unknown_name("backend", name, BACKENDS)
    module, cls = BACKENDS[name]
    made = getattr(import_module(module), cls)
    return cast(Backend, made(threads=threads) if threads and name in THREADED else made())


def cores() -> int:
    """GLASSGRAD_THREADS, or the cores that this process may run on."""
    return cast(int, import_module("glassgrad.backends.native.backend").default_threads())
