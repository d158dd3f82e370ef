"""The thread pool: no thread survives the block, and jobs run even if no thread can start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from glassgrad.common.workers import Workers


def refuse_threads(monkeypatch: pytest.MonkeyPatch, allowed: int) -> None:
    """Let the process start at most ``allowed`` more threads."""
    start, left = threading.Thread.start, [allowed]

    def limited(self: threading.Thread) -> None:
        if not left[0]:
            raise RuntimeError("can't start new thread")
        left[0] -= 1
        start(self)

    monkeypatch.setattr(threading.Thread, "start", limited)


@pytest.mark.parametrize("allowed", [0, 1, 2, 99])
def test_all_jobs_run_however_many_threads_can_be_started(
    allowed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_threads(monkeypatch, allowed)
    before = threading.active_count()
    with Workers(3) as workers:
        futures = [workers.submit(pow, number, 2) for number in range(20)]
        assert threading.active_count() <= before + min(allowed, 3)
        assert sorted(future.result() for future in workers.each(futures)) == [n * n for n in range(20)]
    assert threading.active_count() == before


def test_result_raises_the_exception_of_the_job() -> None:
    with Workers(1) as workers:
        wrong, right = workers.submit(int, "x"), workers.submit(int, "3")
        with pytest.raises(ValueError, match="invalid literal"):
            workers.result(wrong)
        assert workers.result(right) == 3


def test_an_exception_cancels_pending_jobs_and_waits_for_running_ones() -> None:
    begun, ended = threading.Event(), []

    def slow(number: int) -> None:
        begun.set()
        time.sleep(0.05)
        ended.append(number)

    before = threading.active_count()
    futures = []

    def work() -> None:
        with Workers(1) as workers:
            futures.extend(workers.submit(slow, number) for number in range(50))
            begun.wait()
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        work()
    assert threading.active_count() == before
    assert 1 <= len(ended) < 50
    assert futures[-1].cancelled()


def test_ctrl_c_interrupts_the_wait_for_jobs() -> None:
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    over = threading.Event()
    before = threading.active_count()

    def work() -> None:
        with Workers(1) as workers:
            future = workers.submit(over.wait)
            signal.raise_signal(signal.SIGINT)
            try:
                workers.result(future)
            finally:
                over.set()

    try:
        with pytest.raises(KeyboardInterrupt):
            work()
    finally:
        signal.signal(signal.SIGINT, handler)
    assert threading.active_count() == before


FORKING = """
import os, sys, threading
from glassgrad.common.process_setting import ProcessSetting

events = []
setting = ProcessSetting(lambda: events.append("apply"), lambda: events.append("revert"), alone={alone})
inside, leave = threading.Event(), threading.Event()

def work():
    with setting:
        inside.set()
        leave.wait({wait})

thread = threading.Thread(target=work)
thread.start()
inside.wait()
child = os.fork()
if child == 0:
    with setting:
        pass
    os._exit(0 if events == ["apply", "revert"] * 2 else 1)
leave.set()
thread.join()
with setting:
    pass
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) or events != ["apply", "revert"] * 2)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forking is POSIX")
@pytest.mark.parametrize(("alone", "wait"), [(False, 60), (True, 0.2)])
def test_a_fork_while_another_thread_needs_the_setting(alone: bool, wait: float) -> None:
    """The child process does not have that thread, so the setting is reverted there (``alone``: before the fork)."""
    script = FORKING.format(alone=alone, wait=wait)
    done = subprocess.run([sys.executable, "-c", script], timeout=60, check=False)
    assert done.returncode == 0


COMPUTING = """
import os, threading
from glassgrad.common.cached import cached_property

computing, leave = threading.Event(), threading.Event()

class Thing:
    def __init__(self, waits):
        self.waits = waits

    @cached_property
    def answer(self):
        if self.waits:
            computing.set()
            leave.wait(60)
        return 42

thread = threading.Thread(target=lambda: Thing(True).answer)
thread.start()
computing.wait()
child = os.fork()
if child == 0:
    os._exit(Thing(False).answer != 42)
status = os.waitpid(child, 0)[1]
leave.set()
thread.join()
os._exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forking is POSIX")
def test_a_fork_while_another_thread_computes_a_cached_property() -> None:
    done = subprocess.run([sys.executable, "-c", COMPUTING], timeout=60, check=False)
    assert done.returncode == 0
