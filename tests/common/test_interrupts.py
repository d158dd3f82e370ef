"""Deferred signals: their handlers run in ``poll``, in order of arrival, and none is lost."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from glassgrad.common import interrupts

HAS_USR1 = pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="SIGUSR1 is POSIX")


@pytest.fixture(autouse=True)
def python_handler() -> Iterator[None]:
    """Install Python's handler of Ctrl-C, which a background job may not have."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert not interrupts._state.pending
    assert interrupts._state.depth == interrupts._state.held == 0
    signal.signal(signal.SIGINT, before)


def ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


def test_a_signal_waits_for_poll() -> None:
    reached = []
    with interrupts.deferred():
        interrupts.poll()
        ctrl_c()
        ctrl_c()
        reached.append("after the signal")
        with pytest.raises(KeyboardInterrupt):
            interrupts.poll()
        interrupts.poll()  # the same signal twice is handled once
    assert reached == ["after the signal"]


def test_a_pending_signal_is_handled_at_the_end_of_the_outermost_block() -> None:
    reached = []

    def work() -> None:
        with interrupts.deferred():
            with interrupts.deferred():
                ctrl_c()
            reached.append("after the inner block")
        reached.append("after the outer block")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert reached == ["after the inner block"]


def test_outside_of_a_block_poll_does_nothing_and_signals_are_handled_at_once() -> None:
    interrupts.poll()
    with pytest.raises(KeyboardInterrupt):
        ctrl_c()


@HAS_USR1
def test_the_callers_handlers_are_called_in_order_and_restored() -> None:
    calls: list[tuple[int, bool]] = []

    def mine(number: int, frame: object) -> None:
        calls.append((number, frame is not None))

    before = {number: signal.signal(number, mine) for number in (signal.SIGUSR1, signal.SIGTERM)}
    try:
        with interrupts.deferred():
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGUSR1)
            assert calls == []
            interrupts.poll()
            assert calls == [(signal.SIGTERM, True), (signal.SIGUSR1, True)]
        assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@HAS_USR1
def test_an_exception_in_a_handler_leaves_the_other_signals_pending() -> None:
    calls = []
    before = signal.signal(signal.SIGUSR1, lambda *_: calls.append("usr1"))
    try:
        with interrupts.deferred():
            ctrl_c()
            signal.raise_signal(signal.SIGUSR1)
            with pytest.raises(KeyboardInterrupt):
                interrupts.poll()
            assert calls == []
            interrupts.poll()
            assert calls == ["usr1"]
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_ignored_signals_stay_ignored() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with interrupts.deferred():
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
            signal.raise_signal(signal.SIGTERM)
            interrupts.poll()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_handler_installed_inside_the_block_is_kept() -> None:
    with interrupts.deferred():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_held_blocks_are_not_interrupted_and_settle_suppresses_the_interrupt() -> None:
    with interrupts.deferred():
        ctrl_c()
        with interrupts.held():
            interrupts.poll()
        interrupts.settle()
        interrupts.poll()


def test_other_threads_neither_defer_nor_handle() -> None:
    seen = []

    def other() -> None:
        with interrupts.deferred(), interrupts.held():
            seen.append(signal.getsignal(signal.SIGINT))
            interrupts.poll()
            interrupts.settle()

    with interrupts.deferred():
        ctrl_c()
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        with pytest.raises(KeyboardInterrupt):
            interrupts.poll()
    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert seen[1] is signal.default_int_handler


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forking is POSIX")
@pytest.mark.filterwarnings("ignore:.*os.fork")  # another test of this process may have loaded JAX
def test_in_a_forked_process_signals_are_handled_at_once() -> None:
    with interrupts.deferred():
        child = os.fork()
        if child == 0:
            try:
                ctrl_c()
            except KeyboardInterrupt:
                os._exit(0)
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
    assert status == 0
