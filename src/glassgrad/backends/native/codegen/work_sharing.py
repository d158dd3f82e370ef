"""Sharing of large kernels among threads: the functions ``share`` and ``help``.

A shared kernel is cut into tickets (runs of its units). Thread 0 takes tickets from the front, helpers take them from
the back, and thread 0 continues when all are done. It never waits for a thread that holds no ticket, so a helper that
the system does not run costs only its help. The cut depends on the shapes alone, and each unit writes its own part of
the output. So the bits do not depend on the number of threads.

An idle thread spins for a while, then sleeps for short intervals. Yielding instead would count as used time of the
core, and on a busy machine the thread might then not run when there is work. Waking it from another thread might put
it on the core of that thread.

``run_with_helpers`` starts the helpers, runs, and joins the helpers in one call of machine code. Python cannot raise
an exception in the middle of it, so no helper outlives the memory that it works in. A helper that could not be
started is not waited for.
"""

from __future__ import annotations

from glassgrad.backends.native.ir.function import Function
from glassgrad.backends.native.ir.types import Reg
from glassgrad.backends.native.kernels.memory_access import ARENA
from glassgrad.backends.native.runtime.arguments import (
    CLOSED,
    CREATE,
    DONE,
    HELPERS,
    JOIN,
    KERNEL,
    PLACES,
    SLEEP,
    TICKETS,
    TICKETS_PER_KERNEL,
    UNITS,
    WORD,
)
from glassgrad.backends.native.runtime.machine import Machine

ARGS = Reg("%args", "ptr")
SPINS = 2_000  # iterations before a waiting thread sleeps: about 50 microseconds
SLEEP_MICROSECONDS = 1  # argument of usleep; on Linux the thread sleeps for about 50 microseconds


def sharing(target: Machine) -> list[Function]:
    """The functions for sharing work.

    ``share``: thread 0 offers a kernel and works on it. ``help``: a helper thread takes tickets until the end.
    ``run_with_helpers``: ``run``, with helpers that live as long as the call.
    """
    return [_share(target), _help(target), _start_routine(), _run_with_helpers()]


def close(f: Function) -> None:
    """Emit the last offer, which tells the helpers to stop."""
    f.raw(f"store atomic i64 {CLOSED}, ptr {f.at(ARGS, 'i64', WORD).text} release, align 8")


def _pause(f: Function, target: Machine) -> None:
    if target.triple.startswith("x86_64"):
        f.declared.add("declare void @llvm.x86.sse2.pause()")
        f.raw("call void @llvm.x86.sse2.pause()")


def _rest(f: Function, spins: Reg) -> None:
    """Count an iteration of spinning in the slot ``spins``; sleep for a moment after ``SPINS`` iterations."""
    count = f.add(f.load("i64", spins, 8), 1)
    f.store(count, spins, 8)
    sleep = f.load("ptr", f.at(ARGS, "i64", SLEEP), 8)
    has_sleep = f.emit("i1", f"icmp ne ptr {sleep.text}, null")
    with f.when(f.and_(f.compare("ugt", count, SPINS), has_sleep)):
        f.raw(f"call i32 {sleep.text}(i32 {SLEEP_MICROSECONDS})")


def _work(f: Function, ticket: Reg) -> None:
    """Run the units of one ticket, and count it as done."""
    kernel = f.load("ptr", f.at(ARGS, "i64", KERNEL), 8)
    units, tickets = (f.load("i64", f.at(ARGS, "i64", i), 8) for i in (UNITS, TICKETS))
    first = f.binary("udiv", f.mul(ticket, units), tickets)
    last = f.binary("udiv", f.mul(f.add(ticket, 1), units), tickets)
    places = f.load("ptr", f.at(ARGS, "i64", PLACES), 8)
    f.raw(f"call void {kernel.text}(ptr {ARENA.text}, ptr {places.text}, i64 {first.text}, i64 {last.text})")
    f.raw(f"atomicrmw add ptr {f.at(ARGS, 'i64', DONE).text}, i64 1 acq_rel")


def _take(f: Function, word: Reg, offer: Reg, change: int) -> Reg:
    """Try to take a ticket by adding ``change`` to the offer; returns whether that succeeded, as i1."""
    pair = f.emit(
        "{ i64, i1 }",
        f"cmpxchg ptr {word.text}, i64 {offer.text}, i64 {f.add(offer, change).text} acq_rel monotonic",
    )
    return f.emit("i1", f"extractvalue {{ i64, i1 }} {pair.text}, 1")


def _tickets_left(f: Function, offer: Reg) -> tuple[Reg, Reg, Reg]:
    """The first free ticket, the end of the free tickets, and whether any is free."""
    low, high = f.and_(f.lshr(offer, 16), 0xFFFF), f.and_(offer, 0xFFFF)
    return low, high, f.compare("ult", low, high)


