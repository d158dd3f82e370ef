"""The interface of a backend: ``compile(program) -> executable``. A backend is an argument, never a global.

This module also holds the code that all backends share: checking a feed, and collecting outputs.
"""

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
    """The run-time inputs of a compiled program. Changing any of them never recompiles.

    * data: arrays with one entry per row of the data set, by the names of the program's data inputs.
    * order: the rows to visit, which are divided into batches. The last batch is padded; the row mask is False there.
      Either an int32 array, in which -1 means padding (so one call can hold several epochs with a partial last batch
      each), or ``Epochs``, which the backend draws.
    * params, state: initial values by input name.
    * hyper: for each hyperparameter one number, or one number per step.
    * seed: the seed of the random streams, 64 bits.
    * first_step: the index of the first step, for the random streams.
    * probed: bool, one per step: the steps in which the probes are measured (None: in no step).
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
    """The result of one call: final parameters and state, and the outputs by name.

    An output is stacked over steps, (steps, ...), or joined over rows, (rows, ...). ``probes`` are stacked over the
    probed steps; each is measured before the updates of its step.
    """

    params: dict[str, Array]
    state: dict[str, Array]
    outputs: dict[str, Array]
    probes: dict[str, Array] = field(default_factory=dict)


THREADS = Whole(1, 999_999)
"""The allowed numbers of threads."""

Handle = Callable[[Array], Array]
"""A function from a batch (batch, ...) of the program's dtype to its output (batch, ...).

