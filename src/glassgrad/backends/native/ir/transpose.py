"""Transposes of small matrices in registers, by shuffles."""

from __future__ import annotations

from glassgrad.backends.native.ir.function import Function
from glassgrad.backends.native.ir.types import Reg


def transpose(f: Function, pieces: list[Reg]) -> list[Reg]:
    """The transpose of ``pieces`` (of 1, 2 or 4 lanes): one vector per lane of a piece.

    Processors shuffle cheaply only within 16 bytes. So row i is loaded into the 16-byte part i // size of register
    i % size; then each part is transposed as a square.
    """
    size = pieces[0].lanes
    return _transpose_squares(f, [_join(f, pieces[i::size]) for i in range(size)])


def transpose_back(f: Function, columns: list[Reg]) -> list[Reg]:
    """The inverse of ``transpose``: the rows, as pieces of ``len(columns)`` (1, 2 or 4) lanes."""
    size = len(columns)
    block = _transpose_squares(f, columns)
    return [
        f.shuffle(block[i % size], range(i // size * size, (i // size + 1) * size))
        for i in range(columns[0].lanes)
    ]


def _transpose_squares(f: Function, block: list[Reg]) -> list[Reg]:
    """The transpose of each square of ``len(block)`` (1, 2 or 4) registers x as many neighbouring lanes."""
    size, parts = len(block), block[0].lanes // len(block)

    def halves(a: Reg, b: Reg, unit: int) -> list[Reg]:
        """The low halves of all parts, interleaved in runs of ``unit`` lanes; and the high halves likewise."""
        shuffled = []
        for start in (0, size // 2):
            order: list[int] = []
            for part in range(parts):
                for run in range(0, size // 2, unit):
                    first = part * size + start + run
                    order += [*range(first, first + unit), *range(a.lanes + first, a.lanes + first + unit)]
            shuffled.append(f.shuffle(a, order, b))
        return shuffled

    if size == 2:
        block = halves(block[0], block[1], 1)
    elif size == 4:
        (a, b), (c, d) = halves(block[0], block[1], 1), halves(block[2], block[3], 1)
        block = halves(a, c, 2) + halves(b, d, 2)
    return block


def _join(f: Function, parts: list[Reg]) -> Reg:
    """Concatenate short vectors (a power of two of them) into one."""
    while len(parts) > 1:
        pairs = zip(parts[::2], parts[1::2], strict=True)
        parts = [f.shuffle(low, range(2 * low.lanes), high) for low, high in pairs]
    return parts[0]