def _share(target: Machine) -> Function:
    parameters = [
        ("ptr", "arena"),
        ("ptr", "args"),
        ("ptr", "kernel"),
        ("ptr", "places"),
        ("i64", "units"),
        ("i64", "tickets"),
    ]
    f = Function("share", parameters, attributes="noinline nounwind")
    spins = f.alloca("i64")
    f.store(f.number("i64", 0), spins, 8)
    word, done = f.at(ARGS, "i64", WORD), f.at(ARGS, "i64", DONE)
    for word_index, value in (
        (UNITS, Reg("%units", "i64")),
        (TICKETS, Reg("%tickets", "i64")),
        (KERNEL, Reg("%kernel", "ptr")),
        (PLACES, Reg("%places", "ptr")),
    ):
        f.store(value, f.at(ARGS, "i64", word_index), 8)
    f.raw(f"store atomic i64 0, ptr {done.text} monotonic, align 8")
    previous = f.emit("i64", f"load atomic i64, ptr {word.text} monotonic, align 8")
    offer = f.or_(f.shl(f.add(f.lshr(previous, 32), 1), 32), Reg("%tickets", "i64"))
    f.raw(f"store atomic i64 {offer.text}, ptr {word.text} release, align 8")
    f.raw("br label %take")
    f.start_block("take")
    current = f.emit("i64", f"load atomic i64, ptr {word.text} acquire, align 8")
    low, _, left = _tickets_left(f, current)
    f.raw(f"br i1 {left.text}, label %try, label %wait")
    f.start_block("try")
    with f.when(_take(f, word, current, 1 << 16)):
        _work(f, low)
    f.raw("br label %take")
    f.start_block("wait")
    finished = f.emit("i64", f"load atomic i64, ptr {done.text} acquire, align 8")
    f.raw(f"br i1 {f.compare('eq', finished, Reg('%tickets', 'i64')).text}, label %end, label %spin")
    f.start_block("spin")
    _pause(f, target)
    _rest(f, spins)
    f.raw("br label %wait")
    f.start_block("end")
    return f


def _help(target: Machine) -> Function:
    f = Function("help", [("ptr", "arena"), ("ptr", "args")], attributes="nounwind")
    spins = f.alloca("i64")
    f.store(f.number("i64", 0), spins, 8)
    word = f.at(ARGS, "i64", WORD)
    f.raw("br label %look")
    f.start_block("look")
    current = f.emit("i64", f"load atomic i64, ptr {word.text} acquire, align 8")
    f.raw(f"br i1 {f.compare('eq', current, CLOSED).text}, label %end, label %open")
    f.start_block("open")
    _, high, left = _tickets_left(f, current)
    f.raw(f"br i1 {left.text}, label %try, label %idle")
    f.start_block("try")
    with f.when(_take(f, word, current, -1)):
        _work(f, f.sub(high, 1))
        f.store(f.number("i64", 0), spins, 8)
    f.raw("br label %look")
    f.start_block("idle")
    _pause(f, target)
    _rest(f, spins)
    f.raw("br label %look")
    f.start_block("end")
    return f


def _start_routine() -> Function:
    """The start routine of a helper thread: calls ``help`` with the two addresses in a block of memory.

    POSIX requires a function that returns a pointer. This one returns void: the pointer would be in a register, and
    nothing reads it.
    """
    f = Function("start_helper", [("ptr", "block")], attributes="nounwind")
    block = Reg("%block", "ptr")
    arena, args = (f.load("ptr", f.at(block, "ptr", place), 8) for place in range(2))
    f.raw(f"call void @help(ptr {arena.text}, ptr {args.text})")
    return f


def _run_with_helpers() -> Function:
    """Start the helpers (at least one is requested), ``run``, and join the helpers that started."""
    f = Function("run_with_helpers", [("ptr", "arena"), ("ptr", "args")], attributes="nounwind")
    block, threads = f.alloca("ptr", 2), f.alloca("i64", TICKETS_PER_KERNEL)
    count = f.alloca("i64")
    f.store(f.number("i64", 0), count, 8)
    for place, address in enumerate((ARENA, ARGS)):
        f.store(address, f.at(block, "ptr", place), 8)
    create, join = (f.load("ptr", f.at(ARGS, "i64", place), 8) for place in (CREATE, JOIN))
    with f.loop(f.load("i64", f.at(ARGS, "i64", HELPERS), 8)):
        started = f.load("i64", count, 8)
        thread = f.at(threads, "i64", started)
        arguments = f"ptr {thread.text}, ptr null, ptr @start_helper, ptr {block.text}"
        failed = f.emit("i32", f"call i32 {create.text}({arguments})")
        f.store(f.add(started, f.cast("zext", f.compare("eq", failed, 0), "i64")), count, 8)
    f.raw(f"call void @run(ptr {ARENA.text}, ptr {ARGS.text})")
    started = f.load("i64", count, 8)
    with f.when(f.compare("ne", started, 0)), f.loop(started) as number:  # a loop turns at least once
        thread = f.load("i64", f.at(threads, "i64", number), 8)
        f.raw(f"call i32 {join.text}(i64 {thread.text}, ptr null)")
    return f
