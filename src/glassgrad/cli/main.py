"""The entry point: runs a command, and turns what goes wrong into one line and an exit code.

Exit codes: 0 done; 1 training diverged (or, with a traceback, a bug); 2 something given cannot be used; 130
stopped by Ctrl-C or a signal; 141 the reader of standard output went away. With ``--json`` the last line of
standard output is a JSON object in any case; after a failure it has an entry "error".
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import io
import json
import os
import sys
import time
from collections.abc import Sequence

from glassgrad.cli.interrupts import interruptible
from glassgrad.cli.output import complain
from glassgrad.common.errors import GraphError, InputError

LOADED = time.perf_counter()
STOPPED = 130
PIPE_BROKEN = 141


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command line ``argv`` and return the exit code; by default that of the process, which then ends."""
    start = process_start() if argv is None else time.perf_counter()
    if argv is None:
        _ready_process()
    arguments = list(sys.argv[1:] if argv is None else argv)
    _ready_streams()
    with interruptible():
        code, message = _guarded(arguments, start)
        if message is not None:
            message = complain(message)
            if "--json" in arguments:
                try:
                    print(json.dumps({"error": message, "exit_code": code}), flush=True)
                except OSError:
                    _drop_output()
    if argv is None:
        _leave(code)
    return code


def _guarded(arguments: list[str], start: float) -> tuple[int, str | None]:
    """The exit code, and what to complain about."""
    try:
        from glassgrad.cli.app import execute

        code = execute(arguments, start)
        sys.stdout.flush()
    except (InputError, GraphError) as error:
        return 2, f"error: {error}"
    except KeyboardInterrupt:
        return STOPPED, "stopped; nothing is kept"
    except BrokenPipeError:
        _drop_output()
        return PIPE_BROKEN, None
    except MemoryError as error:
        return 2, f"error: not enough memory ({error or 'no details'}); use less data or a smaller network"
    except OSError as error:
        _drop_output()
        place = f"{error.filename}: " if error.filename else ""
        return 2, f"error: {place}{error.strerror or error}; check the disk, and where the output goes"
    return code, None


def process_start() -> float:
    """When this process began, on the clock of ``time.perf_counter``.

    Linux knows it (to 10 ms). Elsewhere it is when this module was loaded: the start of Python is left out.
    """
    try:
        with open("/proc/self/stat", encoding="utf-8") as file:
            ticks = int(file.read().rpartition(")")[2].split()[19])
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, ValueError, IndexError):
        return LOADED
    return min(LOADED, time.perf_counter() - age)


def _ready_process() -> None:
    """Spare a process that may live for a fifth of a second what is made for longer ones."""
    # The helpers of OpenBLAS begin their life by waiting for work at full speed, which they take from this thread.
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
    # Nearly all that is made while modules are loaded stays: there is nothing to collect.
    gc.set_threshold(1_000_000, 20, 20)


def _leave(code: int) -> None:
    """End the process as it stands: to take every module apart first would take longer than to train on digits."""
    is_watched = sys.gettrace() is not None or sys.getprofile() is not None  # and has things to do at the end
    if not is_watched:
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)


def _ready_streams() -> None:
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by whoever started this process
            setattr(sys, name, io.StringIO())
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a label that the terminal cannot show is no error


def _drop_output() -> None:
    """Point standard output nowhere, so that Python does not complain when it flushes the rest on leaving."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    except (OSError, ValueError):
        pass
