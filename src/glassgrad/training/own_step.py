"""``compile_step``: a user-defined training step, compiled into a loop of steps.

The step is a function that builds graph with ``gg.ops`` and ``gg.gradient``. It is called once, with values of the
graph. The program runs on every backend, several steps per call, with data, parameters, hyperparameters and seed as
run-time inputs.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from glassgrad.backends.base import Array, Backend, Executable, Feed
from glassgrad.common.constraints import Real, Whole, check
from glassgrad.common.errors import GraphError, InputError, unknown_name
from glassgrad.common.orders import Epochs
from glassgrad.graph.node import FLOATS, DType, Shape, Value
from glassgrad.ops.op import make_input
from glassgrad.ops.random import random_mask, random_normal, random_uniform
from glassgrad.program import Input, Output, Program, Role
from glassgrad.training.backends import DEFAULT
from glassgrad.training.backends import backend as make_backend

Values = Mapping[str, Value]
Step = Callable[["StepInputs"], tuple[Values, Values, Values]]
"""Maps the inputs of a step to (new parameters, new state, outputs), each by name."""

_STEPS_PER_CALL = 256
"""A call has as many whole epochs as fit into this many steps, but at least one."""


@dataclass(eq=False)
class StepInputs:
    """The inputs of a step: values of the graph, by name.

    ``data`` are batches of rows, [batch, ...]. ``row_mask``, bool [batch], is true for valid rows and false for the
    padding of the last batch of an epoch. ``step`` counts from 0, uint32. Random numbers differ by draw, step and
    row, and are the same on every backend.
    """

    params: Values
    state: Values
    data: Values
    hyper: Values
    row_mask: Value
    step: Value
    dtype: DType
    _seed: Value
    _rows: Value
    _draws: Iterator[int] = field(default_factory=itertools.count)

    def uniform(self, shape: Shape) -> Value:
        """Random numbers [batch, *shape], uniform in [0, 1)."""
        stream = next(self._draws)
        return random_uniform(self._seed, self.step, self._rows, stream=stream, shape=shape, dtype=self.dtype)

    def normal(self, shape: Shape) -> Value:
        """Normal random numbers [batch, *shape], with mean 0 and standard deviation 1."""
        stream = next(self._draws)
        return random_normal(self._seed, self.step, self._rows, stream=stream, shape=shape, dtype=self.dtype)

    def mask(self, shape: Shape, probability: float) -> Value:
        """A random mask, bool [batch, *shape]; each element is true with ``probability``."""
        stream = next(self._draws)
        return random_mask(
            self._seed, self.step, self._rows, stream=stream, shape=shape, probability=probability
        )


class CompiledStep:
    """A compiled step with its current ``params``, ``state``, ``hyper`` and ``step``.

    They may be changed between two calls of ``advance``, which checks them.
    """

    def __init__(
        self,
        executable: Executable,
        params: Mapping[str, Array],
        state: Mapping[str, Array],
        data: Mapping[str, Array],
        hyper: Mapping[str, float],
        seed: int,
    ) -> None:
        self.program = executable.program
        self.params, self.state, self.hyper = dict(params), dict(state), dict(hyper)
        self.step = 0
        self._executable, self._data, self._seed = executable, dict(data), seed
        self._rows = len(next(iter(data.values())))
        self.steps_per_epoch = -(-self._rows // self.program.batch)

    def advance(self, *, steps: int | None = None, epochs: int | None = None) -> dict[str, Array]:
        """Take ``steps`` steps, or those of ``epochs`` epochs; returns the outputs by name, stacked: [steps, ...].

        The rows are shuffled for every epoch, from the seed. Raises InputError unless exactly one of the two is
        given, for a hyperparameter that is not a finite number, and for an unknown name; the state is then unchanged.
        """
        if (steps is None) == (epochs is None):
            raise InputError("advance takes one of steps= and epochs=, such as advance(epochs=10)")
        if steps is None:
            steps = check("epochs", epochs, Whole(1, 2**31 - 1)) * self.steps_per_epoch
        end = self.step + check("steps", steps, Whole(1, 2**63 - 1))
        names = [item.name for item in self.program.hyper]
        for name, value in self.hyper.items():
            if name not in names:
                raise unknown_name("hyperparameter of this step", name, names)
            check(name, value, Real())
        params = _assigned("parameter", self.params, self.program.params)
        state = _assigned("state", self.state, self.program.state)
        self.params, self.state = params, state
        parts: list[dict[str, Array]] = []
        while self.step < end:
            parts.append(self._call(end))
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _call(self, end: int) -> dict[str, Array]:
        """One call of the compiled loop: whole epochs at the start of an epoch, else the rest of the current one."""
        steps_per_epoch, batch = self.steps_per_epoch, self.program.batch
        epoch, offset = divmod(self.step, steps_per_epoch)
        count = 1 if offset else max(min(_STEPS_PER_CALL, end - self.step) // steps_per_epoch, 1)
        stop = min(end, (epoch + count) * steps_per_epoch)
        order = Epochs(self._rows, batch, self._seed, epoch + 1, count)
        feed = Feed(
            self._data,
            order[offset * batch : (stop - epoch * steps_per_epoch) * batch],
            self.params,
            self.state,
            self.hyper,
            self._seed,
            self.step,
        )
        result = self._executable.run(feed)
        self.params, self.state, self.step = result.params, result.state, stop
        return result.outputs


def compile_step(
    function: Step,
    *,
    params: Mapping[str, Any],
    data: Mapping[str, Any],
    state: Mapping[str, Any] | None = None,
    hyper: Mapping[str, float] | None = None,
    batch_size: int = 32,
    seed: int = 0,
    dtype: DType = "float32",
    backend: str | Backend = DEFAULT,
) -> CompiledStep:
    """Compile ``function`` into a loop of training steps over the rows of ``data``.

    ``function`` takes ``StepInputs`` and returns three mappings: new parameters, new state, and outputs (values of
    any shape, such as the loss, which ``advance`` returns for every step). Parameters and state that are missing from
    the mappings do not change. ``params`` and ``state`` are arrays by name, ``data`` arrays with one entry per row,
    ``hyper`` numbers. Floats become ``dtype``, integers int32. ``batch_size`` is reduced to the number of rows if it
    is larger.

    An example, linear regression by gradient descent::

        def step(inputs):
            error = inputs.data["x"] * inputs.params["w"] - inputs.data["y"]
            loss = gg.ops.reduce_mean(error * error)
            (slope,) = gg.gradient(loss, [inputs.params["w"]])
            return {"w": inputs.params["w"] - inputs.hyper["rate"] * slope}, {}, {"loss": loss}

        line = gg.compile_step(step, params={"w": 0.0}, data={"x": x, "y": y}, hyper={"rate": 0.1})
        losses = line.advance(epochs=10)["loss"]

    Raises InputError for invalid arrays or options, and GraphError if ``function`` returns anything else.
    """
    if dtype not in FLOATS:
        raise unknown_name("dtype", str(dtype), FLOATS)
    check("seed", seed, Whole(0, 2**63 - 1))
    check("batch_size", batch_size, Whole(1, 2**31 - 1))
    arrays = {"param": _arrays("params", params, dtype), "state": _arrays("state", state or {}, dtype)}
    rows = _arrays("data", data, dtype)
    lengths = {len(array) if array.ndim else 0 for array in rows.values()}
    if len(lengths) != 1 or 0 in lengths:
        raise InputError("data: give one or more arrays with the same number of rows, which is at least 1")
    numbers = {name: float(check(f"hyper {name}", value, Real())) for name, value in (hyper or {}).items()}
    batch = min(batch_size, *lengths)
    program = _program(function, arrays, rows, numbers, batch, dtype)
    executable = make_backend(backend).compile(program)
    return CompiledStep(executable, arrays["param"], arrays["state"], rows, numbers, seed)


def _program(
    function: Step,
    arrays: Mapping[str, Mapping[str, Array]],
    rows: Mapping[str, Array],
    hyper: Mapping[str, float],
    batch: int,
    dtype: DType,
) -> Program:
    inputs: list[Input] = []

    def add(name: str, role: Role, shape: Shape, kind: Any) -> Value:
        value = make_input(name, shape, kind)
        inputs.append(Input(name, role, value))
        return value

    data = {
        name: add(name, "data", (batch, *array.shape[1:]), array.dtype.name) for name, array in rows.items()
    }
    params, state = (
        {name: add(name, role, array.shape, array.dtype.name) for name, array in arrays[role].items()}
        for role in ("param", "state")
    )
    scalars = {name: add(name, "hyper", (), dtype) for name in hyper}
    row_mask = add("row mask", "row_mask", (batch,), "bool")
    step = add("step number", "step", (), "uint32")
    seed, row = add("random seed", "seed", (2,), "uint32"), add("row number", "row", (batch,), "uint32")
    returned = function(StepInputs(params, state, data, scalars, row_mask, step, dtype, seed, row))
    if not isinstance(returned, tuple) or len(returned) != 3:
        raise GraphError("the step must return three mappings: new parameters, new state, and outputs")
    kinds = ("parameter", "state", "output")
    for kind, values, current in zip(kinds, returned, (params, state, None), strict=True):
        if not isinstance(values, Mapping):
            raise GraphError(f"the step must return mappings; the {kind}s are {type(values).__name__}")
        for name, value in values.items():
            if not isinstance(value, Value):
                raise GraphError(
                    f"{kind} {name!r} of the step is {type(value).__name__}, not a value of the graph"
                )
            if current is not None and name not in current:
                raise unknown_name(f"{kind} of the step", name, current)
    if not returned[2]:
        raise GraphError("the step must have at least one output, such as its loss")
    outputs = tuple(Output(name, value) for name, value in returned[2].items())
    return Program("step", batch, tuple(inputs), {**returned[0], **returned[1]}, outputs).cleaned()


def _assigned(kind: str, values: Mapping[str, Any], inputs: Iterable[Input]) -> dict[str, Array]:
    """``values`` as arrays: numbers and lists take the dtype of their input; InputError for an unknown name."""
    types = {item.name: item.value.type for item in inputs}
    result: dict[str, Array] = {}
    for name, value in values.items():
        if name not in types:
            raise unknown_name(f"{kind} of this step", name, types)
        if isinstance(value, (np.ndarray, np.generic)):
            result[name] = np.asarray(value)
        else:
            dtype = types[name].dtype
            array = _arrays(kind, {name: value}, dtype)[name]
            result[name] = array.astype(dtype) if dtype in FLOATS else array
    return result


def _arrays(kind: str, arrays: Mapping[str, Any], dtype: DType) -> dict[str, Array]:
    """``arrays`` in the dtypes of a program; raises InputError unless all are arrays of finite numbers."""
    if not isinstance(arrays, Mapping):
        raise InputError(f"{kind} must be a mapping of names to arrays, not {type(arrays).__name__}")
    result: dict[str, Array] = {}
    for name, item in arrays.items():
        try:
            array = np.asarray(item)
        except ValueError:
            array = np.empty(0, object)
        if array.dtype.kind not in "biuf":
            raise InputError(f"{kind} {name!r} must be an array of numbers")
        if array.dtype.kind == "f":
            array = array.astype(dtype)
            if not np.isfinite(array).all():
                raise InputError(f"{kind} {name!r} contains NaN or Inf; give finite numbers")
        elif array.dtype.kind in "iu":
            limits = np.iinfo(np.int32)
            if array.size and not limits.min <= array.min() <= array.max() <= limits.max:
                raise InputError(f"{kind} {name!r} contains integers beyond 32 bits; give them as floats")
            array = array.astype(np.int32)
        result[name] = np.ascontiguousarray(array).reshape(array.shape)
    return result
