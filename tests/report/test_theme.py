"""The colours of both themes have enough contrast and are distinguishable."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from glassgrad.report.theme import COLORS, RAMP, SERIES, ordered

# G. M. Machado, M. M. Oliveira and L. A. F. Fernandes, A physiologically-based model for simulation of color
# vision deficiency, 2009: linear RGB as seen without one of the three kinds of cones.
SIGHT = {
    "all cones": np.eye(3),
    "no red": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "no green": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "no blue": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
THEMES = {"light": 0, "dark": 1}


def linear(color: str) -> np.ndarray:
    """Linear RGB from 0 to 1 (IEC 61966-2-1)."""
    channels = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def luminance(color: str) -> float:
    return float(linear(color) @ [0.2126, 0.7152, 0.0722])


def contrast(color: str, background: str) -> float:
    """The contrast ratio of WCAG 2.2."""
    low, high = sorted((luminance(color), luminance(background)))
    return (high + 0.05) / (low + 0.05)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b* under D65."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ np.clip(rgb, 0, 1) / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("theme", THEMES)
def test_text_is_readable_on_every_background(theme: str) -> None:
    colors = {role: pair[THEMES[theme]] for role, pair in COLORS.items()}
    for background in ("page", "card", "sunken"):
        for text in ("ink", "muted", "accent", "ok", "warning", "fault"):
            required = 4.5 if background != "sunken" or text in ("ink", "muted") else 4.0
            assert contrast(colors[text], colors[background]) >= required, (text, background)


@pytest.mark.parametrize("theme", THEMES)
def test_lines_stand_out_from_the_card(theme: str) -> None:
    card = COLORS["card"][THEMES[theme]]
    for role in (*SERIES, *RAMP[:-1], "positive", "negative"):
        assert contrast(COLORS[role][THEMES[theme]], card) >= 3, role
    assert contrast(COLORS[RAMP[-1]][THEMES[theme]], card) >= 2.5


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("theme", THEMES)
def test_the_first_series_differ_with_any_colour_vision(theme: str, sight: str) -> None:
    for pair in itertools.combinations(SERIES[:3], 2):
        first, second = (lab(SIGHT[sight] @ linear(COLORS[role][THEMES[theme]])) for role in pair)
        assert np.linalg.norm(first - second) > 15, pair
    positive, negative = (
        lab(SIGHT[sight] @ linear(COLORS[r][THEMES[theme]])) for r in ("positive", "negative")
    )
    assert np.linalg.norm(positive - negative) > 30


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("theme", THEMES)
def test_the_lightness_of_the_ramp_rises(theme: str, sight: str) -> None:
    lightness = [lab(SIGHT[sight] @ linear(COLORS[role][THEMES[theme]]))[0] for role in RAMP]
    assert all(a < b for a, b in itertools.pairwise(lightness)), lightness


def test_ordered_roles_begin_and_end_with_the_ramp() -> None:
    assert ordered(1) == [RAMP[0]]
    assert ordered(2) == [RAMP[0], RAMP[-1]]
    assert ordered(6) == list(RAMP)
    assert ordered(60)[0] == RAMP[0]
    assert ordered(60)[-1] == RAMP[-1]
