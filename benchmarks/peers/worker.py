"""A peer in a process of its own, so that no library's threads or settings disturb another's.

The process waits for requests, each a method of ``Worker``, and answers with its result or with the error.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
import traceback
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from peers.task import Peer, Task

PEERS = {  # name: module, class, the package without which it is skipped
    "Glassgrad": ("peers.with_glassgrad", "Glassgrad", "glassgrad"),
    "NumPy": ("peers.with_numpy", "Numpy", "numpy"),
    "scikit-learn": ("peers.with_sklearn", "ScikitLearn", "sklearn"),
    "PyTorch": ("peers.with_torch", "Eager", "torch"),
    "torch.compile": ("peers.with_torch", "Compiled", "torch"),
    "JAX step": ("peers.with_jax", "Step", "jax"),
    "JAX scan": ("peers.with_jax", "Scan", "jax"),
    "limits": ("peers.limits", "Limits", "glassgrad"),
}
ROUND_SECONDS = 0.1  # what one timing lasts, if the epochs allow it ...
MOST_EPOCHS = 200  # ... but no longer than people train
TRIAL_SECONDS, TRIALS = 0.03, 3  # to choose among a peer's variants
SLOW = 1.5  # times the fastest: a variant that is not tried again
WARM = 0.5  # seconds: an epoch that needs no other one to warm up for it


class PeerError(Exception):
    """A peer that cannot take part, and why."""


class Handle:
    """The other end of a worker."""

    def __init__(self, name: str, threads: int, scratch: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self.name = name
        self._pipe, far = context.Pipe()
        # Inherited by the child: BLAS and OpenMP read their settings when they are loaded.
        before = dict(os.environ)
        os.environ.update(environment(name, threads, scratch))
        self._process = context.Process(target=_serve, args=(name, threads, far), daemon=True)
        self._process.start()
        far.close()
        os.environ.clear()
        os.environ.update(before)

    def call(self, method: str, *arguments: Any) -> Any:
        """The worker's answer; raises PeerError with the reason where there is none."""
        try:
            self._pipe.send((method, arguments))
            fine, answer = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join(5)
            raise PeerError(f"its process ended with status {self._process.exitcode}") from None
        if not fine:
            raise PeerError(answer)
        return answer

    def stop(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(5)
        if self._process.is_alive():
            self._process.terminate()


def environment(name: str, threads: int, scratch: Path) -> dict[str, str]:
    """The thread counts as every library reads them, and empty folders for all that is kept between runs."""
    pools = ("OMP", "MKL", "OPENBLAS", "GLASSGRAD")
    folder = scratch / name.replace(" ", "-")
    folder.mkdir(exist_ok=True)
    caches = {"GLASSGRAD_CACHE": "glassgrad", "TORCHINDUCTOR_CACHE_DIR": "inductor"}
    return {f"{pool}_NUM_THREADS": str(threads) for pool in pools} | {
        variable: str(folder / part) for variable, part in caches.items()
    }


def _serve(name: str, threads: int, pipe: Connection) -> None:
    worker = None
    while True:
        try:
            method, arguments = pipe.recv()
        except (EOFError, KeyboardInterrupt):
            return
        try:
            worker = worker or Worker(name, threads)
            pipe.send((True, getattr(worker, method)(*arguments)))
        except KeyboardInterrupt:
            return
        except Exception as error:
            if not isinstance(error, ImportError):
                traceback.print_exc(file=sys.stderr)
            first = (str(error) or "no message").splitlines()[0]
            pipe.send((False, f"{type(error).__name__}: {first}"))


class Worker:
    """What a peer's process can be asked for."""

    def __init__(self, name: str, threads: int) -> None:
        if hasattr(os, "sched_setaffinity"):  # XLA takes as many threads as there are cores to run on
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
        module, cls, _ = PEERS[name]
        self.peer: Peer = getattr(import_module(module), cls)(threads)
        self.count = self.repeats = 1

    def versions(self) -> dict[str, str]:
        """The libraries in use."""
        return self.peer.versions()

    def prepare(self, task: Task) -> dict[str, Any]:
        """Try the variants, settle on the fastest, and on how many epochs a timing has."""
        names = self.peer.variants(task)
        starts, times = {}, dict.fromkeys(names, float("inf"))
        for name in names:
            start = time.perf_counter()
            self.peer.use(task, name)
            self.peer.reset()
            self.peer.epochs(1)
            starts[name] = time.perf_counter() - start
        for _ in range(TRIALS):
            for name in names:
                if SLOW * min(times.values()) < times[name] < float("inf"):
                    continue
                if len(names) > 1:
                    self.peer.use(task, name)
                self.peer.reset()
                if starts[name] < WARM:
                    self.peer.epochs(1)
                times[name] = min(times[name], self._seconds_per_epoch(TRIAL_SECONDS, task.epochs_per_call))
        chosen = min(times, key=times.__getitem__)
        self.peer.use(task, chosen)
        self.count = max(1, min(MOST_EPOCHS, round(ROUND_SECONDS / times[chosen])))
        if self.count > task.epochs_per_call:  # whole calls: another number of epochs would be compiled anew
            self.count -= self.count % task.epochs_per_call
        self.repeats = max(1, round(ROUND_SECONDS / (self.count * times[chosen])))
        extra = getattr(self.peer, "compiling", dict)()
        return {
            "variant": chosen,
            "variants": {name: value / task.steps for name, value in times.items()},
            # The libraries compile on first use; all alike: what the first epoch took beyond a usual one.
            "start_seconds": max(0.0, starts[chosen] - times[chosen]),
            "epochs_per_round": self.count,
            **extra,
        }

    def _seconds_per_epoch(self, least: float, together: int) -> float:
        count, start = 0, time.perf_counter()
        while True:
            self.peer.epochs(together)
            count += together
            spent = time.perf_counter() - start
            if spent >= least:
                return spent / count

    def losses(self, steps: int) -> list[float]:
        """See ``Peer.losses``."""
        return self.peer.losses(steps)

    def measure(self) -> float:
        """Seconds per epoch of one timing: trainings from the first weights, as many as fill it."""
        seconds = 0.0
        for _ in range(self.repeats):
            self.peer.reset()
            start = time.perf_counter()
            self.peer.epochs(self.count)
            seconds += time.perf_counter() - start
        return seconds / (self.repeats * self.count)

    def ask(self, method: str, *arguments: Any) -> Any:
        """Any other method of the peer."""
        return getattr(self.peer, method)(*arguments)
