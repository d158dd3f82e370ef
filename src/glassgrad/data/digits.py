"""The handwritten digits that come with the package; see ``digits.LICENSE`` for their origin."""

from __future__ import annotations

from pathlib import Path

from glassgrad.data.dataset import Dataset
from glassgrad.data.npz import load_npz


def load_digits() -> Dataset:
    """1,797 images, uint8 ``[1797, 8, 8]`` with values 0 to 16, and their classes 0 to 9.

    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning
    Repository, 1998, https://doi.org/10.24432/C50P49 (CC BY 4.0); this is its test part.
    """
    return load_npz(Path(__file__).with_name("digits.npz"))
