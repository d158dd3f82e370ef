"""Peak rate of the machine: independent multiply-adds in registers, on one thread and on several."""

from __future__ import annotations

import time
from threading import Thread

import numpy as np

from glassgrad.backends.native.ir.compiler import compile_text
from glassgrad.backends.native.ir.function import Function
from glassgrad.backends.native.ir.types import Reg, vector
from glassgrad.backends.native.runtime.machine import Library, host

ACCUMULATORS, TURNS, BURSTS = 24, 400_000, 5  # enough accumulators to hide the latency of an addition


class Limits:
    """A loop of multiply-adds on vectors of the machine's width."""

    def __init__(self, threads: int) -> None:
        self.threads, lanes = threads, host().vector_bytes // 4
        kind = vector("float", lanes)
        f = Function("peak", [("ptr", "x"), ("i64", "turns")])
        x = Reg("%x", "ptr")
        start = [f.load(kind, f.at(x, "float", i * lanes)) for i in range(ACCUMULATORS)]
        factor, term = f.load(kind, x), f.load(kind, x)
        with f.loop_with(start, Reg("%turns", "i64")) as (_, sums):
            sums[:] = [f.muladd(item, factor, term) for item in sums]
        for i, item in enumerate(sums):
            f.store(item, f.at(x, "float", i * lanes))
        self.library = Library(compile_text(f.text(), host()))
        self.call = self.library.function("peak", 2)
        self.data = np.zeros((threads, ACCUMULATORS * lanes), np.float32)
        self.flops = 2 * lanes * ACCUMULATORS * TURNS

    def versions(self) -> dict[str, str]:
        """No library."""
        return {}

    def peak(self) -> dict[str, float]:
        """GFLOP/s on one thread and on all threads: the best of a few short bursts."""
        counts = {"one": 1, "all": self.threads}
        return {name: max(self._rate(count) for _ in range(BURSTS)) for name, count in counts.items()}

    def _rate(self, threads: int) -> float:
        jobs = [Thread(target=self.call, args=(row.ctypes.data, TURNS)) for row in self.data[:threads]]
        start = time.perf_counter()
        for job in jobs:
            job.start()
        for job in jobs:
            job.join()
        return threads * self.flops / (time.perf_counter() - start) / 1e9
