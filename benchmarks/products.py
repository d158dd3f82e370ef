"""Matrix products of the native backend beside NumPy and the peak rate of multiply-adds, on one thread.

    python benchmarks/products.py [--rounds 31] [--only 32x64x32] [--machine avx2] [--plans]

Shapes are m x k x n. A form such as TN says whether A and B are stored transposed. The time includes packing. Rounds
are interleaved and the table has medians, because the load of a shared machine varies.
"""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np

from glassgrad.backends.native.ir.compiler import compile_text
from glassgrad.backends.native.ir.function import Function
from glassgrad.backends.native.ir.types import Reg, vector
from glassgrad.backends.native.plan.tiling import Product, ProductPlan, plan_product
from glassgrad.backends.native.products.operands import Operands
from glassgrad.backends.native.products.tiles import Tile, emit_pack, emit_product
from glassgrad.backends.native.runtime.machine import Library, Machine, machine

SHAPES = [  # m, k, n, forms: a dense layer's forward, input gradient and weight gradient
    (32, 64, 32, "NN NT TN"),
    (32, 32, 10, "NN NT TN"),
    (32, 10, 32, "NT"),
    (64, 32, 32, "TN"),
    (32, 64, 64, "NN NT TN"),
    (1, 64, 64, "NN"),
    (64, 784, 128, "NN NT TN"),
    (784, 64, 128, "TN"),
    (128, 784, 512, "NN"),
    (128, 512, 512, "NN NT"),
    (512, 128, 512, "TN"),
    (512, 1024, 1024, "NN NT TN"),
    (1024, 512, 1024, "TN"),
    (10000, 4, 32, "NN"),
    (10000, 32, 16, "NN"),
    (4, 10000, 32, "TN"),
    (32, 10000, 16, "TN"),
    (32, 64, 1, "NN"),
]


def aligned(values: np.ndarray) -> np.ndarray:
    """A copy that starts on a cache line, with one more readable cache line behind it."""
    raw = np.zeros(values.nbytes + 128, np.uint8)
    start = -raw.ctypes.data % 64
    copy = raw[start : start + values.nbytes].view(values.dtype).reshape(values.shape)
    copy[...] = values
    return copy


def storing(f: Function, c: Reg, n: int) -> Callable[[Tile], None]:
    """The simplest epilogue: store the tile."""

    def finish(tile: Tile) -> None:
        for i, values in enumerate(tile.values):
            row = f.at(c, "float", f.add(f.mul(f.add(tile.row, i), n), tile.column))
            for (offset, _, mask), value in zip(tile.vectors, values, strict=True):
                if mask is None:
                    f.store(value, f.at(row, "float", offset))
                else:
                    f.masked_store(value, f.at(row, "float", offset), mask)

    return finish


class Native:
    """One compiled product. The compiled code repeats it many times in one call."""

    def __init__(self, plan: ProductPlan, a: np.ndarray, b: np.ndarray, target: Machine) -> None:
        product = plan.product
        f = Function("once", [("ptr noalias", name) for name in "abcs"], attributes="noinline")
        registers = [Reg(f"%{name}", "ptr") for name in "abcs"]
        operands = Operands(registers[0], registers[1], registers[3])
        emit_pack(f, plan, operands)
        emit_product(f, plan, operands, storing(f, registers[2], product.n))
        g = Function("many", [("ptr", name) for name in "abcs"] + [("i64", "times")])
        with g.loop(Reg("%times", "i64")):
            g.raw("call void @once(ptr %a, ptr %b, ptr %c, ptr %s)")
        start = time.perf_counter()
        text = "\n".join([f.text(), g.text(), *sorted(f.declared)])
        code = compile_text(text, target)
        self.milliseconds = (time.perf_counter() - start) * 1000
        self.library = Library(code)
        self.call = self.library.function("many", 5)
        self.c = aligned(np.zeros((product.m, product.n), np.float32))
        self.arrays = [aligned(a), aligned(b), self.c, aligned(np.zeros(plan.scratch_bytes + 64, np.uint8))]

    def run(self, times: int) -> None:
        self.call(*[array.ctypes.data for array in self.arrays], times)


