"""The XLA backend: all steps of a call as one XLA program, built with JAX.

JAX is optional. Only ``load_jax`` imports it, on first use. Its global settings are not changed: 64-bit types are
enabled around each call only. The backend is one file because the op table, the interpreter and the executable are
small and use each other.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial, reduce
from operator import add
from typing import Any

import numpy as np

from glassgrad.backends.base import (
    Array,
    Arrays,
    Chunk,
    Executable,
    Feed,
    Handle,
    Result,
    collect,
    handle_through_run,
    lay_out,
)
from glassgrad.common.errors import GraphError, InputError
from glassgrad.graph.node import Graph, Value
from glassgrad.ops.random import random_words
from glassgrad.program import Input, Output, Program

Lowering = Callable[..., Any]


def load_jax() -> Any:
    """The module ``jax``. Raises InputError if JAX is not installed."""
    try:
        import jax
    except ImportError:
        raise InputError("the xla backend needs JAX; install it with: pip install 'glassgrad[xla]'") from None
    return jax


# --- the lowerings ---------------------------------------------------------------------------------------


@cache
def lowerings() -> dict[str, Lowering]:
    """The lowering of each op except ``input``: a function ``(*arrays, **attributes)`` of JAX arrays, by op name.

    For an op with regions, the keyword ``regions`` holds each region as a function of arrays.
    """
    jax = load_jax()
    jnp, lax = jax.numpy, jax.lax
    elementwise: dict[str, Lowering] = {
        "add": jnp.add,
        "subtract": jnp.subtract,
        "negate": jnp.negative,
        "multiply": jnp.multiply,
        "divide": jnp.divide,
        "power": jnp.power,
        "less": jnp.less,
        "less_equal": jnp.less_equal,
        "greater": jnp.greater,
        "greater_equal": jnp.greater_equal,
        "equal": jnp.equal,
        "logical_and": jnp.logical_and,
        "logical_or": jnp.logical_or,
        "logical_not": jnp.logical_not,
        "maximum": jnp.maximum,
        "minimum": jnp.minimum,
        "select": jnp.where,
        "exp": jnp.exp,
        "log": jnp.log,
        "log1p": jnp.log1p,
        "expm1": jnp.expm1,
        "tanh": jnp.tanh,
        "sigmoid": lax.logistic,
        "erf": lax.erf,
        "sqrt": jnp.sqrt,
        "sin": jnp.sin,
        "cos": jnp.cos,
        "absolute": jnp.abs,
        "sign": jnp.sign,
        "floor": jnp.floor,
        "is_finite": jnp.isfinite,
        "shift_right": lax.shift_right_logical,
        "convert": lambda x, dtype: x.astype(dtype),
        "stop_gradient": lax.stop_gradient,
    }
    # Without its dtype, JAX would sum integers in 64 bits.
    numbers: dict[str, Lowering] = {
        "constant": lambda *, value: jnp.asarray(value),
        "iota": lambda size, dtype: jnp.arange(size, dtype=dtype),
        "sum": lambda x, axes: jnp.sum(x, axis=axes, dtype=x.dtype),
        "max": lambda x, axes: jnp.max(x, axis=axes),
        "argmax": lambda x, axis: jnp.argmax(x, axis=axis).astype("int32"),
        "cumsum": lambda x, axis: jnp.cumsum(x, axis=axis, dtype=x.dtype),
        "matmul": partial(jnp.matmul, precision=lax.Precision.HIGHEST),
        "random_bits": lambda seed, step, rows, stream, shape: jnp.reshape(
            random_words(seed, step, rows, stream, math.prod(shape), jnp), (rows.shape[0], *shape)
        ),
    }
    structure: dict[str, Lowering] = {
        "broadcast": lambda x, *, shape, axes: lax.broadcast_in_dim(x, shape, axes),
        "reshape": jnp.reshape,
        "transpose": lambda x, *, order: jnp.transpose(x, order),
        "reverse": jnp.flip,
        "slice": lambda x, *, starts, stops, steps: lax.slice(x, starts, stops, steps),
        "pad": lambda x, before, after, inner: lax.pad(
            x, jnp.zeros((), x.dtype), list(zip(before, after, inner, strict=True))
        ),
        "concatenate": lambda *arrays, axis: jnp.concatenate(arrays, axis),
        "gather_rows": lambda table, index: jnp.take(table, index, axis=0, mode="clip"),
        "scatter_add_rows": lambda index, values, rows: (
            jnp.zeros((rows, *values.shape[index.ndim :]), values.dtype)
            .at[jnp.clip(index, 0, rows - 1)]
            .add(values)
        ),
        "one_hot": lambda index, classes, dtype: (
            index[..., None] == jnp.arange(classes, dtype=index.dtype)
        ).astype(dtype),
        "top_k": _top_k,
        "windows": _windows,
        "fold_windows": _fold_windows,
    }
    regions: dict[str, Lowering] = {
        "call": lambda *arrays, regions, label: tuple(regions[0](*arrays)),
        "scan": _scan,
    }
    return elementwise | numbers | structure | regions


def _top_k(x: Any, k: int) -> tuple[Any, Any]:
    """Top k with the order of the op ``top_k``.

    XLA orders by bits: -0.0 is below 0.0, and a NaN with its sign bit set is below everything. So the sort key has no
    negative zero and no negative NaN.
    """
    jax = load_jax()
    jnp = jax.numpy
    key = jnp.where(x == 0, 0.0, jnp.where(jnp.isnan(x), jnp.nan, x))
    _, index = jax.lax.top_k(key, k)
    return jnp.take_along_axis(x, index, -1), index


def _windows(image: Any, size: tuple[int, int], stride: tuple[int, int]) -> Any:
    """One strided slice of the image per position within the window, stacked."""
    jnp = load_jax().numpy
    rows, *extents, channels = image.shape
    high, wide = ((n - s) // d + 1 for n, s, d in zip(extents, size, stride, strict=True))
    parts = [
        image[:, i : i + high * stride[0] : stride[0], j : j + wide * stride[1] : stride[1]]
        for i in range(size[0])
        for j in range(size[1])
    ]
    return jnp.reshape(jnp.stack(parts, axis=3), (rows, high, wide, *size, channels))


def _fold_windows(parts: Any, image: tuple[int, int], stride: tuple[int, int]) -> Any:
    """The transpose of ``_windows``: dilate and pad each slice to the image, and sum in the reference's order."""
    jax = load_jax()
    _, high, wide, *size, _ = parts.shape

    def spread(i: int, j: int) -> Any:
        padding = [
            (start, extent - start - (count - 1) * step - 1, step - 1)
            for start, extent, count, step in zip((i, j), image, (high, wide), stride, strict=True)
        ]
        zero = jax.numpy.zeros((), parts.dtype)
        return jax.lax.pad(parts[:, :, :, i, j], zero, [(0, 0, 0), *padding, (0, 0, 0)])

    return reduce(add, (spread(i, j) for i in range(size[0]) for j in range(size[1])))


