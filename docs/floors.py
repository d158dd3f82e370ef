"""Draw floors.svg, the picture of the package's rooms, from ``FLOORS`` in tests/test_floors.py.

    python docs/floors.py

A room whose module does not exist yet is drawn with a dashed border. Needs the standard library only.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "floors.svg"
PACKAGE = ROOT / "src" / "glassgrad"

ROOMS = {
    "__main__": "python -m glassgrad",
    "cli": "command line: no mathematics",
    "web": "the same in a browser",
    "estimators": "scikit-learn interface",
    "report": "pictures and pages from results",
    "diagnosis": "measure, judge, prescribe, try",
    "explain": "one weight, one input",
    "training": "where model, optimizer, chain rule and backend meet",
    "files": "the model file, checkpoints, run folders, atomic writes",
    "data": "tables, images and text become arrays and a schema",
    "losses": "losses as graph; which last activation each one needs",
    "nn": "layers",
    "optim": "updates",
    "backends.reference": "NumPy, the oracle",
    "backends.native": "machine code",
    "backends.xla": "JAX",
    "init": "initializers, in NumPy",
    "backends.base": "what the three backends share",
    "program": "one training step as a graph, with its inputs and outputs",
    "autodiff": "the sweeps, 150 lines",
    "passes": "graph to graph",
    "ops": "the op table: shape rule, NumPy reference, derivative",
    "graph": "nodes, shapes, dtypes, printer, verifier",
    "common": "error types, registry of named parts, random streams",
}
"""What the picture says of each room."""

# Mid tones: readable under white text, on a light page and on a dark one.
COLORS = {"__main__": "#8a5a9e", "training": "#3f72a6", "losses": "#2f7f78", "autodiff": "#8a6a2f"}
"""The color of a room's floor and of all floors below it, up to the next entry."""

LEFT, WIDTH, GAP, PADDING = 10, 780, 6, 14
ONE_LINE, TWO_LINES = 36, 50  # heights in pixels
NAME_WIDTH, TEXT_WIDTH = 8.5, 6.6  # pixels per character, rounded up

HEAD = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-labelledby="title">
  <title id="title">The floors of glassgrad, top to bottom; imports go downwards only</title>
  <style>
    text {{ font: 13px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: #fff }}
    .room {{ font: bold 14px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace }}
    .reserved {{ fill: none; stroke: #858585; stroke-width: 1.5; stroke-dasharray: 5 4 }}
    .reserved ~ text, .aside {{ fill: #858585 }}
  </style>
"""


def read_floors(source: str) -> tuple[tuple[str, ...], ...]:
    """The value of ``FLOORS`` in the text of tests/test_floors.py, top to bottom."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "FLOORS" and node.value:
            return ast.literal_eval(node.value)
    raise ValueError("tests/test_floors.py has no FLOORS")


def exists(room: str) -> bool:
    """Whether the package has the module or package ``room``."""
    path = PACKAGE.joinpath(*room.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def text_width(room: str, two_lines: bool) -> float:
    """Pixels that the name and the text of ``room`` take."""
    name, text = len(room) * NAME_WIDTH, len(ROOMS[room]) * TEXT_WIDTH
    return max(name, text) if two_lines else name + 12 + text


def draw_room(room: str, x: float, y: float, width: float, height: float, color: str) -> str:
    """One box with a name and a text, beside each other or on two lines."""
    look = f'fill="{color}"' if exists(room) else 'class="reserved"'
    box = f'<rect {look} x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="5"/>'
    left, middle = x + PADDING, y + height / 2
    if height == TWO_LINES:
        first, second = f'y="{middle - 5:g}"', f'x="{left:g}" y="{middle + 14:g}"'
    else:
        first, second = f'y="{middle + 5:g}"', 'dx="12"'
    name = f'<tspan class="room">{escape(room)}</tspan>'
    text = f"<tspan {second}>{escape(ROOMS[room])}</tspan>"
    return f'  <g>\n    {box}\n    <text x="{left:g}" {first}>{name}{text}</text>\n  </g>\n'


def draw_floor(rooms: Sequence[str], y: float, color: str) -> tuple[str, float]:
    """The boxes of one floor, and their height. The boxes share the spare width equally."""
    two_lines = sum(text_width(room, False) + 2 * PADDING + GAP for room in rooms) - GAP > WIDTH
    needed = [text_width(room, two_lines) + 2 * PADDING for room in rooms]
    spare = (WIDTH - GAP * (len(rooms) - 1) - sum(needed)) / len(rooms)
    height = TWO_LINES if two_lines else ONE_LINE
    boxes, x = "", float(LEFT)
    for room, width in zip(rooms, needed, strict=True):
        boxes += draw_room(room, round(x, 1), y, round(width + spare, 1), height, color)
        x += width + spare + GAP
    return boxes, height


def draw(floors: Sequence[Sequence[str]]) -> str:
    """The picture of ``floors`` as SVG."""
    boxes, y, color = "", 10.0, ""
    for rooms in floors:
        color = COLORS.get(rooms[0], color)
        floor_boxes, height = draw_floor(rooms, y, color)
        boxes += floor_boxes
        y += height + GAP
    arrow = LEFT + WIDTH + 16
    rule = "imports go downwards only; rooms on one floor never import each other"
    foot = (
        f'  <path d="M{arrow} 10V{y - 8:g}m-7 -8l7 12l7 -12" fill="none" stroke="#858585" stroke-width="2"/>\n'
        f'  <text class="aside" transform="translate({arrow + 16} {y / 2:g}) rotate(90)" '
        f'text-anchor="middle">{rule}</text>\n'
        f'  <text class="aside" x="{LEFT}" y="{y + 18:g}">Dashed: reserved, not built yet.</text>\n</svg>\n'
    )
    return HEAD.format(width=arrow + 34, height=f"{y + 30:g}") + boxes + foot


def main() -> None:
    """Write the picture."""
    source = (ROOT / "tests" / "test_floors.py").read_text(encoding="utf-8")
    PICTURE.write_text(draw(read_floors(source)), encoding="utf-8")


if __name__ == "__main__":
    main()
