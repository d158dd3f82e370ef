"""Lenses: measurements of every layer during training.

Lenses are probes of the training step. The compiled call computes them in some of its steps, from the values of that
step. The probes are separate graph beside the step, so the bits of the step do not change.
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
    "active": "share of (row, unit) whose activation has a slope above SLOPE",
    "output_mean": "mean of the layer's outputs over rows and units",
    "output_variance": "variance of the layer's outputs over rows and units",
}
"""The measures, and their meanings.

Layers with weights have the first three; layers whose output depends on weights have ``output_gradient_norm``; layers
with an activation have ``active``; all layers have ``output_mean`` and ``output_variance``.

Only valid rows count. A norm is infinite if a square overflows (float32: elements above 1.8e19), and 0 if all squares
underflow (below 1e-23).
"""

SLOPE = 0.005
"""A unit is active for a row if its activation has a larger slope than this.

A relu is active where its output is above 0. A sigmoid is saturated above 0.995 and below 0.005, tanh beyond ±0.9975;
their largest slopes are 1/4 and 1.
"""

# One step in EVERY is sampled, and the steps in START besides, since most changes happen early. Sampling a step costs
# as much as one or two steps. If a step has fewer than LARGE multiplications, at least PER_EPOCH steps of every epoch
# are sampled.
EVERY = 192
START = (1, 4, 16)
PER_EPOCH = 8
LARGE = 1 << 22


def is_sampled(steps: Array, *, steps_per_epoch: int, multiplications: int) -> Array:
    """Whether each of ``steps`` (numbers from 0 since the start of the training) is sampled: bool, of their shape.

    ``multiplications`` is the number of weights times the rows of a batch. The choice depends on shapes alone, so all
    runs with these shapes sample the same steps.
    """
    interval = EVERY if multiplications >= LARGE else max(1, min(EVERY, steps_per_epoch // PER_EPOCH))
    sampled: Array = (steps % interval == 0) | np.isin(steps, START)
    return sampled


# --- the graph -----------------------------------------------------------------------------------------------


def layer_gradients(
    network: Network, built: Built, loss: Value, weights: Mapping[str, Value]
) -> tuple[dict[Value, Value], dict[str, Value]]:
    """The gradient of the scalar ``loss`` by the output of every layer that depends on weights, and by every weight.

    The sweep goes layer by layer, from the last to the first. Each layer takes the gradient by its output, and gives
    the gradients by its weights and by its inputs.
    """
    by_output: dict[Value, Value] = {}
    by_weight: dict[str, Value] = {}
    dependent: set[str] = set()  # layers whose output depends on weights
    for node in network.nodes:
        if of_layer(weights, node.name) or not dependent.isdisjoint(node.inputs):
            dependent.add(node.name)
    outputs = {built.outputs[name] for name in dependent}

    def back(output: Value, cotangent: Value, inputs: Sequence[Value]) -> list[Value]:
        # Inputs are independent: one may be computed from another, as in a residual connection.
        cotangents = vjp([output], [cotangent], inputs, independent=True)
        return [zeros_like(v) if ct is None else ct for v, ct in zip(inputs, cotangents, strict=True)]

    with scope("backward", ""):
        (by_output[built.output],) = back(loss, full((), 1, loss.dtype), [built.output])
        for node in reversed([node for node in network.nodes if node.name in dependent]):
            output, layer_weights = built.outputs[node.name], of_layer(weights, node.name)
            inputs = [built.outputs[name] for name in node.inputs]
            if output not in by_output:  # the output is unused
                by_output[output] = zeros_like(output)
            if output in inputs:  # the layer returns its input
                by_weight |= {key: zeros_like(value) for key, value in layer_weights.items()}
                continue
            before = [value for value in dict.fromkeys(inputs) if value in outputs]
            gradients = back(output, by_output[output], [*before, *layer_weights.values()])
            for value, part in zip(before, gradients, strict=False):
                by_output[value] = by_output[value] + part if value in by_output else part
            by_weight |= dict(zip(layer_weights, gradients[len(before) :], strict=True))
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
    """Every measure of every layer as a scalar output named ``measure/layer``.

    ``built`` is the network in training mode, ``by_output`` and ``by_weight`` are its ``layer_gradients``.
    ``weights`` are the weights before the step, ``updated`` those after it (of trained layers only). ``row_mask`` is
    bool [batch].
    """
    probes: dict[tuple[str, str], Value] = {}
    with scope("update", "lenses"):
        for node in network.nodes:
            name, output = node.name, built.outputs[node.name]
            layer_weights = of_layer(weights, node.name)
            if layer_weights:
                steps = [updated[key] - value for key, value in layer_weights.items() if key in updated]
                probes["gradient_norm", name] = _norm([by_weight[key] for key in layer_weights])
                probes["weight_norm", name] = _norm(list(layer_weights.values()))
                probes["update_norm", name] = _norm(steps) if steps else full((), 0, output.dtype)
            rows = _Rows(output, row_mask)
            if output in by_output:
                probes["output_gradient_norm", name] = sqrt(rows.total(by_output[output], lambda g: g * g))
            slope = _slope(node, built)
            if slope is not None:
                probes["active", name] = rows.mean(slope, lambda s: convert(absolute(s) > SLOPE, s.dtype))
            mean = probes["output_mean", name] = rows.mean(output, lambda y: y)
            probes["output_variance", name] = rows.mean(output, lambda y, m=mean: (y - m) * (y - m))
    ordered = sorted(probes.items(), key=lambda item: list(MEASURES).index(item[0][0]))
    return tuple(Output(f"{measure}/{layer}", value) for (measure, layer), value in ordered)


def _norm(values: Sequence[Value]) -> Value:
    """The Euclidean norm of all elements of ``values`` together."""
    squares = [reduce_sum(value * value) for value in values]
    total = squares[0]
    for square in squares[1:]:
        total = total + square
    return sqrt(total)


class _Rows:
    """Sums and means over the valid rows of a layer's outputs [batch, ...]."""

    def __init__(self, output: Value, row_mask: Value) -> None:
        self.shape = (output.shape[0], output.type.size // output.shape[0])
        self.row_mask = broadcast(row_mask, self.shape, (0,))
        self.count = reduce_sum(convert(row_mask, output.dtype)) * float(self.shape[1])

    def total(self, values: Value, function: Any) -> Value:
        return reduce_sum(select(self.row_mask, function(reshape(values, self.shape)), 0.0))

    def mean(self, values: Value, function: Any) -> Value:
        return self.total(values, function) / self.count


def _slope(node: LayerNode, built: Built) -> Value | None:
    """The slope of a layer's activation at each row and unit; None unless the activation is elementwise."""
    activation = own_activation(node.layer)
    output = built.outputs[node.name]
    preactivation = built.inner.get(full_name(node.name, "preactivation"))
    if activation is None:
        return None
    if preactivation is None:  # it is inside the body of a scan
        slope_of_output = _SLOPES.get(type(activation))
        return None if slope_of_output is None else slope_of_output(output)
    if not _depends_elementwise(output, preactivation):
        return None
    (slope,) = vjp([output], [full(output.shape, 1, output.dtype)], [preactivation])
    return zeros_like(output) if slope is None else slope


_SLOPES: dict[type[Activation], Any] = {
    Tanh: lambda y: 1 - y * y,
    Sigmoid: lambda y: y * (1 - y),
    ReLU: lambda y: select(y > 0, full(y.shape, 1, y.dtype), 0.0),
}
"""The slope of an activation as a function of its output."""


def _depends_elementwise(output: Value, source: Value) -> bool:
    """Whether each element of ``output`` depends on no element of ``source`` but the one at the same index."""
    dependent = {source}
    for node in topological([output], [source]):
        if node is not source.node and any(value in dependent for value in node.inputs):
            if not _is_elementwise(node):
                return False
            dependent.update(node.outputs)
    return True


def _is_elementwise(node: Node) -> bool:
    if node.op.name == "call":
        (body,) = node.regions
        return all(_depends_elementwise(value, source) for value in body.outputs for source in body.inputs)
    return isinstance(node.op, Op) and node.op.elementwise


# --- the samples ---------------------------------------------------------------------------------------------


@frozen
class Lenses:
    """The samples of a training: one number per sample, for each measure of each layer (see ``MEASURES``).

    ``lenses["gradient_norm", "dense_1"]`` is an array [samples]. ``steps`` [samples] are the numbers of the sampled
    steps (from 0), ``epochs`` [samples] the numbers of their epochs (from 1). A sample is computed with the weights
    before its step and the batch of its step. The last sample of a run that met NaN or Inf may be of the bad step.
    """

    steps: Array
    epochs: Array
    values: Mapping[tuple[str, str], Array]

    def __getitem__(self, key: tuple[str, str]) -> Array:
        if key not in self.values:
            raise unknown_name("lens", "/".join(key), ["/".join(names) for names in self.values])
        return self.values[key]

    def __len__(self) -> int:
        return len(self.steps)

    def layers(self, measure: str) -> tuple[str, ...]:
        """The layers that have ``measure``, in the order of the network; InputError for an unknown one."""
        if measure not in MEASURES:
            raise unknown_name("measure", measure, MEASURES)
        return tuple(layer for name, layer in self.values if name == measure)

    def update_ratio(self, layer: str) -> Array:
        """The norm of each update divided by the norm of the weights, [samples]; NaN where both are 0."""
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio: Array = self["update_norm", layer] / self["weight_norm", layer]
        return ratio

    def per_epoch(self) -> Lenses:
        """The means over the samples of each epoch: one sample per sampled epoch, at its first sampled step."""
        epochs, starts, counts = np.unique(self.epochs, return_index=True, return_counts=True)
        values = {
            key: np.add.reduceat(array, starts) / counts.astype(array.dtype) if len(starts) else array
            for key, array in self.values.items()
        }
        return Lenses(self.steps[starts], epochs, values)

    def document(self) -> dict[str, Any]:
        """The samples as plain lists: ``steps``, ``epochs``, and values by measure and layer."""
        document: dict[str, Any] = {"steps": self.steps.tolist(), "epochs": self.epochs.tolist()}
        for (measure, layer), array in self.values.items():
            document.setdefault(measure, {})[layer] = array.tolist()
        return document

    def to_bytes(self) -> bytes:
        """The content of ``lenses.safetensors``."""
        arrays = {"/".join(key): array for key, array in self.values.items()}
        return arrays_bytes(arrays | {"steps": self.steps, "epochs": self.epochs})


class LensRecorder:
    """Collects the samples during a training."""

    def __init__(self, steps_per_epoch: int, multiplications: int) -> None:
        self._steps_per_epoch, self._multiplications = steps_per_epoch, multiplications
        self._steps: list[Array] = []
        self._probes: list[Mapping[str, Array]] = []
        self.last: int | None = None
        """The step at which the training diverged, or None. Samples of later steps of the same call do not count."""

    def mask(self, first: int, count: int) -> Array:
        """Whether to sample each of ``count`` steps from ``first`` on, bool [count]."""
        return is_sampled(
            np.arange(first, first + count),
            steps_per_epoch=self._steps_per_epoch,
            multiplications=self._multiplications,
        )

    def add(self, first: int, mask: Array, probes: Mapping[str, Array]) -> None:
        """Record the ``probes`` of a call that began at the step ``first`` and sampled the steps in ``mask``.

        The samples of a repeated call replace those of the interrupted one.
        """
        while self._steps and (self._steps[-1] >= first).any():
            self._steps.pop()
            self._probes.pop()
        self._steps.append(first + np.flatnonzero(mask))
        self._probes.append(probes)

    def arrays(self) -> dict[str, Array]:
        """All samples so far, for a checkpoint: ``steps``, and one array per probe."""
        if not self._probes:
            return {}
        probes = {name: np.concatenate([call[name] for call in self._probes]) for name in self._probes[0]}
        return {"steps": np.concatenate(self._steps), **probes}

    def restore(self, arrays: Mapping[str, Array]) -> None:
        """Restore the samples that ``arrays`` returned."""
        probes = {name: array for name, array in arrays.items() if name != "steps"}
        self._steps, self._probes = ([arrays["steps"]], [probes]) if arrays else ([], [])
        self.last = None

    def lenses(self, since: int = 0) -> Lenses:
        """The samples from the step ``since`` on."""
        steps = np.concatenate([np.zeros(0, np.int64), *self._steps])
        selected = steps >= since
        if self.last is not None:
            selected &= steps <= self.last
        values = {
            (measure, layer): np.concatenate([call[name] for call in self._probes])[selected]
            for name in (self._probes[0] if self._probes else ())
            for measure, _, layer in [name.partition("/")]
        }
        return Lenses(steps[selected], steps[selected] // self._steps_per_epoch + 1, values)


def read_lenses(run: str | Path) -> Lenses:
    """The lenses in the run folder ``run``; raises InputError if there are none, or the file is damaged."""
    path = Path(run) / LENSES
    if not path.exists() and Path(run).is_dir():
        raise InputError(f"{run}: has no lenses; train with watch=True (--watch), or replay the run with it")
    arrays = read_arrays(path)
    steps, epochs = arrays.pop("steps", None), arrays.pop("epochs", None)
    if steps is None or epochs is None or any(array.shape != steps.shape for array in arrays.values()):
        raise InputError(f"{path} is damaged; copy it again, or replay the run")
    parts = {name: name.partition("/") for name in arrays}
    return Lenses(steps, epochs, {(part[0], part[2]): arrays[name] for name, part in parts.items()})
