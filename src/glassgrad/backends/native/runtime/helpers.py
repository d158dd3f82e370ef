"""Helper threads for one call of machine code. They end before its memory is freed.

A Python signal handler may run, and raise, between any two bytecode instructions of the main thread. So no Python
code may run between the start and the join of a helper: the machine code itself starts and joins the helpers
(``run_with_helpers`` in ``work_sharing``) through the POSIX functions whose addresses it receives. A system without
POSIX threads (Windows) uses Python threads, started and joined by a thread that no signal handler interrupts.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from threading import Thread

from glassgrad.backends.base import Array
from glassgrad.backends.native.runtime.arguments import CLOSED, WORD
from glassgrad.common import interrupts

Function = Callable[[int, int], object]


@cache
def thread_functions() -> tuple[int, int] | None:
    """The addresses of ``pthread_create`` and ``pthread_join``; None on a system without POSIX threads."""
    try:
        library = ctypes.CDLL(None)
        functions = library.pthread_create, library.pthread_join
    except (AttributeError, OSError, TypeError):
        return None
    create, join = (ctypes.cast(function, ctypes.c_void_p).value for function in functions)
    return (create, join) if create and join else None


def run_on_python_threads(
    run: Function, help_: Function, arena: int, args: Array, helpers: int, memory: object
) -> None:
    """Call ``run(arena, args)``, and ``help_(arena, args)`` on up to ``helpers`` other threads.

    ``memory`` holds references to everything that the addresses point to. An exception that a signal handler
    raises during the call is raised again after it. If an exception escapes earlier, the threads keep running, and
    keep the memory alive until they end.
    """

    def work(memory_reference: object) -> None:
        threads = []
        try:
            for _ in range(helpers):
                thread = Thread(target=help_, args=(arena, args.ctypes.data))
                try:
                    thread.start()
                except RuntimeError:  # the system allows no more threads: go on with those that started
                    break
                threads.append(thread)
            run(arena, args.ctypes.data)
        finally:
            args[WORD] = CLOSED & 2**64 - 1
            for thread in threads:
                thread.join()

    with interrupts.deferred():  # the locks of Python's threads can be interrupted too
        worker = Thread(target=work, args=(memory,))
        try:
            worker.start()
        except RuntimeError:
            run(arena, args.ctypes.data)
            return
        exception: BaseException | None = None
        while worker.is_alive():
            try:
                worker.join()
            except BaseException as error:
                exception = error
        if exception is not None:
            raise exception
