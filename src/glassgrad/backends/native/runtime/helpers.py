"""Threads that help with one call of machine code, and end before its memory does.

Python's signal handlers run between any two instructions of the main thread, and may raise. So Python must not stand
between the start of a helper and its end: the machine code itself starts and joins the helpers (``run_with_helpers``,
see ``sharing``), with the POSIX functions whose addresses it is handed. Where the system has none (Windows), Python
threads help, all of them under a thread that no signal handler interrupts.
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
    """The addresses of ``pthread_create`` and ``pthread_join``; None where the system has no POSIX threads."""
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
    """Call ``run(arena, args)``, and ``help_`` with the same on up to ``helpers`` other threads.

    ``memory`` is what the addresses point to. An exception that a signal handler raises meanwhile is raised when the
    call is over. One that cannot be held back leaves the threads at work, and the memory in place until they end.
    """

    def work(kept: object) -> None:
        threads = []
        try:
            for _ in range(helpers):
                thread = Thread(target=help_, args=(arena, args.ctypes.data))
                try:
                    thread.start()
                except RuntimeError:  # no more threads: those that there are suffice
                    break
                threads.append(thread)
            run(arena, args.ctypes.data)
        finally:
            args[WORD] = CLOSED & 2**64 - 1
            for thread in threads:
                thread.join()

    with interrupts.deferred():  # also from the locks of Python's threads
        worker = Thread(target=work, args=(memory,))
        try:
            worker.start()
        except RuntimeError:
            run(arena, args.ctypes.data)
            return
        raised: BaseException | None = None
        while worker.is_alive():
            try:
                worker.join()
            except BaseException as error:
                raised = error
        if raised is not None:
            raise raised
