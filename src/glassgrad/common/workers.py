"""Threads that take one job after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from queue import Empty, SimpleQueue
from threading import Thread
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from glassgrad.common import interrupts

P = ParamSpec("P")
T = TypeVar("T")
Job = tuple[Future[Any], Callable[[], Any]]

LOOK_AGAIN = 0.05  # seconds: how long a signal waits at most while the main thread waits for jobs


class Workers:
    """``with Workers(count) as workers``: up to ``count`` threads work off what is submitted, in its order.

    A thread that cannot be started is done without; where none can, whoever waits for a job does the work. At the end
    of the block, jobs that have not begun are cancelled, and the threads have ended. Signals are deferred in the
    block (see ``interrupts``), and their handlers called while waiting: Python's locks are no place for an exception.
    """

    def __init__(self, count: int, name: str = "glassgrad") -> None:
        """``name`` is that of the threads."""
        self._count, self._name = count, name
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._threads: list[Thread] = []
        self._deferred = interrupts.deferred()

    def __enter__(self) -> Self:
        self._deferred.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for job in iter(self._next, None):
                job[0].cancel()
            for _ in self._threads:
                self._jobs.put(None)
            for thread in self._threads:
                thread.join()
        finally:
            self._deferred.__exit__(kind, error, trace)

    def submit(self, function: Callable[P, T], *args: P.args, **options: P.kwargs) -> Future[T]:
        """Have ``function(*args, **options)`` called by a thread. Read the result through ``each`` or ``result``."""
        future: Future[T] = Future()
        self._jobs.put((future, lambda: function(*args, **options)))
        if len(self._threads) < self._count:
            thread = Thread(target=self._work, name=self._name)
            try:
                thread.start()
            except RuntimeError:
                self._count = len(self._threads)
            else:
                self._threads.append(thread)
        return future

    def each(self, futures: Iterable[Future[T]]) -> Iterator[Future[T]]:
        """The futures as they end. Raises what the handlers of signals raise."""
        left = set(futures)
        while left:
            if not self._threads and (job := self._next()) is not None:
                _do(job)
            interrupts.poll()
            ended, left = wait(left, LOOK_AGAIN, FIRST_COMPLETED)
            yield from ended

    def result(self, future: Future[T]) -> T:
        """What the job of ``future`` gave, once it has ended; raises what the job, or a signal's handler, raised."""
        for _ in self.each([future]):
            pass
        return future.result()

    def _next(self) -> Job | None:
        try:
            return self._jobs.get_nowait()
        except Empty:
            return None

    def _work(self) -> None:
        for job in iter(self._jobs.get, None):
            _do(job)
            del job  # and what it refers to


def _do(job: Job) -> None:
    future, call = job
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(result)
