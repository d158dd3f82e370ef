"""Backends by name. Each is imported when it is first asked for."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from glassgrad.backends.base import Backend
from glassgrad.common.errors import unknown_name

BACKENDS = {
    "native": ("glassgrad.backends.native.backend", "NativeBackend"),
    "reference": ("glassgrad.backends.reference", "ReferenceBackend"),
    "xla": ("glassgrad.backends.xla", "XlaBackend"),
}
DEFAULT = "native"


def backend(name: str | Backend) -> Backend:
    """The backend called ``name``; raises InputError for an unknown one, or one whose library is missing."""
    if not isinstance(name, str):
        return name
    if name not in BACKENDS:
        raise unknown_name("backend", name, BACKENDS)
    module, cls = BACKENDS[name]
    return cast(Backend, getattr(import_module(module), cls)())
