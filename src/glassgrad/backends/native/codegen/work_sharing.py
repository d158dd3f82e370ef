"""How threads share a large kernel: the functions ``share`` and ``help``.

A kernel that is worth it is cut into tickets (runs of its units): thread 0 takes them from the front, whoever else is
there from the back, and thread 0 goes on when all are done. It never waits for a thread that has taken nothing, so a
thread that the system keeps from running costs its help, not more. How a kernel is cut follows from the shapes alone
and a unit writes its own part of the output, so the bits do not depend on the number of threads.

A thread that finds nothing to do spins for a while, then sleeps for a moment at a time. A core that it merely yielded
would be charged to it as if it had been used, and on a busy machine be lacking when there is work; a thread that
another one wakes may be put on the core of that other one.

``run_with_helpers`` starts the helpers, runs, and joins them in one call of machine code. Python cannot raise an
exception in the middle of it, so no helper outlives the memory that it works in. A helper that cannot be started is
missing, not waited for.
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
SPINS = 2_000  # turns before a waiting thread rests: some fifty microseconds
MOMENT = 1  # microsecond; Linux makes some fifty of it


def sharing(target: Machine) -> list[Function]:
    """What the threads need besides ``run``.

    ``share``: thread 0 offers a kernel and works on it. ``help``: the other threads take what they can get.
    ``run_with_helpers``: ``run``, with helpers that live as long as the call.
    """
    return [_share(target), _help(target), _start_routine(), _run_with_helpers()]


def close(f: Function) -> None:
    """No more kernels: the other threads may go home."""
    f.raw(f"store atomic i64 {CLOSED}, ptr {f.at(ARGS, 'i64', WORD).text} release, align 8")


def _pause(f: Function, target: Machine) -> None:
    if target.triple.startswith("x86_64"):
        f.declared.add("declare void @llvm.x86.sse2.pause()")
        f.raw("call void @llvm.x86.sse2.pause()")


def _rest(f: Function, spins: Reg) -> None:
    """Sleep for a moment after long spinning; ``spins`` is a slot that counts the turns."""
    turns = f.add(f.load("i64", spins, 8), 1)
    f.store(turns, spins, 8)
    sleep = f.load("ptr", f.at(ARGS, "i64", SLEEP), 8)
    known = f.emit("i1", f"icmp ne ptr {sleep.text}, null")
    with f.when(f.and_(f.compare("ugt", turns, SPINS), known)):
        f.raw(f"call i32 {sleep.text}(i32 {MOMENT})")


def _work(f: Function, ticket: Reg) -> None:
    """Run the units of one ticket, and count it as done."""
    kernel = f.load("ptr", f.at(ARGS, "i64", KERNEL), 8)
    units, tickets = (f.load("i64", f.at(ARGS, "i64", i), 8) for i in (UNITS, TICKETS))
    first = f.binary("udiv", f.mul(ticket, units), tickets)
    last = f.binary("udiv", f.mul(f.add(ticket, 1), units), tickets)
    places = f.load("ptr", f.at(ARGS, "i64", PLACES), 8)
    f.raw(f"call void {kernel.text}(ptr {ARENA.text}, ptr {places.text}, i64 {first.text}, i64 {last.text})")
    f.raw(f"atomicrmw add ptr {f.at(ARGS, 'i64', DONE).text}, i64 1 acq_rel")


def _take(f: Function, word: Reg, now: Reg, change: int) -> Reg:
    """Try to take a ticket; whether it went well."""
    pair = f.emit(
        "{ i64, i1 }",
        f"cmpxchg ptr {word.text}, i64 {now.text}, i64 {f.add(now, change).text} acq_rel monotonic",
    )
    return f.emit("i1", f"extractvalue {{ i64, i1 }} {pair.text}, 1")


def _tickets_left(f: Function, now: Reg) -> tuple[Reg, Reg, Reg]:
    """The first ticket that is free, the end of the free ones, and whether there is any."""
    low, high = f.and_(f.lshr(now, 16), 0xFFFF), f.and_(now, 0xFFFF)
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
    for place, value in (
        (UNITS, Reg("%units", "i64")),
        (TICKETS, Reg("%tickets", "i64")),
        (KERNEL, Reg("%kernel", "ptr")),
        (PLACES, Reg("%places", "ptr")),
    ):
        f.store(value, f.at(ARGS, "i64", place), 8)
    f.raw(f"store atomic i64 0, ptr {done.text} monotonic, align 8")
    before = f.emit("i64", f"load atomic i64, ptr {word.text} monotonic, align 8")
    offer = f.or_(f.shl(f.add(f.lshr(before, 32), 1), 32), Reg("%tickets", "i64"))
    f.raw(f"store atomic i64 {offer.text}, ptr {word.text} release, align 8")
    f.raw("br label %take")
    f.start_block("take")
    now = f.emit("i64", f"load atomic i64, ptr {word.text} acquire, align 8")
    low, _, left = _tickets_left(f, now)
    f.raw(f"br i1 {left.text}, label %try, label %wait")
    f.start_block("try")
    with f.when(_take(f, word, now, 1 << 16)):
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
    now = f.emit("i64", f"load atomic i64, ptr {word.text} acquire, align 8")
    f.raw(f"br i1 {f.compare('eq', now, CLOSED).text}, label %end, label %open")
    f.start_block("open")
    _, high, left = _tickets_left(f, now)
    f.raw(f"br i1 {left.text}, label %try, label %idle")
    f.start_block("try")
    with f.when(_take(f, word, now, -1)):
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
    """What a new thread begins with: ``help`` on the two addresses in a block of memory.

    POSIX wants a function that returns a pointer. Nobody reads it, and it is returned in a register.
    """
    f = Function("start_helper", [("ptr", "block")], attributes="nounwind")
    block = Reg("%block", "ptr")
    arena, args = (f.load("ptr", f.at(block, "ptr", place), 8) for place in range(2))
    f.raw(f"call void @help(ptr {arena.text}, ptr {args.text})")
    return f


def _run_with_helpers() -> Function:
    """Start the helpers (one at least), ``run``, and join those that could be started."""
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