class Peak:
    """Independent multiply-adds in registers: the peak rate of the machine."""

    accumulators, turns = 12, 1000

    def __init__(self, target: Machine) -> None:
        lanes = target.vector_bytes // 4
        self.flops = 2 * lanes * self.accumulators * self.turns
        f = Function("peak", [("ptr", "x"), ("i64", "times")])
        kind = vector("float", lanes)
        x = Reg("%x", "ptr")
        count = f.mul(Reg("%times", "i64"), self.turns)
        start = [f.load(kind, f.at(x, "float", i * lanes)) for i in range(self.accumulators)]
        factor, term = f.load(kind, x), f.load(kind, x)
        with f.loop_with(start, count) as (_, sums):
            sums[:] = [f.muladd(item, factor, term) for item in sums]
        for i, item in enumerate(sums):
            f.store(item, f.at(x, "float", i * lanes))
        self.library = Library(compile_text(f.text(), target))
        self.call = self.library.function("peak", 2)
        self.data = aligned(np.zeros(self.accumulators * lanes, np.float32))

    def run(self, times: int) -> None:
        self.call(self.data.ctypes.data, times)


def seconds(run: Callable[[int], None], times: int) -> float:
    """Seconds per call, over ``times`` calls."""
    start = time.perf_counter()
    run(times)
    return (time.perf_counter() - start) / times


def repeated(call: Callable[[], object]) -> Callable[[int], None]:
    """A function that calls ``call`` the given number of times."""

    def run(times: int) -> None:
        for _ in range(times):
            call()

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--only", default="", help="only products whose shape and form contain this")
    parser.add_argument("--machine", default="host", choices=["host", "avx512", "avx2", "sse2"])
    parser.add_argument("--plans", action="store_true", help="print the plan of each product")
    options = parser.parse_args()
    random = np.random.default_rng(0)
    target = machine(options.machine)
    peak = Peak(target)
    print(f"{target.name}, {target.cpu}")
    print(f"{'shape':>16} form  native   NumPy    peak  of peak  of NumPy  compile    (GFLOP/s, medians)")
    for m, k, n, forms in SHAPES:
        for form in forms.split():
            name = f"{m}x{k}x{n} {form}"
            if options.only not in name:
                continue
            left, right = random.standard_normal((2, max(m, k, n) ** 2)).astype(np.float32)
            a = left[: m * k].reshape((k, m) if form[0] == "T" else (m, k))
            b = right[: n * k].reshape((n, k) if form[1] == "T" else (k, n))
            x, y = (a.T if form[0] == "T" else a), (b.T if form[1] == "T" else b)
            plan = plan_product(
                Product(m, n, k, "float", form[0] == "T", form[1] == "T"), target.vector_bytes
            )
            native = Native(plan, a, b, target)
            native.run(1)
            out = np.matmul(x, y)
            limit = k * np.finfo(np.float32).eps * (np.abs(x) @ np.abs(y))
            assert (np.abs(native.c - out) <= 2 * limit).all(), name
            flops = 2 * m * n * k
            times = max(1, round(5e7 / flops))  # short samples are rarely interrupted
            numpy_run = repeated(lambda x=x, y=y, out=out: np.matmul(x, y, out=out))
            runs = [
                (native.run, times, flops),
                (numpy_run, times, flops),
                (peak.run, 130, peak.flops),
            ]
            rates = [
                [work / seconds(run, count) / 1e9 for run, count, work in runs] for _ in range(options.rounds)
            ]
            native_rate, numpy_rate, peak_rate = (
                statistics.median(column) for column in zip(*rates, strict=True)
            )
            print(
                f"{m:>6}x{k}x{n}".rjust(16)
                + f"  {form} {native_rate:7.1f} {numpy_rate:7.1f} {peak_rate:7.1f}  "
                f"{native_rate / peak_rate:6.0%}   {native_rate / numpy_rate:6.2f}x  {native.milliseconds:5.1f} ms"
            )
            if options.plans:
                print(f"{'':16}  {plan}")


if __name__ == "__main__":
    main()
