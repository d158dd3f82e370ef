"""Heat maps, confusion matrices, and grids of small images."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from glassgrad.report.drawing import NARROW, WIDE, floats, name, picture, thin_ticks
from glassgrad.report.svg import load_figure, pen
from glassgrad.report.words import number, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# An image cannot follow the theme of the page, so its colours lie halfway between the light and dark ones.
POSITIVE = (222, 104, 32)
NEGATIVE = (38, 128, 200)


def heat_map(
    values: npt.ArrayLike,
    rows: Sequence[object],
    columns: Sequence[object],
    *,
    title: str,
    x_label: str = "",
    y_label: str = "",
    show: Callable[[float], str] | None = None,
    strength: npt.ArrayLike | None = None,
    numbers: bool = True,
    label_length: int = 14,
    wide: bool = False,
) -> str:
    """``values`` [rows, columns] as coloured cells: one colour for positive values, another for negative ones.

    Larger magnitudes have stronger colours. ``strength`` [rows, columns], from -1 to 1, sets the colours in place of
    the values. ``numbers`` are written into the cells, formatted by ``show``, if there are at most 12 columns. Row
    labels are cut to ``label_length`` characters.
    """
    table = floats(values)
    largest = float(np.nanmax(np.abs(table), initial=0.0)) or 1.0
    shade = table / largest if strength is None else np.asarray(strength, np.float64)
    format_value = show or (lambda value: number(value, 2))
    row_names = [short(item, label_length) for item in rows]
    has_numbers = numbers and table.shape[1] <= 12
    cell_height = min(34.0 if has_numbers else 20.0, max(300.0 / max(len(rows), 1), 4.0))
    height = len(rows) * cell_height + 58

    def build(axes: Axes) -> None:
        from matplotlib.patches import Rectangle

        strongest = 0.58 if has_numbers else 1.0  # keeps the numbers readable on every colour
        for (i, j), weight in np.ndenumerate(np.nan_to_num(shade)):
            alpha = strongest * min(abs(weight), 1.0)
            if alpha > 0.004:
                color = pen("negative" if weight < 0 else "positive")
                axes.add_patch(Rectangle((j - 0.48, i - 0.48), 0.96, 0.96, facecolor=color, alpha=alpha))
            if has_numbers and np.isfinite(table[i, j]):
                text = format_value(float(table[i, j]))
                axes.text(j, i, text, ha="center", va="center_baseline", fontsize=10)
        thin_ticks(axes.xaxis, [short(item, 10) for item in columns], 12)
        thin_ticks(axes.yaxis, row_names, 30)
        axes.set_xlim(-0.5, table.shape[1] - 0.5)
        axes.set_ylim(table.shape[0] - 0.5, -0.5)
        axes.spines["bottom"].set_visible(False)
        name(axes, x_label, "")
        axes.set_ylabel(y_label)

    return picture(build, title, wide, ((NARROW[0], height), (WIDE[0], height)))


def confusion(counts: npt.ArrayLike, labels: Sequence[object], *, title: str, wide: bool = False) -> str:
    """A confusion matrix: ``counts`` [true, predicted], correct predictions in one colour, mistakes in another.

    The colour of a cell shows its share of the row, so that rare classes are visible too.
    """
    table = np.asarray(counts, np.float64)
    share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    is_correct = np.eye(len(table), dtype=bool)
    # Confusing a tenth of a class is already serious, so the square root makes small shares more visible.
    strength = np.where(is_correct, -share, np.sqrt(share))
    return heat_map(
        table,
        labels,
        labels,
        title=title,
        x_label="predicted",
        y_label="true",
        show=lambda value: f"{value:,.0f}" if value else "",
        strength=strength,
        wide=wide,
    )


def image_grid(
    images: Sequence[npt.ArrayLike],
    labels: Sequence[object] = (),
    *,
    title: str,
    signed: bool | Sequence[bool] = False,
    together: bool = True,
    smallest: int = 64,
) -> str:
    """Small images in rows that wrap, each above its label.

    An image is [height, width], or [height, width, 3] with red, green and blue from 0 to 1. The former is drawn in
    black, or with ``signed`` in one colour for positive and another for negative values; ``signed`` is one flag for
    all images or one for each. NaN is transparent. ``together`` uses one scale for all images instead of one for
    each. ``smallest`` is the minimum width of an image in pixels.
    """
    arrays = [np.nan_to_num(np.asarray(image, np.float64)) for image in images]
    signs = [signed] * len(arrays) if isinstance(signed, bool) else list(signed)
    scales = [_extent(array, is_signed) for array, is_signed in zip(arrays, signs, strict=True)]
    if together and scales:
        scales = [(min(low for low, _ in scales), max(high for _, high in scales))] * len(scales)
    cells = []
    for index, (array, extent, is_signed) in enumerate(zip(arrays, scales, signs, strict=True)):
        label = str(labels[index]) if index < len(labels) else ""
        kind = "photo" if array.ndim == 3 else "signed" if is_signed else "ink"
        source = base64.b64encode(_png(_pixels(array, extent, is_signed))).decode()
        alt = html.escape(f"{title}: {label}" if label else title)
        caption = f"<span>{html.escape(label)}</span>" if label else ""
        cells.append(
            f'<li><img class="{kind}" alt="{alt}" src="data:image/png;base64,{source}"/>{caption}</li>'
        )
    return f'<ul class="images" style="--image:{smallest}px">{"".join(cells)}</ul>'


def _extent(array: npt.NDArray[np.float64], signed: bool) -> tuple[float, float]:
    """The values that are drawn fully transparent and fully opaque."""
    if array.ndim == 3:
        return 0.0, 1.0
    if signed:
        return 0.0, float(np.abs(array).max(initial=0.0))
    return float(array.min(initial=np.inf)), float(array.max(initial=-np.inf))


def _pixels(
    array: npt.NDArray[np.float64], extent: tuple[float, float], signed: bool
) -> npt.NDArray[np.uint8]:
    """RGBA pixels [height, width, 4].

    The lowest value (with ``signed``: 0) is transparent, so that images suit light and dark pages.
    """
    low, high = extent
    pixels = np.zeros((*array.shape[:2], 4), np.uint8)
    if array.ndim == 3:
        pixels[..., :3] = np.round(255 * np.clip(array, 0, 1))
        pixels[..., 3] = 255
        return pixels
    strength = (np.abs(array) if signed else array) - low
    pixels[..., 3] = np.round(255 * np.clip(strength / ((high - low) or 1.0), 0, 1))
    if signed:
        pixels[..., :3] = np.where(array[..., None] > 0, POSITIVE, NEGATIVE)
    return pixels


def _png(pixels: npt.NDArray[np.uint8]) -> bytes:
    load_figure()
    from matplotlib.image import imsave

    content = io.BytesIO()
    imsave(content, pixels, format="png", metadata={"Software": "Glassgrad"}, pil_kwargs={"optimize": True})
    return content.getvalue()
