"""A thread pool that lets signals interrupt the wait for its jobs."""

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

POLL_SECONDS = 0.05  # the longest delay of a signal while the main thread waits for jobs


class Workers:
    """``with Workers(count) as workers``: up to ``count`` threads run the submitted jobs in order of submission.

    If a thread cannot be started, the pool works with fewer threads. If none can, the thread that waits for a job
    runs the jobs. Leaving the block cancels the jobs that have not begun, and waits for the threads to end. Signals
    are deferred in the block (see ``interrupts``), because an exception inside Python's lock code may leave a lock
    held. Their handlers run in ``each`` and ``result``.
    """

    def __init__(self, count: int, name: str = "glassgrad") -> None:
        """Create a pool of at most ``count`` threads, each called ``name``."""
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
        """Queue the call ``function(*args, **options)``. Wait for it with ``each`` or ``result``."""
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
        """The futures in order of completion. Raises what a signal handler raises."""
        pending = set(futures)
        while pending:
            if not self._threads and (job := self._next()) is not None:
                _do(job)
            interrupts.poll()
            done, pending = wait(pending, POLL_SECONDS, FIRST_COMPLETED)
            yield from done

    def result(self, future: Future[T]) -> T:
        """Wait for ``future`` and return its result. Raises what the job or a signal handler raises."""
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
            del job  # release its objects before waiting for the next job


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
