"""Matplotlib's figures as compact inline SVG: text stays text, and colours are those of the page around it."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from glassgrad.common.errors import InputError
from glassgrad.report.theme import COLORS, variable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Size = tuple[float, float]

# What Matplotlib draws with, instead of a colour: the number of a role.
_PENS = {role: f"#fe{number:04x}" for number, role in enumerate(COLORS)}
_ROLES = {pen: role for role, pen in _PENS.items()}
TEXT_SIZE = 11.5
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "glassgrad",
    "text.parse_math": False,  # a column may be called "price in $"
    "font.size": TEXT_SIZE,
    "axes.titlesize": TEXT_SIZE,
    "axes.edgecolor": _PENS["line"],
    "axes.labelcolor": _PENS["muted"],
    "axes.linewidth": 1.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "axes.labelpad": 6.0,
    "grid.color": _PENS["grid"],
    "grid.linewidth": 1.0,
    "text.color": _PENS["ink"],
    "xtick.color": _PENS["line"],
    "ytick.color": _PENS["line"],
    "xtick.labelcolor": _PENS["muted"],
    "ytick.labelcolor": _PENS["muted"],
    "xtick.major.size": 0.0,
    "ytick.major.size": 0.0,
    "xtick.minor.size": 0.0,
    "ytick.minor.size": 0.0,
    "xtick.major.pad": 7.0,
    "ytick.major.pad": 7.0,
    "lines.solid_capstyle": "round",
    "lines.solid_joinstyle": "round",
    "path.simplify": True,
    "path.simplify_threshold": 0.4,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.h_pad": 0.03,
    "figure.constrained_layout.w_pad": 0.03,
    "figure.constrained_layout.hspace": 0.06,
}
LOCAL = "\ue000"  # begins every name inside a picture; the page makes it different for each
_NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")
_COLOR = re.compile(r"#fe[0-9a-f]{4}")


def load_figure() -> type[Figure]:
    """Matplotlib's figure; raises InputError where it is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError(
            "the picture needs Matplotlib; install it with: pip install 'glassgrad[plot]'"
        ) from None
    return Figure


def pen(role: str) -> str:
    """The colour that Matplotlib must draw with, so that the page shows that of ``role``."""
    return _PENS[role]


def draw(build: Callable[[Figure], None], size: Size, title: str) -> str:
    """What ``build`` draws on an empty figure, as an ``<svg>`` element that fills the width that it is given.

    ``size`` is in pixels at which text has its usual size. ``title`` is what a screen reader says. The same figure
    gives the same text. Raises InputError where Matplotlib is not installed.
    """
    make = load_figure()
    from matplotlib import rc_context, rcdefaults, rcParams

    content = io.BytesIO()
    # A glyph that Matplotlib's font lacks is only measured wrongly: the reader's browser draws it.
    with rc_context(), warnings.catch_warnings():
        rcdefaults()  # the reader's own style is not ours
        rcParams.update(_STYLE)
        warnings.filterwarnings("ignore", message="constrained_layout not applied", category=UserWarning)
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        figure = make(figsize=(size[0] / 72, size[1] / 72))
        build(figure)
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(content, format="svg", transparent=True, metadata=nothing)
    return _compact(content.getvalue(), title)


def _compact(svg: bytes, title: str) -> str:
    root = ElementTree.fromstring(svg)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.text = (element.text or "").strip() or None
        element.tail = None
        element.attrib = _attributes(element)
    _flatten(root)
    root.attrib = {"viewBox": root.attrib["viewBox"], "role": "img"}
    label = ElementTree.Element("title")
    label.text = _plain(title)
    root.insert(0, label)
    return ElementTree.tostring(root, encoding="unicode")


def _attributes(element: ElementTree.Element) -> dict[str, str]:
    """The attributes that matter: no fonts, no names of groups, numbers to a tenth of a pixel."""
    kept: dict[str, str] = {}
    for key, value in element.attrib.items():
        name = key.rpartition("}")[2]
        if name == "id" and element.tag == "g":
            continue
        if name == "id":
            kept[name] = LOCAL + value
        elif name in ("clip-path", "href"):
            kept[name] = value.replace("#", f"#{LOCAL}")
        elif name == "style":
            kept |= _styles(value, element.tag == "text")
        elif name == "transform" and value.startswith("rotate(-0 "):
            continue
        elif name in ("d", "x", "y", "width", "height", "transform", "points"):
            kept[name] = re.sub(r"\s+", " ", _NUMBER.sub(_short, value)).strip()
        else:
            kept[name] = value
    return kept


def _styles(text: str, is_text: bool) -> dict[str, str]:
    """A style as attributes; what has a colour of the page stays a style, which alone may hold a variable."""
    kept: dict[str, str] = {}
    colors: list[str] = []
    for item in text.split(";"):
        name, _, value = (part.strip() for part in item.partition(":"))
        if not name or (is_text and name in ("font", "font-family")):
            continue
        if is_text and name == "font-size" and value == f"{TEXT_SIZE}px":
            continue
        if _COLOR.fullmatch(value):
            colors.append(f"{name}:{variable(_ROLES[value])}")
        else:
            kept[name] = value
    return kept | ({"style": ";".join(colors)} if colors else {})


def _flatten(parent: ElementTree.Element) -> None:
    """Take out groups and styles that say nothing."""
    children: list[ElementTree.Element] = []
    for child in parent:
        _flatten(child)
        _share(child)
        if child.tag in ("style", "metadata") or (
            child.tag in ("g", "defs", "text") and not len(child) and not child.text
        ):
            continue
        children += list(child) if child.tag == "g" and not child.attrib else [child]
    parent[:] = children


def _share(group: ElementTree.Element) -> None:
    """Say once what all children of a group say: the points of a scatter plot differ in their place only."""
    if group.tag == "g" and len(group) > 1:
        for name in ("style", "fill-opacity", "stroke-opacity", "opacity"):
            values = {child.get(name) for child in group}
            if len(values) == 1 and None not in values and name not in group.attrib:
                group.set(name, group[0].attrib[name])
                for child in group:
                    del child.attrib[name]


def _short(found: re.Match[str]) -> str:
    return f"{float(found[0]):.1f}".removesuffix(".0")


def _plain(text: str) -> str:
    """``text`` without what XML has no place for."""
    return "".join(c if c.isprintable() else " " for c in text)
