"""The colours of pages and figures: each role has a light and a dark value.

The series colours are distinguishable with every kind of colour vision (after M. Okabe and K. Ito, Color universal
design, 2008, lightened for dark pages). ``ramp_1`` to ``ramp_6`` are for ordered items such as layers; they differ in
lightness too.
"""

from __future__ import annotations

from collections.abc import Sequence

# role: (light, dark)
COLORS: dict[str, tuple[str, str]] = {
    "page": ("#faf9f6", "#131518"),
    "card": ("#ffffff", "#1b1e22"),
    "sunken": ("#f2f1ec", "#23272c"),
    "ink": ("#1d2129", "#e9eaec"),
    "muted": ("#5b6370", "#a3aab3"),
    "line": ("#e3e2dc", "#31363d"),
    "grid": ("#ecebe6", "#2a2f35"),
    "accent": ("#0b63a5", "#74b9f2"),
    "series_1": ("#0068ad", "#5aaef0"),
    "series_2": ("#cf5400", "#ff9455"),
    "series_3": ("#1d986e", "#7fdfba"),
    "series_4": ("#a34d86", "#e39bc9"),
    "series_5": ("#3f97d0", "#a3d8ff"),
    "series_6": ("#a87700", "#f0c350"),
    "ramp_1": ("#272a6b", "#8793f2"),
    "ramp_2": ("#1f5192", "#62a9ee"),
    "ramp_3": ("#1b759b", "#52c3d6"),
    "ramp_4": ("#248f8b", "#63d6ad"),
    "ramp_5": ("#559f65", "#a6e081"),
    "ramp_6": ("#aea52e", "#e9e36d"),
    "positive": ("#d05a12", "#f08a45"),
    "negative": ("#1470b4", "#4aa3e8"),
    "ok": ("#00805c", "#41c79e"),
    "warning": ("#946500", "#f0c350"),
    "fault": ("#b3261e", "#ff8a80"),
}
SERIES = tuple(role for role in COLORS if role.startswith("series_"))
RAMP = tuple(role for role in COLORS if role.startswith("ramp_"))


def css_variables() -> str:
    """The colours as CSS custom properties that follow the reader's preference. Printed pages are light."""
    light, dark = (
        " ".join(f"--{role.replace('_', '-')}: {values[theme]};" for role, values in COLORS.items())
        for theme in (0, 1)
    )
    return (
        f":root {{ color-scheme: light dark; {light} }}\n"
        f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n"
    )


def variable(role: str) -> str:
    """The CSS reference to the colour of ``role``."""
    return f"var(--{role.replace('_', '-')})"


def ordered(count: int) -> Sequence[str]:
    """``count`` roles spread over the ramp, from its first to its last."""
    last = max(count - 1, 1)
    return [RAMP[round(i * (len(RAMP) - 1) / last)] for i in range(count)]