def _scan(
    *arrays: Any,
    length: int,
    carries: int,
    sequences: int,
    backwards: bool,
    regions: Sequence[Callable[..., Sequence[Any]]],
) -> tuple[Any, ...]:
    lax = load_jax().lax
    (body,) = regions
    constants = arrays[carries + sequences :]

    def step(carry: tuple[Any, ...], elements: tuple[Any, ...]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        outputs = tuple(body(*carry, *elements, *constants))
        return outputs[:carries], outputs[carries:] + carry

    stacked = arrays[carries : carries + sequences]
    last, columns = lax.scan(step, arrays[:carries], stacked, length=length, reverse=backwards)
    return (*last, *columns)


# --- graphs ----------------------------------------------------------------------------------------------


def interpret(graph: Graph, arrays: Iterable[Any]) -> list[Any]:
    """The outputs of ``graph`` for JAX arrays or tracers, so ``jax.jit`` and ``jax.grad`` apply to it.

    64-bit types must be enabled. Raises GraphError, which names the op, for an op without a lowering.
    """
    array_of: dict[Value, Any] = dict(zip(graph.inputs, arrays, strict=True))
    for node in graph.nodes():
        if all(value in array_of for value in node.outputs):
            continue
        attributes = dict(node.attributes)
        if node.regions:
            attributes["regions"] = [partial(_call, region) for region in node.regions]
        result = _lowering(node.op.name)(*(array_of[value] for value in node.inputs), **attributes)
        array_of.update(zip(node.outputs, result if isinstance(result, tuple) else (result,), strict=True))
    return [array_of[value] for value in graph.outputs]


def _call(region: Graph, *arrays: Any) -> list[Any]:
    return interpret(region, arrays)


def _lowering(name: str) -> Lowering:
    if name not in lowerings():
        raise GraphError(f"the xla backend has no lowering for op {name!r}")
    return lowerings()[name]


def _check(graph: Graph) -> None:
    """Raise GraphError unless every op of ``graph`` and its regions has a lowering."""
    for node in graph.nodes():
        if node.op.name != "input":
            _lowering(node.op.name)
        for region in node.regions:
            _check(region)


def run_graph(graph: Graph, arrays: Iterable[Any]) -> list[Array]:
    """The outputs of ``graph`` for the inputs ``arrays``. The graph is compiled for this call."""
    _check(graph)
    jax = load_jax()
    inputs = [np.asarray(array, value.dtype) for value, array in zip(graph.inputs, arrays, strict=True)]
    with jax.enable_x64(True):
        return [np.array(item) for item in jax.jit(partial(interpret, graph))(inputs)]


# --- programs --------------------------------------------------------------------------------------------


def capacity(steps: int) -> int:
    """The number of steps that a chunk of ``steps`` is padded to: a power of two, at least 2.

    Chunks of different lengths then share compiled code. With a capacity of 1, XLA drops the step axis and may fuse
    the step differently, which changes bits.
    """
    return max(2, 1 << (steps - 1).bit_length())


def _padded(array: Array, capacity: int) -> Array:
    """``array`` (steps, ...) padded with zeros to (capacity, ...)."""
    padded = np.zeros((capacity, *array.shape[1:]), array.dtype)
    padded[: len(array)] = array
    return padded


@dataclass
class XlaExecutable:
    """A program that is compiled on the first run with each step capacity and each number of data rows."""

    program: Program
    seconds_compiling: float = 0.0
    _compiled: dict[tuple[int, ...], Any] = field(default_factory=dict, init=False, repr=False)
    _resident: dict[str, tuple[Array, Any]] = field(default_factory=dict, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def handle(self, params: Arrays, state: Arrays) -> Handle:
        """A function that runs one step with fixed ``params`` and ``state``."""
        return handle_through_run(self, params, state)

    def run(self, feed: Feed) -> Result:
        """Run the steps of ``feed`` in one compiled call. Raises InputError if ``feed`` does not fit the program."""
        program, chunk = self.program, lay_out(self.program, feed)
        jax = load_jax()
        with jax.enable_x64(True):
            arguments = (
                {item.name: self._on_device(item.name, feed.data[item.name]) for item in program.data},
                {item.name: feed.params[item.name] for item in program.params},
                {item.name: feed.state[item.name] for item in program.state},
                jax.tree.map(
                    partial(_padded, capacity=capacity(chunk.steps)),
                    {"rows": chunk.rows, "row_mask": chunk.row_mask, "step": chunk.step, "hyper": chunk.hyper}
                    | ({"probed": chunk.probed} if chunk.probed.any() else {}),
                ),
                chunk.seed,
                np.int32(chunk.steps),
            )
            results = self._compile(chunk, arguments)(*arguments)
            params, state, stacked, measured = jax.tree.map(np.array, results)
        stacked, measured = (
            {name: array[: chunk.steps] for name, array in arrays.items()} for arrays in (stacked, measured)
        )
        unmeasured = {p.name: np.zeros((chunk.steps, *p.value.shape), p.value.dtype) for p in program.probes}
        probes = {name: array[chunk.probed] for name, array in (unmeasured | measured).items()}
        return Result(params, state, collect(program, len(feed.order), stacked), probes)

    def _on_device(self, name: str, array: Array) -> Any:
        """``array`` as an argument for JAX.

        The most recent read-only array of each name stays on the device. A writable array may change between calls,
        so it is transferred each time.
        """
        if array.flags.writeable or array.base is not None:
            return array
        resident = self._resident.get(name)
        if resident is None or resident[0] is not array:
            resident = self._resident[name] = (array, load_jax().device_put(array))
        return resident[1]

    def _compile(self, chunk: Chunk, arguments: tuple[Any, ...]) -> Any:
        """The compiled function for ``arguments``, from the cache if possible."""
        key = (
            capacity(chunk.steps),
            bool(chunk.probed.any()),
            *(array.shape[0] for array in arguments[0].values()),
        )
        with self._lock:
            if key not in self._compiled:
                start = time.perf_counter()
                self._compiled[key] = load_jax().jit(self._chunk).lower(*arguments).compile()
                self.seconds_compiling += time.perf_counter() - start
            return self._compiled[key]

    def _chunk(
        self,
        data: dict[str, Any],
        params: dict[str, Any],
        state: dict[str, Any],
        per_step: dict[str, Any],
        seed: Any,
        steps: Any,
    ) -> tuple[dict[str, Any], ...]:
        """The function that JAX compiles: a loop over the steps, each of which gathers its rows.

        Returns params, state, outputs and probes; the last two are stacked over steps.
        """
        jax, program, graph = load_jax(), self.program, self.program.graph
        capacity, probing = per_step["rows"].shape[0], "probed" in per_step

        def values(current: dict[str, Any], params: dict[str, Any], state: dict[str, Any]) -> list[Any]:
            """The program's inputs in one step, where ``current`` holds the entries of ``per_step`` for it."""
            rows = current["rows"]
            by_role = {"param": params, "state": state, "hyper": current["hyper"]}
            single = {
                "row_mask": current["row_mask"],
                "row": rows.astype("uint32"),
                "seed": seed,
                "step": current["step"],
            }

            def value_of(item: Input) -> Any:
                if item.role == "data":
                    return jax.numpy.take(data[item.name], rows, axis=0, mode="clip")
                return by_role[item.role][item.name] if item.role in by_role else single[item.role]

            return [value_of(item) for item in program.inputs]

        def measure(
            index: Any, current: Any, params: Any, state: Any, measured: dict[str, Any]
        ) -> dict[str, Any]:
            probe_values = interpret(program.probe_graph, values(current, params, state))
            return {
                item.name: measured[item.name].at[index].set(array)
                for item, array in zip(program.probes, probe_values, strict=True)
            }

        def skip(*operands: Any) -> Any:
            return operands[-1]

        def step(index: Any, carry: tuple[dict[str, Any], ...]) -> Any:
            params, state, stacked, measured = carry
            current = jax.tree.map(lambda array: array[index], per_step)
            if (
                probing
            ):  # a branch that shares no values with the step, so XLA compiles the step as without it
                measured = jax.lax.cond(
                    current["probed"], measure, skip, index, current, params, state, measured
                )
            results = interpret(graph, values(current, params, state))
            updates = dict(zip(program.updates, results, strict=False))
            stacked = {
                item.name: stacked[item.name].at[index].set(array)
                for item, array in zip(program.outputs, results[len(updates) :], strict=True)
            }
            return (
                {name: updates.get(name, array) for name, array in params.items()},
                {name: updates.get(name, array) for name, array in state.items()},
                stacked,
                measured,
            )

        def empty(outputs: Sequence[Output]) -> dict[str, Any]:
            return {
                item.name: jax.numpy.zeros((capacity, *item.value.shape), item.value.dtype)
                for item in outputs
            }

        # The number of steps is an argument, so XLA cannot unroll a loop of one step and fuse that step differently.
        # Otherwise the bits of a run would depend on how its steps are divided into calls.
        carry = (params, state, empty(program.outputs), empty(program.probes if probing else ()))
        return jax.lax.fori_loop(0, steps, step, carry)  # type: ignore[no-any-return]


class XlaBackend:
    """The backend ``xla``. XLA compiles a program on its first run, when the number of steps is known."""

    name = "xla"

    def compile(self, program: Program) -> Executable:
        """An executable of ``program``, whose ops are checked now.

        Raises GraphError, which names the op, for an op without a lowering, and InputError if JAX is not installed.
        """
        _check(program.graph)
        _check(program.probe_graph)
        return XlaExecutable(program)
