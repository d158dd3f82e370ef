"""What the machine itself can do: independent multiply-adds in registers, on one thread and on several."""

from __future__ import annotations

import time
from threading import Thread

from products import Peak

UNITS, BURSTS = 400, 5


class Limits:
    """A pure multiply-add loop, written for the vectors of this machine."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.peaks = [Peak() for _ in range(threads)]

    def versions(self) -> dict[str, str]:
        """None of its own."""
        return {}

    def peak(self) -> dict[str, float]:
        """GFLOP/s on one thread and on all: the best of a few short bursts."""
        return {"one": max(self._rate(1) for _ in range(BURSTS)), "all": max(self._rate() for _ in range(BURSTS))}

    def _rate(self, threads: int | None = None) -> float:
        peaks = self.peaks[:threads]
        others = [Thread(target=peak.run, args=(UNITS,)) for peak in peaks[1:]]
        start = time.perf_counter()
        for thread in others:
            thread.start()
        peaks[0].run(UNITS)
        for thread in others:
            thread.join()
        return len(peaks) * UNITS * peaks[0].flops / (time.perf_counter() - start) / 1e9
