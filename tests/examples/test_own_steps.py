"""The example of custom steps: each training reaches the result that it claims."""

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


def test_the_generator_learns_the_ring() -> None:
    radius, mean_direction = example().gan()
    assert abs(radius - 1) < 0.15
    assert mean_direction < 0.2


def test_training_on_pairs_separates_the_digits() -> None:
    before, after = example().siamese()
    assert after > before + 0.2


def test_the_autoencoder_is_better_than_the_mean_image() -> None:
    mean_image, error = example().autoencoder()
    assert error < mean_image / 3
