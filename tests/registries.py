"""A registry that is as it was once a test is over."""

from __future__ import annotations

from typing import Any

import pytest

from glassgrad.common.registry import Registry


def restore_afterwards(patch: pytest.MonkeyPatch, registry: Registry[Any]) -> None:
    """Undo with ``patch`` whatever is registered from now on."""
    for name in registry:
        registry[name]  # loaded now: a module registers its parts once only, and the copy must have them
    for attribute in ("_classes", "_names"):
        patch.setattr(registry, attribute, dict(getattr(registry, attribute)))
