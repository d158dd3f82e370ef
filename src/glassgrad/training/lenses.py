"""Lenses: what a network is seen to do, layer by layer, while it trains.

They are probes of the training step: measured inside the compiled call, in one step of many, from what that step
finds. The step itself stays as it is, to the bit, since the probes are a graph beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from glassgrad.autodiff.sweeps import vjp
from glassgrad.backends.base import Array
from glassgrad.common.errors import InputError, unknown_name
from glassgrad.common.frozen import frozen
from glassgrad.common.layer_names import full_name, of_layer
from glassgrad.files.run_folder import LENSES, arrays_bytes, read_arrays
from glassgrad.graph.node import Node, Value, scope, topological
from glassgrad.nn.activations import Activation, ReLU, Sigmoid, Tanh
from glassgrad.nn.network import Built, LayerNode, Network, own_activation
from glassgrad.ops.elementwise import absolute, select, sqrt
from glassgrad.ops.op import Op
from glassgrad.ops.structure import broadcast, convert, full, reduce_sum, reshape, zeros_like
from glassgrad.program import Output

MEASURES: dict[str, str] = {
    "gradient_norm": "Euclidean norm of the gradient of the loss by all weights of the layer, before any clipping",
    "weight_norm": "Euclidean norm of all weights of the layer",
    "update_norm": "Euclidean norm of what the step adds to them; 0 in a frozen layer",
    "output_gradient_norm": "Euclidean norm of the gradient of the loss by the layer's outputs for the whole batch",
    "active": "share of (row, unit) whose activation passes more than SLOPE of the gradient on",
    "output_mean": "mean of the layer's outputs over rows and units",
    "output_variance": "their variance",
}
"""What is measured, and what it means.

The first three are of layers with weights, the gradient by the outputs of those that depend on weights, ``active`` of
those with an activation; mean and variance are of all layers.

