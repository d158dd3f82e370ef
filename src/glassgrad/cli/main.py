"""The entry point: runs a command, and turns an error into one line and an exit code.

Exit codes: 0 success; 1 training diverged (or, with a traceback, a bug); 2 invalid input; 3 ``diagnose`` confirmed
a fault; 130 stopped by Ctrl-C or a signal; 141 the reader of standard output closed it. With ``--json`` the last
line of standard output is always a JSON object; after a failure it has an entry "error".
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
from glassgrad.cli.output import print_notice
from glassgrad.common.errors import GraphError, InputError

LOADED = time.perf_counter()
STOPPED = 130
PIPE_BROKEN = 141


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command line ``argv`` and return the exit code.

    By default this is the command line of the process, and the process then ends with the exit code.
    """
    start = process_start() if argv is None else time.perf_counter()
    if argv is None:
        _tune_process()
    arguments = list(sys.argv[1:] if argv is None else argv)
    _prepare_streams()
    with interruptible():
        code, message = _execute(arguments, start)
        if message is not None:
            message = print_notice(message)
            if "--json" in arguments:
                try:
                    print(json.dumps({"error": message, "exit_code": code}), flush=True)
                except OSError:
                    _drop_output()
    if argv is None:
        _end_process(code)
    return code


def _execute(arguments: list[str], start: float) -> tuple[int, str | None]:
    """Run the command; returns the exit code, and the message for standard error or None."""
    try:
        from glassgrad.cli.app import execute

        code = execute(arguments, start)
        sys.stdout.flush()
    except (InputError, GraphError) as error:
        return 2, f"error: {error}"
    except KeyboardInterrupt:
        return STOPPED, "stopped; nothing was saved"
    except BrokenPipeError:
        _drop_output()
        return PIPE_BROKEN, None
    except MemoryError as error:
        return 2, f"error: not enough memory ({error or 'no details'}); use less data or a smaller network"
    except OSError as error:
        _drop_output()
        path = f"{error.filename}: " if error.filename else ""
        return 2, f"error: {path}{error.strerror or error}; check the disk, and where the output goes"
    return code, None


def process_start() -> float:
    """The start time of this process, in seconds of ``time.perf_counter``.

    Linux reports it with a resolution of 10 ms. Elsewhere it is the time at which this module was loaded, so the
    start-up time of Python is not counted.
    """
    try:
        with open("/proc/self/stat", encoding="utf-8") as file:
            ticks = int(file.read().rpartition(")")[2].split()[19])
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, ValueError, IndexError):
        return LOADED
    return min(LOADED, time.perf_counter() - age)


def _tune_process() -> None:
    """Set OpenBLAS and the garbage collector for a process that may live for only 0.2 seconds."""
    # OpenBLAS threads spin while they wait for their first work. That takes processor time from this thread.
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
    # Objects created while modules load almost all stay alive, so collecting garbage would find nothing.
    gc.set_threshold(1_000_000, 20, 20)


def _end_process(code: int) -> None:
    """End the process without unloading its modules, which would take longer than a training on digits."""
    # A debugger, profiler or coverage tool writes its results when Python ends normally.
    is_traced = sys.gettrace() is not None or sys.getprofile() is not None
    if not is_traced:
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)


def _prepare_streams() -> None:
    """Make sure that both output streams exist, and that no character raises an error on them."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by the parent process
            setattr(sys, name, io.StringIO())
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(
                errors="backslashreplace"
            )  # a label may hold characters that the terminal lacks


def _drop_output() -> None:
    """Redirect standard output to the null device, so that flushing it at exit raises no error."""
    try:
        null_device = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null_device, sys.stdout.fileno())
        os.close(null_device)
    except (OSError, ValueError):
        pass
