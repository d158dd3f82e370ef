"""The function ``shuffle``: draws the row orders of epochs in machine code, bit for bit as ``epoch_order`` does.

For a small network, NumPy takes about as long to draw the order of an epoch as training takes for the epoch.

The algorithm is the shuffle of R. Fisher and F. Yates (1938). Philox4x64-10 (J. Salmon et al., 2011) gives four words
of 64 bits for each value of a counter. Their halves, the lower one first, choose the positions to swap. Of each half,
only as many bits are used as the last position has; a result past the last position is rejected.

``shuffle(args)`` reads the words that ``runtime.arguments`` describes.
"""

from __future__ import annotations

from glassgrad.backends.native.ir.function import Function
from glassgrad.backends.native.ir.types import Reg, vector
from glassgrad.backends.native.runtime.arguments import (
    EPOCH,
    EPOCHS,
    KEY,
    LENGTH,
    ORDER,
    ORDER_ROWS,
    ORDER_SLACK,
    STREAM,
)

MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
WEYL = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
ROUNDS = 10
BLOCKS = 64  # values of the counter per refill: they are independent of one another
HALVES = 8  # words of 32 bits per value of the counter


def emit_shuffle() -> Function:
    """Emit ``shuffle``: it writes the orders one after another, each padded with 0 to its length."""
    f = Function("shuffle", [("ptr", "args")], attributes="nounwind")
    args = Reg("%args", "ptr")
    rows, length, epoch, count = (
        f.load("i64", f.at(args, "i64", place), 8) for place in (ORDER_ROWS, LENGTH, EPOCH, EPOCHS)
    )
    key = [f.load("i64", f.at(args, "i64", place), 8) for place in (KEY, STREAM)]
    start = f.load("ptr", f.at(args, "i64", ORDER), 8)
    words = f.alloca("i32", BLOCKS * HALVES)
    position, counter, used, drawn = (f.alloca("i64") for _ in range(4))
    mask = f.alloca("i32")
    with f.loop(count) as number:
        order = f.at(start, "i32", f.mul(number, length))
        _identity_order(f, order, rows, length)
        last = f.sub(rows, 1)
        f.store(last, position, 8)
        f.store(f.number("i64", 1), counter, 8)
        f.store(_ones(f, f.cast("trunc", last, "i32")), mask)
        with f.when(f.compare("ugt", rows, 1)):
            f.raw("br label %refill")

            f.start_block("refill")
            left, first = f.load("i64", position, 8), f.load("i64", counter, 8)
            expected = f.add(f.lshr(f.mul(left, 3), 4), 1)  # a little more than 1.4 words per position
            blocks = f.intrinsic("umin", expected, f.number("i64", BLOCKS))
            with f.loop(blocks) as b:
                block_words = _philox(f, f.add(first, b), f.add(epoch, number), key)
                for n, word in enumerate(block_words):
                    f.store(word, f.at(words, "i64", f.add(f.mul(b, len(block_words)), n)), 8)
            f.store(f.add(first, blocks), counter, 8)
            f.store(f.number("i64", 0), used, 8)
            f.store(f.mul(blocks, HALVES), drawn, 8)
            f.raw("br label %change")

            # A word past the last position is rejected without a branch: the position is swapped with itself.
            f.start_block("change")
            i, p, bits = f.load("i64", position, 8), f.load("i64", used, 8), f.load("i32", mask)
            chosen = f.cast("zext", f.and_(f.load("i32", f.at(words, "i32", p)), bits), "i64")
            accepted = f.compare("ule", chosen, i)
            last_pointer = f.at(order, "i32", i)
            chosen_pointer = f.at(order, "i32", f.select(accepted, chosen, i))
            last_row, chosen_row = f.load("i32", last_pointer), f.load("i32", chosen_pointer)
            f.store(chosen_row, last_pointer)
            f.store(last_row, chosen_pointer)
            next_position, next_word = f.sub(i, f.cast("zext", accepted, "i64")), f.add(p, 1)
            f.store(next_position, position, 8)
            f.store(next_word, used, 8)
            same_mask = f.compare("ugt", next_position, f.cast("zext", f.lshr(bits, 1), "i64"))
            more_words = f.compare("ult", next_word, f.load("i64", drawn, 8))
            f.raw(f"br i1 {f.and_(same_mask, more_words).text}, label %change, label %look")

            f.start_block("look")
            left = f.load("i64", position, 8)
            f.store(_ones(f, f.cast("trunc", left, "i32")), mask)
            f.raw(f"br i1 {f.compare('eq', left, 0).text}, label %ready, label %go_on")
            f.start_block("go_on")
            empty = f.compare("eq", f.load("i64", used, 8), f.load("i64", drawn, 8))
            f.raw(f"br i1 {empty.text}, label %refill, label %change")
            f.start_block("ready")
    return f


def _ones(f: Function, number: Reg) -> Reg:
    """A mask of all bits up to the highest set bit of ``number``."""
    for shift in (1, 2, 4, 8, 16):
        number = f.or_(number, f.lshr(number, shift))
    return number


def _identity_order(f: Function, order: Reg, rows: Reg, length: Reg) -> None:
    """Store 0, 1, 2, ... up to ``rows`` - 1, then 0 up to ``length``."""
    kind = vector("i32", ORDER_SLACK)
    end = f.splat(f.cast("trunc", rows, "i32"), ORDER_SLACK)
    with f.loop(length, step=ORDER_SLACK) as i:
        row = f.binary("add", f.splat(f.cast("trunc", i, "i32"), ORDER_SLACK), f.iota("i32", ORDER_SLACK))
        f.store(f.select(f.compare("ult", row, end), row, f.number(kind, 0)), f.at(order, "i32", i))


def _philox(f: Function, low: Reg, high: Reg, key: list[Reg]) -> list[Reg]:
    """Philox4x64-10 of the counter (low, 0, 0, high)."""
    a, b, c, d = low, f.number("i64", 0), f.number("i64", 0), high
    for round_number in range(ROUNDS):
        k = [f.add(word, round_number * weyl % 2**64) for word, weyl in zip(key, WEYL, strict=True)]
        (low0, high0), (low1, high1) = _wide(f, a, MULTIPLIERS[0]), _wide(f, c, MULTIPLIERS[1])
        a, b, c, d = f.xor(f.xor(high1, b), k[0]), low1, f.xor(f.xor(high0, d), k[1]), low0
    return [a, b, c, d]


def _wide(f: Function, a: Reg, b: int) -> tuple[Reg, Reg]:
    """The lower and the upper word of the 128-bit product ``a`` * ``b``."""
    product = f.binary("mul", f.cast("zext", a, "i128"), b)
    return f.cast("trunc", product, "i64"), f.cast("trunc", f.lshr(product, 64), "i64")
