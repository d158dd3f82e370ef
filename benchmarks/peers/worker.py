"""A peer in a separate process, so that the threads and settings of one library do not affect another.

The process waits for requests. Each names a method of ``Worker``; the answer is its result or an error.
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
ROUND_SECONDS = 0.1  # target duration of one timing ...
MOST_EPOCHS = 200  # ... within a realistic number of epochs
TRIAL_SECONDS, TRIALS = 0.03, 3  # timings that choose among the variants of a peer
SLOW = 1.5  # a variant slower than this multiple of the fastest is not tried again
WARM = 0.5  # seconds: longer epochs need no warm-up epoch


class PeerError(Exception):
    """A peer cannot take part; the message says why."""


class Handle:
    """Starts a worker process and sends it requests."""

    def __init__(self, name: str, threads: int, scratch: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self.name = name
        self._pipe, worker_pipe = context.Pipe()
        # BLAS and OpenMP read their settings when they are loaded, so the child process inherits them.
        original_environment = dict(os.environ)
        os.environ.update(environment(name, threads, scratch))
        self._process = context.Process(target=_serve, args=(name, threads, worker_pipe), daemon=True)
        self._process.start()
        worker_pipe.close()
        os.environ.clear()
        os.environ.update(original_environment)

    def call(self, method: str, *arguments: Any) -> Any:
        """The worker's answer. Raises PeerError if the method failed or the process ended."""
        try:
            self._pipe.send((method, arguments))
            succeeded, answer = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join(5)
            raise PeerError(f"its process ended with status {self._process.exitcode}") from None
        if not succeeded:
            raise PeerError(answer)
        return answer

    def stop(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(5)
        if self._process.is_alive():
            self._process.terminate()


def environment(name: str, threads: int, scratch: Path) -> dict[str, str]:
    """Environment variables: the thread counts of every library, and empty folders for the caches."""
    pools = ("OMP", "MKL", "OPENBLAS", "GLASSGRAD")
    folder = scratch / name.replace(" ", "-")
    folder.mkdir(exist_ok=True)
    caches = {"GLASSGRAD_CACHE": "glassgrad", "TORCHINDUCTOR_CACHE_DIR": "inductor"}
    return {f"{pool}_NUM_THREADS": str(threads) for pool in pools} | {
        variable: str(folder / part) for variable, part in caches.items()
    }


def _serve(name: str, threads: int, pipe: Connection) -> None:
    """Answer requests until the pipe is closed."""
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
            first_line = (str(error) or "no message").splitlines()[0]
            pipe.send((False, f"{type(error).__name__}: {first_line}"))


class Worker:
    """The requests that the process of a peer answers."""

    def __init__(self, name: str, threads: int) -> None:
        if hasattr(os, "sched_setaffinity"):  # XLA uses as many threads as available cores
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
        module, cls, _ = PEERS[name]
        self.peer: Peer = getattr(import_module(module), cls)(threads)
        self.count = self.repeats = 1

    def versions(self) -> dict[str, str]:
        """See ``Peer.versions``."""
        return self.peer.versions()

    def prepare(self, task: Task) -> dict[str, Any]:
        """Choose the fastest variant and the number of epochs of a timing."""
        names = self.peer.variants(task)
        first_epoch, times = {}, dict.fromkeys(names, float("inf"))
        for name in names:
            start = time.perf_counter()
            self.peer.use(task, name)
            self.peer.reset()
            self.peer.epochs(1)
            first_epoch[name] = time.perf_counter() - start
        for _ in range(TRIALS):
            for name in names:
                if SLOW * min(times.values()) < times[name] < float("inf"):
                    continue
                if len(names) > 1:
                    self.peer.use(task, name)
                self.peer.reset()
                if first_epoch[name] < WARM:
                    self.peer.epochs(1)
                times[name] = min(times[name], self._seconds_per_epoch(TRIAL_SECONDS, task.epochs_per_call))
        fastest = min(times, key=times.__getitem__)
        self.peer.use(task, fastest)
        self.count = max(1, min(MOST_EPOCHS, round(ROUND_SECONDS / times[fastest])))
        if self.count > task.epochs_per_call:  # full calls only: another number of epochs would compile again
            self.count -= self.count % task.epochs_per_call
        self.repeats = max(1, round(ROUND_SECONDS / (self.count * times[fastest])))
        compile_times = getattr(self.peer, "compiling", dict)()
        return {
            "variant": fastest,
            "variants": {name: value / task.steps for name, value in times.items()},
            # Libraries compile on first use. The extra time of the first epoch is comparable for all of them.
            "start_seconds": max(0.0, first_epoch[fastest] - times[fastest]),
            "epochs_per_round": self.count,
            **compile_times,
        }

    def _seconds_per_epoch(self, minimum: float, epochs_per_call: int) -> float:
        """Seconds per epoch, over enough calls to take ``minimum`` seconds."""
        count, start = 0, time.perf_counter()
        while True:
            self.peer.epochs(epochs_per_call)
            count += epochs_per_call
            elapsed = time.perf_counter() - start
            if elapsed >= minimum:
                return elapsed / count

    def losses(self, steps: int) -> list[float]:
        """See ``Peer.losses``."""
        return self.peer.losses(steps)

    def measure(self) -> float:
        """Seconds per epoch of one timing, which repeats the training from the initial weights ``repeats`` times."""
        seconds = 0.0
        for _ in range(self.repeats):
            self.peer.reset()
            start = time.perf_counter()
            self.peer.epochs(self.count)
            seconds += time.perf_counter() - start
        return seconds / (self.repeats * self.count)

    def ask(self, method: str, *arguments: Any) -> Any:
        """Call another method of the peer."""
        return getattr(self.peer, method)(*arguments)
