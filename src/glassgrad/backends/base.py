"""What a backend offers: ``compile(program) -> executable``. A backend is an argument, never a global."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from typing import Protocol, runtime_checkable

import numpy as np

from glassgrad.common.constraints import Whole
from glassgrad.common.errors import InputError
from glassgrad.common.frozen import frozen
from glassgrad.common.orders import Epochs
from glassgrad.program import Program

Array = np.ndarray
Arrays = Mapping[str, np.ndarray]


@frozen
class Feed:
    """Everything that a compiled program takes at run time. Changing any of it never recompiles.

    data: arrays with one entry per row of the data set, by the names of the program's data inputs.
    order: the rows to visit; cut into batches, the last one padded (the row mask is False there). An array of int32,
    in which -1 is padding too (so that several epochs, each with a partial last batch, go into one call); or
    epochs, which the backend draws.
    first_step: the number of the first step, for the random streams.
    hyper: for each hyperparameter one number, or one per step.
    probed: bool, one per step: the steps in which the program's probes are measured (None: in none).
    """

    data: Arrays
    order: Array | Epochs
    params: Arrays
    state: Arrays
    hyper: Mapping[str, float | Array]
    seed: int = 0
    first_step: int = 0
    probed: Array | None = None


@frozen
class Result:
    """What one call gives back: new parameters and state, and outputs, stacked by step or joined by row.

    ``probes`` are stacked by the steps that were probed, each as the step found things.
    """

    params: dict[str, Array]
    state: dict[str, Array]
    outputs: dict[str, Array]
    probes: dict[str, Array] = field(default_factory=dict)


THREADS = Whole(1, 999_999)
"""How many threads may be asked for."""

Handle = Callable[[Array], Array]
"""A batch [batch, ...] in the program's dtype to its output [batch, ...].

Raises InputError for anything but an array of that shape and dtype.
"""


def unfit_batch(program: Program, batch: object) -> InputError:
    """The error for a ``batch`` that a handle of ``program`` does not take."""
    (data,) = program.data
    got = f"{batch.dtype}{list(batch.shape)}" if isinstance(batch, np.ndarray) else type(batch).__name__
    return InputError(
        f"this handle takes an array {data.type}, not {got}; give rows as prepare() does, or make a handle for "
        "that number of rows"
    )


class Executable(Protocol):
    """A compiled program. Re-entrant: it holds no weights and no state."""

    program: Program
    seconds_compiling: float

    def run(self, feed: Feed) -> Result:
        """Run a chunk of steps; the arrays of ``feed`` are left as they are."""

    def handle(self, params: Arrays, state: Arrays) -> Handle:
        """For a program of one data input and one output per row: a call with everything else in place."""


class Backend(Protocol):
    """One way to run programs."""

    name: str

    def compile(self, program: Program) -> Executable:
        """Compile ``program``; raises GraphError naming an op that this backend does not have."""


@runtime_checkable
class SideBySide(Protocol):
    """A backend that compiles several programs at once."""

    def compile_all(self, programs: Iterable[Program]) -> list[Executable]:
        """Compile ``programs``, each as soon as it is built."""


def compile_all(backend: Backend, programs: Iterable[Program]) -> list[Executable]:
    """Compile ``programs``, side by side on a backend that can: each as soon as it is built."""
    if isinstance(backend, SideBySide):
        return backend.compile_all(programs)
    return [backend.compile(item) for item in programs]


@frozen
class Chunk:
    """A checked feed, in the program's dtypes, with everything per step laid out."""

    steps: int
    rows: Array  # int32 (steps, batch): the row of each place; 0 where padded
    row_mask: Array  # bool (steps, batch)
    hyper: dict[str, Array]  # (steps,)
    seed: Array  # uint32 (2,)
    step: Array  # uint32 (steps,)
    probed: Array  # bool (steps,): false throughout where the program has no probes