Only rows that exist count. A square that overflows makes a norm infinite (float32: elements beyond 1.8e19), one that
underflows makes it 0 (below 1e-23).
"""

# A unit is active for a row where its activation has a slope beyond this. For relu: where its output is above 0. A
# sigmoid is saturated beyond 0.995 (or below 0.005), tanh beyond 0.9975 (they have slopes of 1/4 and 1 at most).
SLOPE = 0.005

# The steps looked at: one in EVERY, and the first few closer together, since most happens there. Looking costs one
# to two steps. Where a step has less than LARGE multiplications, and so costs next to nothing, it is at least
# PER_EPOCH steps of every epoch.
EVERY = 192
START = (1, 4, 16)
PER_EPOCH = 8
LARGE = 1 << 22


def looked_at(steps: Array, *, steps_per_epoch: int, multiplications: int) -> Array:
    """Which of ``steps`` (numbers from 0 since the start of the training) are looked at, bool of the same shape.

    ``multiplications``: weights times rows of a batch. By the shapes alone, so that every run of them looks at the
    same steps.
    """
    every = EVERY if multiplications >= LARGE else max(1, min(EVERY, steps_per_epoch // PER_EPOCH))
    found: Array = (steps % every == 0) | np.isin(steps, START)
    return found


# --- the graph -----------------------------------------------------------------------------------------------


def layer_gradients(
    network: Network, built: Built, loss: Value, weights: Mapping[str, Value]
) -> tuple[dict[Value, Value], dict[str, Value]]:
    """The gradient of the scalar ``loss`` by the output of every layer that depends on weights, and by every weight.

    Layer by layer from the last: each hands the gradient by its output on to its weights and to what it takes.
    """
    by_output: dict[Value, Value] = {}
    by_weight: dict[str, Value] = {}
    trained: set[str] = set()
    for node in network.nodes:
        if of_layer(weights, node.name) or not trained.isdisjoint(node.inputs):
            trained.add(node.name)
    outputs = {built.outputs[name] for name in trained}

    def back(output: Value, cotangent: Value, inputs: Sequence[Value]) -> list[Value]:
        # By each input of the layer on its own: one of them may be made of another, as in a residual connection.
        found = vjp([output], [cotangent], inputs, independent=True)
        return [zeros_like(v) if ct is None else ct for v, ct in zip(inputs, found, strict=True)]

    with scope("backward", ""):
        (by_output[built.output],) = back(loss, full((), 1, loss.dtype), [built.output])
        for node in reversed([node for node in network.nodes if node.name in trained]):
            output, own = built.outputs[node.name], of_layer(weights, node.name)
            given = [built.outputs[name] for name in node.inputs]
            if output not in by_output:  # nobody takes it
                by_output[output] = zeros_like(output)
            if output in given:  # it computes nothing
                by_weight |= {key: zeros_like(value) for key, value in own.items()}
                continue
            before = [value for value in dict.fromkeys(given) if value in outputs]
            found = back(output, by_output[output], [*before, *own.values()])
            for value, part in zip(before, found, strict=False):
                by_output[value] = by_output[value] + part if value in by_output else part
            by_weight |= dict(zip(own, found[len(before) :], strict=True))
    return by_output, by_weight


def lens_probes(
    network: Network,
    built: Built,
    by_output: Mapping[Value, Value],
    by_weight: Mapping[str, Value],
    weights: Mapping[str, Value],
    updated: Mapping[str, Value],
    row_mask: Value,
) -> tuple[Output, ...]:
    """Every measure of every layer, named ``measure/layer``, each a scalar.

    ``built`` is the network in training, with the gradients of ``layer_gradients``; ``weights`` and ``updated``
    are the weights before and after the step (the latter of the trained layers only), ``row_mask`` is bool [batch].
    """
    found: dict[tuple[str, str], Value] = {}
    with scope("update", "lenses"):
        for node in network.nodes:
            name, output = node.name, built.outputs[node.name]
            own = of_layer(weights, node.name)
            if own:
                moved = [updated[key] - value for key, value in own.items() if key in updated]
                found["gradient_norm", name] = _norm([by_weight[key] for key in own])
                found["weight_norm", name] = _norm(list(own.values()))
                found["update_norm", name] = _norm(moved) if moved else full((), 0, output.dtype)
            rows = _Rows(output, row_mask)
            if output in by_output:
                found["output_gradient_norm", name] = sqrt(rows.total(by_output[output], lambda g: g * g))
            slope = _slope(node, built)
            if slope is not None:
                found["active", name] = rows.mean(slope, lambda s: convert(absolute(s) > SLOPE, s.dtype))
            mean = found["output_mean", name] = rows.mean(output, lambda y: y)
            found["output_variance", name] = rows.mean(output, lambda y, m=mean: (y - m) * (y - m))
    ordered = sorted(found.items(), key=lambda item: list(MEASURES).index(item[0][0]))
    return tuple(Output(f"{measure}/{layer}", value) for (measure, layer), value in ordered)


def _norm(values: Sequence[Value]) -> Value:
    squares = [reduce_sum(value * value) for value in values]
    total = squares[0]
    for square in squares[1:]:
        total = total + square
    return sqrt(total)


class _Rows:
    """Sums over what exists of a layer's outputs [batch, ...]."""

    def __init__(self, output: Value, row_mask: Value) -> None:
        self.shape = (output.shape[0], output.type.size // output.shape[0])
        self.row_mask = broadcast(row_mask, self.shape, (0,))
        self.count = reduce_sum(convert(row_mask, output.dtype)) * float(self.shape[1])

    def total(self, values: Value, function: Any) -> Value:
        return reduce_sum(select(self.row_mask, function(reshape(values, self.shape)), 0.0))

    def mean(self, values: Value, function: Any) -> Value:
        return self.total(values, function) / self.count


def _slope(node: LayerNode, built: Built) -> Value | None:
    """The slope of a layer's activation at each unit and row; None without one that works unit by unit."""
    found = own_activation(node.layer)
    output, before = built.outputs[node.name], built.inner.get(full_name(node.name, "preactivation"))
    if found is None:
        return None
    if before is None:  # out of sight, in the body of a scan
        by_output = _SLOPES.get(type(found))
        return None if by_output is None else by_output(output)
    if not _unit_by_unit(output, before):
        return None
    (slope,) = vjp([output], [full(output.shape, 1, output.dtype)], [before])
    return zeros_like(output) if slope is None else slope


_SLOPES: dict[type[Activation], Any] = {
    Tanh: lambda y: 1 - y * y,
    Sigmoid: lambda y: y * (1 - y),
    ReLU: lambda y: select(y > 0, full(y.shape, 1, y.dtype), 0.0),
}


def _unit_by_unit(output: Value, given: Value) -> bool:
    """Whether each element of ``output`` depends on the same element of ``given`` alone."""
    touched = {given}
    for node in topological([output], [given]):
        if node is not given.node and any(value in touched for value in node.inputs):
            if not _is_elementwise(node):
                return False
            touched.update(node.outputs)
    return True


def _is_elementwise(node: Node) -> bool:
    if node.op.name == "call":
        (body,) = node.regions
        return all(_unit_by_unit(value, given) for value in body.outputs for given in body.inputs)
    return isinstance(node.op, Op) and node.op.elementwise


# --- what was seen -------------------------------------------------------------------------------------------


@frozen
class Lenses:
    """What was seen: one number per sample, for each measure of each layer (see ``MEASURES``).

    ``lenses["gradient_norm", "dense_1"]`` is an array [samples]. ``steps`` [samples] are the numbers of the steps
    looked at (from 0), ``epochs`` [samples] those of their epochs (from 1). Each sample shows what its step found:
    the weights before it, and its own batch. A run that met NaN or Inf may end in a sample of that very step.
    """

    steps: Array
    epochs: Array
    values: Mapping[tuple[str, str], Array]

    def __getitem__(self, key: tuple[str, str]) -> Array:
        if key not in self.values:
            raise unknown_name("lens", "/".join(key), ["/".join(known) for known in self.values])
        return self.values[key]

    def __len__(self) -> int:
        return len(self.steps)

    def layers(self, measure: str) -> tuple[str, ...]:
        """The layers that have ``measure``, in the order of the network; InputError for an unknown one."""
        if measure not in MEASURES:
            raise unknown_name("measure", measure, MEASURES)
        return tuple(layer for known, layer in self.values if known == measure)

    def update_ratio(self, layer: str) -> Array:
        """The norm of each update relative to that of the weights, [samples]; NaN where both are 0."""
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio: Array = self["update_norm", layer] / self["weight_norm", layer]
        return ratio

    def per_epoch(self) -> Lenses:
        """The mean over the samples of each epoch: one sample per epoch that has any, at the first of its steps."""
        epochs, starts, counts = np.unique(self.epochs, return_index=True, return_counts=True)
        values = {
            key: np.add.reduceat(array, starts) / counts.astype(array.dtype) if len(starts) else array
            for key, array in self.values.items()
        }
        return Lenses(self.steps[starts], epochs, values)

    def document(self) -> dict[str, Any]:
        """The same as plain lists: ``steps``, ``epochs``, and by measure and layer."""
        found: dict[str, Any] = {"steps": self.steps.tolist(), "epochs": self.epochs.tolist()}
        for (measure, layer), array in self.values.items():
            found.setdefault(measure, {})[layer] = array.tolist()
        return found

    def to_bytes(self) -> bytes:
        """The content of ``lenses.safetensors``."""
        arrays = {"/".join(key): array for key, array in self.values.items()}
        return arrays_bytes(arrays | {"steps": self.steps, "epochs": self.epochs})


class Looking:
    """Collects samples while a run is under way."""

    def __init__(self, steps_per_epoch: int, multiplications: int) -> None:
        self._steps_per_epoch, self._multiplications = steps_per_epoch, multiplications
        self._steps: list[Array] = []
        self._found: list[Mapping[str, Array]] = []
        self.last: int | None = None
        """The step at which the training broke off; what its call did after it does not count."""

    def mask(self, first: int, count: int) -> Array:
        """Which of ``count`` steps from ``first`` on to look at."""
        return looked_at(
            np.arange(first, first + count),
            steps_per_epoch=self._steps_per_epoch,
            multiplications=self._multiplications,
        )

    def add(self, first: int, mask: Array, probes: Mapping[str, Array]) -> None:
        """Keep what a call found that began with the step ``first`` and looked at ``mask``.

        Samples of a call that was broken off and is made again are replaced.
        """
        while self._steps and (self._steps[-1] >= first).any():
            self._steps.pop()
            self._found.pop()
        self._steps.append(first + np.flatnonzero(mask))
        self._found.append(probes)

    def arrays(self) -> dict[str, Array]:
        """All samples so far, for a checkpoint: ``steps``, and one array per probe."""
        if not self._found:
            return {}
        probes = {name: np.concatenate([found[name] for found in self._found]) for name in self._found[0]}
        return {"steps": np.concatenate(self._steps), **probes}

    def restore(self, arrays: Mapping[str, Array]) -> None:
        """Take back what ``arrays`` gave."""
        probes = {name: array for name, array in arrays.items() if name != "steps"}
        self._steps, self._found = ([arrays["steps"]], [probes]) if arrays else ([], [])
        self.last = None

    def lenses(self, since: int = 0) -> Lenses:
        """What was seen, from the step ``since`` on."""
        steps = np.concatenate([np.zeros(0, np.int64), *self._steps])
        kept = steps >= since
        if self.last is not None:
            kept &= steps <= self.last
        values = {
            (measure, layer): np.concatenate([found[name] for found in self._found])[kept]
            for name in (self._found[0] if self._found else ())
            for measure, _, layer in [name.partition("/")]
        }
        return Lenses(steps[kept], steps[kept] // self._steps_per_epoch + 1, values)


def read_lenses(run: str | Path) -> Lenses:
    """The lenses in the run folder ``run``; raises InputError where there are none, or the file is damaged."""
    path = Path(run) / LENSES
    if not path.exists() and Path(run).is_dir():
        raise InputError(f"{run}: has no lenses; train with watch=True (--watch), or replay the run with it")
    arrays = read_arrays(path)
    steps, epochs = arrays.pop("steps", None), arrays.pop("epochs", None)
    if steps is None or epochs is None or any(array.shape != steps.shape for array in arrays.values()):
        raise InputError(f"{path}: is damaged; copy it again, or replay the run")
    parts = {name: name.partition("/") for name in arrays}
    return Lenses(steps, epochs, {(part[0], part[2]): arrays[name] for name, part in parts.items()})