Raises InputError for an argument that is not an array of that shape and dtype.
"""


def wrong_batch(program: Program, batch: object) -> InputError:
    """The error for a ``batch`` that is not an array of the type that a handle of ``program`` takes."""
    (data,) = program.data
    received = f"{batch.dtype}{list(batch.shape)}" if isinstance(batch, np.ndarray) else type(batch).__name__
    return InputError(
        f"this handle takes an array {data.type}, not {received}; pass rows from prepare(), or make a handle for "
        "that number of rows"
    )


class Executable(Protocol):
    """A compiled program. It holds no weights and no state, so several threads may run it at once."""

    program: Program
    seconds_compiling: float

    def run(self, feed: Feed) -> Result:
        """Run the steps of ``feed``, whose arrays are not changed. Raises InputError if ``feed`` does not fit."""

    def handle(self, params: Arrays, state: Arrays) -> Handle:
        """A function that runs one step with fixed ``params`` and ``state``.

        The program must have one data input and one output per row.
        """


class Backend(Protocol):
    """One way to run programs."""

    name: str

    def compile(self, program: Program) -> Executable:
        """Compile ``program``. Raises GraphError, which names the op, for an op that the backend does not support."""


@runtime_checkable
class ConcurrentCompiler(Protocol):
    """A backend that compiles several programs concurrently."""

    def compile_all(self, programs: Iterable[Program]) -> list[Executable]:
        """Compile ``programs``. Compilation of each begins as soon as the iterable yields it."""


def compile_all(backend: Backend, programs: Iterable[Program]) -> list[Executable]:
    """Compile ``programs``, concurrently if the backend supports it."""
    if isinstance(backend, ConcurrentCompiler):
        return backend.compile_all(programs)
    return [backend.compile(item) for item in programs]


@frozen
class Chunk:
    """A checked feed as arrays by step, in the dtypes of the program."""

    steps: int
    rows: Array  # int32 (steps, batch): row indices; 0 for padding
    row_mask: Array  # bool (steps, batch)
    hyper: dict[str, Array]  # (steps,)
    seed: Array  # uint32 (2,)
    step: Array  # uint32 (steps,)
    probed: Array  # bool (steps,): all False if the program has no probes


def lay_out(
    program: Program, feed: Feed, draw: Callable[[Epochs], tuple[Array, Array]] | None = None
) -> Chunk:
    """Check ``feed`` against ``program`` and divide it into steps. Raises InputError, which names the wrong entry.

    ``draw`` computes ``rows`` and ``row_mask`` from epochs; None: draw them with NumPy.
    """
    if len(feed.order) == 0:
        raise InputError("a program needs at least one row to run on")
    total_rows = None
    for item in program.data:
        array = feed.data.get(item.name)
        if array is None or array.shape[1:] != item.type.shape[1:] or array.dtype != item.type.dtype:
            received = "nothing" if array is None else f"{array.dtype}{list(array.shape)}"
            raise InputError(f"data {item.name!r}: the program takes {item.type} per batch, got {received}")
        if total_rows is not None and array.shape[0] != total_rows:
            raise InputError(f"data {item.name!r} has {array.shape[0]} rows, but other data has {total_rows}")
        total_rows = array.shape[0]
    if isinstance(feed.order, Epochs):
        if feed.order.batch != program.batch:
            raise InputError(
                f"the epochs have batches of {feed.order.batch}, but the program takes {program.batch}"
            )
        if total_rows is not None and feed.order.rows > total_rows:
            raise _row_out_of_range(total_rows)
    rows, row_mask = (
        draw(feed.order)
        if draw is not None and isinstance(feed.order, Epochs)
        else _rows_of_order(np.ascontiguousarray(feed.order, dtype=np.int32), program.batch, total_rows)
    )
    check_params_and_state(program, feed.params, feed.state)
    steps = -(-len(feed.order) // program.batch)
    seed = np.array([feed.seed & 0xFFFFFFFF, (feed.seed >> 32) & 0xFFFFFFFF], np.uint32)
    step = (np.arange(steps, dtype=np.int64) + feed.first_step).astype(np.uint32)
    probed = np.zeros(steps, bool)
    if feed.probed is not None and program.probes:
        if np.shape(feed.probed) != (steps,):
            raise InputError(
                f"probed must be one bool per step ({steps}), not an array of {list(np.shape(feed.probed))}"
            )
        probed[:] = feed.probed
    return Chunk(steps, rows, row_mask, _per_step(program, feed, steps), seed, step, probed)


def check_params_and_state(program: Program, params: Arrays, state: Arrays) -> None:
    """Raise InputError unless ``params`` and ``state`` hold arrays of the types that ``program`` takes."""
    for kind, items, arrays in (
        ("parameter", program.params, params),
        ("state", program.state, state),
    ):
        for item in items:
            array = arrays.get(item.name)
            if not item.type.fits(array):
                received = "nothing" if array is None else f"{array.dtype}{list(array.shape)}"
                raise InputError(f"{kind} {item.name!r}: the program takes {item.type}, got {received}")


def _rows_of_order(order: Array, batch: int, total_rows: int | None) -> tuple[Array, Array]:
    """``rows`` and ``row_mask`` of a chunk, from an array of row indices."""
    if order.ndim != 1:
        raise InputError(f"the order must have one axis, not be an array of {list(order.shape)}")
    lowest = int(order.min())
    if total_rows is not None and (lowest < -1 or order.max() >= total_rows):
        raise _row_out_of_range(total_rows)
    rows = np.full((-(-order.size // batch), batch), -1, np.int32)
    rows.reshape(-1)[: order.size] = order
    row_mask = rows >= 0
    if lowest < 0 and not row_mask.any(axis=1).all():
        raise InputError("the order has a batch of padding only; every step needs at least one row")
    np.maximum(rows, 0, out=rows)
    return rows, row_mask


def _row_out_of_range(total_rows: int) -> InputError:
    return InputError(f"the order names rows outside of 0 to {total_rows - 1}")


def _per_step(program: Program, feed: Feed, steps: int) -> dict[str, Array]:
    """The hyperparameters of ``feed``, each as an array with one number per step."""
    hyper = {}
    for item in program.hyper:
        value = feed.hyper.get(item.name)
        if value is None:
            raise InputError(f"the hyperparameter {item.name!r} is missing")
        shape = np.shape(value)
        if shape not in ((), (steps,)):
            raise InputError(
                f"the hyperparameter {item.name!r} must be one number or one per step ({steps}), "
                f"not an array of {list(shape)}"
            )
        hyper[item.name] = np.full(steps, value, item.type.dtype)
    return hyper


def handle_through_run(executable: Executable, params: Arrays, state: Arrays) -> Handle:
    """A handle that calls ``run``, for a backend without a faster entry point."""
    check_params_and_state(executable.program, params, state)
    (data,), (output,) = executable.program.data, executable.program.outputs
    order = np.arange(executable.program.batch, dtype=np.int32)

    def call(batch: Array) -> Array:
        if not (isinstance(batch, np.ndarray) and data.type.fits(batch)):
            raise wrong_batch(executable.program, batch)
        rows = np.ascontiguousarray(batch)
        return executable.run(Feed({data.name: rows}, order, params, state, {})).outputs[output.name]

    return call


def collect(program: Program, rows: int, stacked: Arrays) -> dict[str, Array]:
    """The outputs of a ``Result`` from outputs stacked over steps.

    An output per row, (steps, batch, ...), becomes (rows, ...) with one entry per entry of the order. Any other stays
    (steps, ...).
    """
    outputs = {}
    for item in program.outputs:
        array = np.asarray(stacked[item.name])
        if item.per_row:
            array = array.reshape(-1, *array.shape[2:])[:rows]
        outputs[item.name] = array
    return outputs
