"""Helper threads: they end before their memory is freed, whatever Python raises; missing helpers are no error."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from backends.nets import feed, program
from backends.rounding import same_bits
from glassgrad.backends.native import backend as native
from glassgrad.backends.native.backend import NativeBackend, NativeExecutable
from glassgrad.backends.native.runtime import helpers

POSIX = pytest.mark.skipif(helpers.thread_functions() is None, reason="the system has no POSIX threads")


@pytest.fixture(scope="module")
def alone() -> NativeExecutable:
    """A program whose kernels can be shared, on one thread."""
    made = NativeBackend(threads=1, cached=False).compile(program("dense"))
    assert isinstance(made, NativeExecutable)
    assert made.code.parallel
    return made


def check_bits(alone: NativeExecutable, threads: int = 4) -> None:
    given = feed("dense", alone.program)
    shared = NativeExecutable(alone.program, alone.code, threads)
    before = threading.active_count()
    for _ in range(3):
        assert same_bits(alone.run(given), shared.run(given)) == []
    assert threading.active_count() == before


# --- fewer threads than wanted ------------------------------------------------------------------------------


@POSIX
@pytest.mark.parametrize("allowed", [0, 1, 2, 3])
def test_a_helper_that_cannot_start_is_not_waited_for(
    alone: NativeExecutable, allowed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, join = helpers.thread_functions() or (0, 0)
    real = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_void_p] * 4)(create)
    started, asked = [0], [0]

    @ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_void_p] * 4)
    def limited(thread: int, attributes: int, function: int, argument: int) -> int:
        asked[0] += 1
        if started[0] % 3 >= allowed and asked[0] % 3:  # refuses some, takes a later one
            return 11  # EAGAIN
        started[0] += 1
        return int(real(thread, attributes, function, argument)) if allowed else 11

    address = ctypes.cast(limited, ctypes.c_void_p).value
    monkeypatch.setattr(native, "thread_functions", lambda: (address, join))
    check_bits(alone)
    assert asked[0] == 9  # three helpers in each of three calls


@pytest.mark.parametrize("allowed", [0, 1, 2, 3, 99])
def test_python_threads_help_without_posix_threads(
    alone: NativeExecutable, allowed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "thread_functions", lambda: None)
    start, left = threading.Thread.start, [0]

    def limited(self: threading.Thread) -> None:
        if left[0] == 0:
            raise RuntimeError("can't start new thread")
        left[0] -= 1
        start(self)

    monkeypatch.setattr(threading.Thread, "start", limited)
    enter: Callable[..., None] = NativeExecutable._enter

    def counted(self: NativeExecutable, *args: object) -> None:
        left[0] = allowed
        enter(self, *args)

    monkeypatch.setattr(NativeExecutable, "_enter", counted)
    check_bits(alone)


def test_an_error_in_the_call_ends_the_helpers(alone: NativeExecutable) -> None:
    """Simulates a call that fails between the start of the helpers and their end."""
    args = np.zeros(32, np.uint64)
    shared = NativeExecutable(alone.program, alone.code, 3)
    before = threading.active_count()

    def fail(*_: int) -> None:
        raise MemoryError

    hook, threading.excepthook = threading.excepthook, lambda _: None
    try:
        helpers.run_on_python_threads(fail, shared._help, 0, args, 2, args)
    finally:
        threading.excepthook = hook
    assert threading.active_count() == before


# --- exceptions between any two instructions ----------------------------------------------------------------

EVERYWHERE = """
import os, sys, threading, time
from backends.nets import feed, program
from backends.rounding import same_bits
from glassgrad.backends.native import backend as native
from glassgrad.backends.native.backend import NativeBackend, NativeExecutable

if {python_threads}:
    native.thread_functions = lambda: None
alone = NativeBackend(threads=1, cached=False).compile(program("dense"))
shared = NativeExecutable(alone.program, alone.code, 3)
given = feed("dense", alone.program)
wanted = alone.run(given)
quiet = len(os.listdir("/proc/self/task"))  # threads
FILES = ("backend.py", "helpers.py")

def interrupted(at):
    "Run once, with KeyboardInterrupt before instruction number ``at`` of the traced functions; whether it came."
    count = 0

    def trace(frame, event, _):
        nonlocal count
        if frame.f_code.co_filename.rpartition("/")[2] not in FILES or frame.f_code.co_name == "fill":
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            count += 1
            if count == at:
                raise KeyboardInterrupt
        return trace

    sys.settrace(trace)
    try:
        shared.run(given)
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(None)
    return count >= at

def threads():
    return len(os.listdir("/proc/self/task"))

at = 1
while interrupted(at):
    deadline = time.monotonic() + 20
    while threads() > quiet and time.monotonic() < deadline:
        time.sleep(0.001)
    assert threads() == quiet, f"instruction {{at}}: a helper is left"
    at += 1
    if at % 5 == 1:
        assert same_bits(wanted, shared.run(given)) == []
assert same_bits(wanted, shared.run(given)) == []
print(at)
"""


@pytest.mark.skipif(
    not Path("/proc/self/task").is_dir(), reason="the threads are counted as Linux lists them"
)
@pytest.mark.parametrize("python_threads", [False, True])
def test_an_exception_between_any_two_instructions_leaves_no_helper_and_no_wrong_bit(
    python_threads: bool,
) -> None:
    script = EVERYWHERE.format(python_threads=python_threads)
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])},
        timeout=100,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100, "hardly any instruction was traced"