def lay_out(
    program: Program, feed: Feed, draw: Callable[[Epochs], tuple[Array, Array]] | None = None
) -> Chunk:
    """Check ``feed`` against ``program`` and cut it into steps; raises InputError naming what is wrong.

    ``draw`` gives ``rows`` and ``row_mask`` of epochs, for a backend with a way of its own.
    """
    if len(feed.order) == 0:
        raise InputError("a program needs at least one row to run on")
    total = None
    for item in program.data:
        array = feed.data.get(item.name)
        if array is None or array.shape[1:] != item.type.shape[1:] or array.dtype != item.type.dtype:
            got = "nothing" if array is None else f"{array.dtype}{list(array.shape)}"
            raise InputError(f"data {item.name!r}: the program takes {item.type} per batch, got {got}")
        if total is not None and array.shape[0] != total:
            raise InputError(f"data {item.name!r} has {array.shape[0]} rows where another has {total}")
        total = array.shape[0]
    if isinstance(feed.order, Epochs):
        if feed.order.batch != program.batch:
            raise InputError(f"epochs in batches of {feed.order.batch}: the program takes {program.batch}")
        if total is not None and feed.order.rows > total:
            raise _outside(total)
    rows, row_mask = (
        draw(feed.order)
        if draw is not None and isinstance(feed.order, Epochs)
        else _visits(np.ascontiguousarray(feed.order, dtype=np.int32), program.batch, total)
    )
    check_kept(program, feed.params, feed.state)
    steps = -(-len(feed.order) // program.batch)
    seed = np.array([feed.seed & 0xFFFFFFFF, (feed.seed >> 32) & 0xFFFFFFFF], np.uint32)
    step = (np.arange(steps, dtype=np.int64) + feed.first_step).astype(np.uint32)
    probed = np.zeros(steps, bool)
    if feed.probed is not None and program.probes:
        if np.shape(feed.probed) != (steps,):
            raise InputError(f"probed is one bool per step ({steps}), not {list(np.shape(feed.probed))}")
        probed[:] = feed.probed
    return Chunk(steps, rows, row_mask, _per_step(program, feed, steps), seed, step, probed)


def check_kept(program: Program, params: Arrays, state: Arrays) -> None:
    """Raise InputError unless ``params`` and ``state`` hold what ``program`` takes."""
    for kind, items, arrays in (
        ("parameter", program.params, params),
        ("state", program.state, state),
    ):
        for item in items:
            array = arrays.get(item.name)
            if not item.type.fits(array):
                got = "nothing" if array is None else f"{array.dtype}{list(array.shape)}"
                raise InputError(f"{kind} {item.name!r}: the program takes {item.type}, got {got}")


def _visits(order: Array, batch: int, total: int | None) -> tuple[Array, Array]:
    """``rows`` and ``row_mask`` of an order that is listed."""
    if order.ndim != 1:
        raise InputError(f"the order is one row after the other, not an array of {list(order.shape)}")
    lowest = int(order.min())
    if total is not None and (lowest < -1 or order.max() >= total):
        raise _outside(total)
    rows = np.full((-(-order.size // batch), batch), -1, np.int32)
    rows.reshape(-1)[: order.size] = order
    row_mask = rows >= 0
    if lowest < 0 and not row_mask.any(axis=1).all():
        raise InputError("the order has a batch of padding only: every step needs a row")
    np.maximum(rows, 0, out=rows)
    return rows, row_mask


def _outside(total: int) -> InputError:
    return InputError(f"the order names rows outside of 0 to {total - 1}")


def _per_step(program: Program, feed: Feed, steps: int) -> dict[str, Array]:
    hyper = {}
    for item in program.hyper:
        given = feed.hyper.get(item.name)
        if given is None:
            raise InputError(f"the hyperparameter {item.name!r} is missing")
        shape = np.shape(given)
        if shape not in ((), (steps,)):
            raise InputError(
                f"the hyperparameter {item.name!r} is one number or one per step ({steps}), "
                f"not an array of {list(shape)}"
            )
        hyper[item.name] = np.full(steps, given, item.type.dtype)
    return hyper


def plain_handle(executable: Executable, params: Arrays, state: Arrays) -> Handle:
    """The handle of a backend that has no faster way in than ``run``."""
    check_kept(executable.program, params, state)
    (data,), (output,) = executable.program.data, executable.program.outputs
    order = np.arange(executable.program.batch, dtype=np.int32)

    def call(batch: Array) -> Array:
        if not (isinstance(batch, np.ndarray) and data.type.fits(batch)):
            raise unfit_batch(executable.program, batch)
        rows = np.ascontiguousarray(batch)
        return executable.run(Feed({data.name: rows}, order, params, state, {})).outputs[output.name]

    return call


def collect(program: Program, rows: int, stacked: Arrays) -> dict[str, Array]:
    """Outputs as the caller sees them: (steps, ...) by step, or (rows, ...), one for each entry of the order."""
    outputs = {}
    for item in program.outputs:
        array = np.asarray(stacked[item.name])
        if item.per_row:
            array = array.reshape(-1, *array.shape[2:])[:rows]
        outputs[item.name] = array
    return outputs
