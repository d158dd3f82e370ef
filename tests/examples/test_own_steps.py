"""The example of own steps learns what it says."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_steps.py"


def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("own_steps", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_generator_finds_the_ring() -> None:
    radius, lopsided = example().gan()
    assert abs(radius - 1) < 0.15
    assert lopsided < 0.2


def test_pairs_are_enough_to_tell_digits_apart() -> None:
    before, after = example().siamese()
    assert after > before + 0.2


def test_the_autoencoder_beats_the_mean_image() -> None:
    mean_image, error = example().autoencoder()
    assert error < mean_image / 3
