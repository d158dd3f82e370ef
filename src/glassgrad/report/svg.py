"""Matplotlib figures as compact inline SVG. Text stays text, and colours follow the theme of the page."""

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

# Placeholder colours: Matplotlib draws with the number of a role, and the SVG gets the CSS variable of that role.
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
LOCAL = "\ue000"
"""The prefix of every id inside a picture. The page replaces it by a different prefix for each picture."""
_NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")
_COLOR = re.compile(r"#fe[0-9a-f]{4}")


def load_figure() -> type[Figure]:
    """Matplotlib's Figure class. Raises InputError if Matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError("figures need Matplotlib; install it with: pip install 'glassgrad[plot]'") from None
    return Figure


def pen(role: str) -> str:
    """The placeholder colour for Matplotlib that becomes the page's colour of ``role``."""
    return _PENS[role]


def draw(build: Callable[[Figure], None], size: Size, title: str) -> str:
    """Let ``build`` draw on an empty figure and return it as an ``<svg>`` element that fills its container's width.

    ``size`` is the size in pixels at which text has its normal size. Screen readers read ``title``. The same figure
    always gives the same text. Raises InputError if Matplotlib is not installed.
    """
    figure_class = load_figure()
    from matplotlib import rc_context, rcdefaults, rcParams

    content = io.BytesIO()
    # Glyphs that Matplotlib's font lacks only get an inexact width: the browser draws them with its own font.
    with rc_context(), warnings.catch_warnings():
        rcdefaults()  # ignore the user's Matplotlib style
        rcParams.update(_STYLE)
        warnings.filterwarnings("ignore", message="constrained_layout not applied", category=UserWarning)
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        figure = figure_class(figsize=(size[0] / 72, size[1] / 72))
        build(figure)
        no_metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(content, format="svg", transparent=True, metadata=no_metadata)
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
    """The attributes that are needed: no fonts and no ids of groups; numbers are rounded to a tenth of a pixel."""
    attributes: dict[str, str] = {}
    for key, value in element.attrib.items():
        name = key.rpartition("}")[2]
        if name == "id" and element.tag == "g":
            continue
        if name == "id":
            attributes[name] = LOCAL + value
        elif name in ("clip-path", "href"):
            attributes[name] = value.replace("#", f"#{LOCAL}")
        elif name == "style":
            attributes |= _styles(value, element.tag == "text")
        elif name == "transform" and value.startswith("rotate(-0 "):
            continue
        elif name in ("d", "x", "y", "width", "height", "transform", "points"):
            attributes[name] = re.sub(r"\s+", " ", _NUMBER.sub(_rounded, value)).strip()
        else:
            attributes[name] = value
    return attributes


def _styles(text: str, is_text: bool) -> dict[str, str]:
    """A style as attributes. Theme colours stay in a style, because attributes cannot hold CSS variables."""
    attributes: dict[str, str] = {}
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
            attributes[name] = value
    return attributes | ({"style": ";".join(colors)} if colors else {})


def _flatten(parent: ElementTree.Element) -> None:
    """Remove style sheets, metadata, empty elements, and groups without attributes."""
    children: list[ElementTree.Element] = []
    for child in parent:
        _flatten(child)
        _hoist_attributes(child)
        if child.tag in ("style", "metadata") or (
            child.tag in ("g", "defs", "text") and not len(child) and not child.text
        ):
            continue
        children += list(child) if child.tag == "g" and not child.attrib else [child]
    parent[:] = children


def _hoist_attributes(group: ElementTree.Element) -> None:
    """Move attributes that all children share to the group: the points of a scatter plot share their style."""
    if group.tag == "g" and len(group) > 1:
        for name in ("style", "fill-opacity", "stroke-opacity", "opacity"):
            values = {child.get(name) for child in group}
            if len(values) == 1 and None not in values and name not in group.attrib:
                group.set(name, group[0].attrib[name])
                for child in group:
                    del child.attrib[name]


def _rounded(match: re.Match[str]) -> str:
    return f"{float(match[0]):.1f}".removesuffix(".0")


def _plain(text: str) -> str:
    """``text`` with a space for each character that is not printable; XML forbids most of them."""
    return "".join(c if c.isprintable() else " " for c in text)
