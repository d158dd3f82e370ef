"""A trained model: network, weights, preprocessing; it predicts, is evaluated, looked into, and saved."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from glassgrad.backends.base import Array, Backend, Executable, Feed, Handle
from glassgrad.common.errors import InputError, unknown_name
from glassgrad.common.layer_names import of_layer
from glassgrad.data.schema import Schema
from glassgrad.files.model_file import FORMAT, VERSION, model_bytes, read_model
from glassgrad.files.run_folder import resolve_model
from glassgrad.graph.node import FLOATS, DType
from glassgrad.losses.base import Loss
from glassgrad.losses.regression import Quantile
from glassgrad.losses.table import LOSSES
from glassgrad.nn.network import Network, from_document, kind_of
from glassgrad.program import Program
from glassgrad.training.backends import DEFAULT, backend
from glassgrad.training.metrics import metrics_of, quantities
from glassgrad.training.named_metrics import named_metrics
from glassgrad.training.programs import FEATURES, INSIDE, TARGETS, evaluation_program

EVALUATION_BATCH = 256


def evaluation_batch(rows: int) -> int:
    """How many rows at a time a model is used on ``rows`` rows."""
    return min(EVALUATION_BATCH, 1 << (rows - 1).bit_length())


@dataclass(eq=False)
class Model:
    """A network with its weights and its preprocessing. Features and targets are given as in the source."""

    network: Network
    schema: Schema
    loss: Loss
    weights: dict[str, Array]
    statistics: dict[str, Array]
    dtype: DType = "float32"
    backend: Backend | str = DEFAULT
    training: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    _compiled: dict[Any, Executable] = field(default_factory=dict, repr=False)

    @property
    def parameters(self) -> int:
        """The number of trained weights."""
        return sum(array.size for array in self.weights.values())

    # --- use ---------------------------------------------------------------------------------------------

    # Features are given as in the source that the model was trained on: an array, or a DataFrame, a dict of columns
    # or a Table. What is odd about a table (categories that training never saw ...) is a warning.

    def predict(self, features: Any) -> Array:
        """Labels [rows] for a classification, quantities in their own units for a regression."""
        return self.decode(self.outputs(features))

    def predict_probabilities(self, features: Any) -> Array:
        """The probability of every class, float64 [rows, classes]; InputError where the loss has none."""
        return self.probabilities(self.outputs(features))

    def outputs(self, features: Any) -> Array:
        """The raw outputs of the last layer [rows, units]."""
        return self.outputs_prepared(self.prepare(features))

    def outputs_prepared(self, features: Array, targets: Array | None = None) -> Array:
        """The same of rows that went through the preprocessing; with ``targets``, by the program that evaluates."""
        return self._run(features, targets)["output"]

    def decode(self, outputs: Array) -> Array:
        """What raw outputs [rows, units] mean: labels [rows], or quantities in their own units."""
        if self.schema.classes is None:
            return self.schema.decode_outputs(quantities(self.loss, outputs))
        return self.schema.labels(self.loss.predicted_classes(outputs))

    def probabilities(self, outputs: Array) -> Array:
        """The probability of every class, float64 [rows, classes]; InputError where the loss has none."""
        found = None
        if self.schema.classes is not None:
            found = self.loss.probabilities(outputs.astype(np.float64))
        if found is None:
            name = LOSSES.config(self.loss)["name"]
            raise InputError(f"a model trained with {name} has no probabilities; train with a cross-entropy")
        return found

    def handle(self, rows: int = 1) -> Handle:
        """A prepared call for ``rows`` rows at a time, for predictions that must not wait.

        It takes an array [rows, *feature_shape] of the model's dtype, as ``prepare`` gives it, and returns the raw
        outputs [rows, units]; it raises InputError for an array of another shape or dtype. One thread at a time may
        call it; weights that change later do not reach it. Raises InputError unless ``rows`` is at least 1.
        """
        if isinstance(rows, bool) or not isinstance(rows, (int, np.integer)) or rows < 1:
            raise InputError(f"a handle takes a whole number of rows of at least 1, not {rows!r}")
        executable = backend(self.backend).compile(self.program(int(rows)))
        return executable.handle(self.weights, self.statistics)

    def prepare(self, features: Any) -> Array:
        """Features as the network takes them."""
        found, told = self.schema.take_features(features, self.dtype)
        for said in told:
            warnings.warn(said, stacklevel=4)  # where predict was called
        return found

    def evaluate(
        self, features: Any, targets: Any = None, *, metrics: Sequence[str] = ()
    ) -> dict[str, float]:
        """``loss``, and ``accuracy`` or ``rmse``, ``mae`` and ``r2``, over all rows; see ``metrics.metrics_of``.

        Those of several targets are averages, and each target has its own as well: ``r2[price]``.

        Without ``targets``, features are a table with the target column, whose name the model knows. ``metrics`` are
        further ones by name (see ``named_metrics``). Raises InputError for one that does not fit the task.
        """
        if targets is None:
            known = self.schema.take_targets(features)
            features, targets = known.features, known.values
        encoded = self.schema.encode_targets(targets, self.dtype)
        return self.evaluate_prepared(self.prepare(features), encoded, metrics)

    def evaluate_prepared(
        self, features: Array, targets: Array, metrics: Sequence[str] = ()
    ) -> dict[str, float]:
        """The same on arrays that went through the preprocessing."""
        results = self._run(features, targets)
        outputs = results["output"]
        standard = metrics_of(self.loss, self.schema, outputs, results["row_loss"], targets)
        lacking = [name for name in metrics if name not in standard]
        return standard | (self._named_metrics(lacking, outputs, targets) if lacking else {})

    def _named_metrics(self, names: Sequence[str], outputs: Array, targets: Array) -> dict[str, float]:
        if self.schema.classes is None:
            values, true = (
                self.schema.decode_outputs(item).reshape(len(outputs), -1)
                for item in (quantities(self.loss, outputs), targets)
            )
            quantile = self.loss.level if isinstance(self.loss, Quantile) else None
            return named_metrics(names, true, values=values, quantile=quantile)
        return named_metrics(
            names,
            targets,
            labels=self.loss.predicted_classes(outputs),
            probabilities=self.loss.probabilities(outputs.astype(np.float64)),
        )

    # --- looking inside ----------------------------------------------------------------------------------

    def inside(self, features: Any, *names: str) -> dict[str, Array]:
        """Values inside the network for every row: layers (``dense_1``) or ``dense_1.preactivation``."""
        found = self._run(self.prepare(features), None, tuple(dict.fromkeys(names)))
        return {name: found[INSIDE + name] for name in names}

    def neuron(self, name: str, features: Any) -> Array:
        """The value of one neuron, [rows]: ``dense_1[7]``, or also ``dense_1.preactivation[7]``.

        In a layer with several axes it takes all of them: ``conv2d_1[3, 0, 5]``.
        """
        match = re.fullmatch(r"([\w.-]+)\[([\d,\s]+)\]", name)
        if match is None:
            raise InputError(f"{name!r} does not name a neuron; write layer[number], such as dense_1[7]")
        layer, numbers = match[1], [int(item) for item in match[2].split(",") if item.strip()]
        values = self.inside(features, layer)[layer]
        shape = values.shape[1:]
        if len(numbers) != len(shape) or any(i >= n for i, n in zip(numbers, shape, strict=True)):
            first, last = (", ".join(map(str, ends)) for ends in ([0] * len(shape), [n - 1 for n in shape]))
            raise InputError(f"{name!r}: the neurons of {layer} go from {layer}[{first}] to {layer}[{last}]")
        return values.reshape(len(values), -1)[:, int(np.ravel_multi_index(tuple(numbers), shape))]

    def _run(
        self, features: Array, targets: Array | None = None, inside: Sequence[str] = ()
    ) -> dict[str, Array]:
        if len(features) == 0:
            raise InputError("there are no rows to predict")
        batch = evaluation_batch(len(features))
        key = (batch, targets is not None, tuple(inside))
        if key not in self._compiled:
            self._compiled[key] = backend(self.backend).compile(
                self.program(batch, targets is not None, inside)
            )
        data = {FEATURES: features} | ({} if targets is None else {TARGETS: targets})
        order = np.arange(len(features), dtype=np.int32)
        feed = Feed(data, order, self.weights, self.statistics, {})
        return self._compiled[key].run(feed).outputs

    def program(self, batch: int = 1, with_loss: bool = False, inside: Sequence[str] = ()) -> Program:
        """The program of the network in use; ``print`` shows it as numbered equations."""
        return evaluation_program(
            self.network,
            self.schema.feature_shape,
            self.loss if with_loss else None,
            batch=batch,
            targets=None if self.schema.classes is not None else self.schema.outputs,
            inside=inside,
            dtype=self.dtype,
        )

    def share(self, compiled: dict[Any, Executable]) -> None:
        """Take programs from ``compiled``, which models of one form share, and put new ones there."""
        self._compiled = compiled

    def summary(self) -> list[dict[str, Any]]:
        """One entry per layer: name, type, inputs, output shape, number of parameters."""
        shapes = self.network.shapes(self.schema.feature_shape)
        rows = []
        for node in self.network.nodes:
            count = sum(array.size for array in of_layer(self.weights, node.name).values())
            rows.append(
                {
                    "name": node.name,
                    "type": kind_of(node.layer),
                    "inputs": list(node.inputs),
                    "shape": list(shapes[node.name]),
                    "parameters": count,
                }
            )
        return rows

    # --- files -------------------------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """The content of the model file."""
        document = {
            "format": FORMAT,
            "version": VERSION,
            "network": self.network.to_document(),
            "preprocessing": self.schema.to_document(),
            "training": self.training | {"loss": LOSSES.config(self.loss), "dtype": self.dtype},
            "metrics": self.metrics,
            "provenance": self.provenance,
        }
        return model_bytes(self.weights | self.statistics, document)


def load_model(path: str | Path, *, backend: Backend | str = DEFAULT) -> Model:
    """The model of a run folder or of a ``.safetensors`` file. Runs no code from the file.

    Raises InputError for a file that is missing, foreign, damaged or newer than this version.
    """
    file = resolve_model(Path(path))
    tensors, document = read_model(file)
    try:
        network = from_document(document["network"])
        schema = Schema.from_document(document["preprocessing"])
        training = dict(document["training"])
        for key in ("loss", "dtype"):
            if key not in training:
                raise InputError(f"the document's entry 'training' lacks {key!r}; save the model again")
        loss = LOSSES.make(training.pop("loss"))
        dtype: DType = training.pop("dtype")
        if dtype not in FLOATS:
            raise unknown_name("dtype", str(dtype), FLOATS)
        _check_outputs(network, schema, loss)
        wanted = network.weights(schema.feature_shape)
        weights = _take(tensors, dtype, {name: item.shape for name, item in wanted.items()})
        kept = network.statistics(schema.feature_shape)
        statistics = _take(tensors, dtype, {name: item.shape for name, item in kept.items()})
    except InputError as error:
        raise InputError(f"{file}: {error}") from None
    return Model(
        network,
        schema,
        loss,
        weights,
        statistics,
        dtype,
        backend,
        training,
        document["metrics"],
        document["provenance"],
    )


def _check_outputs(network: Network, schema: Schema, loss: Loss) -> None:
    """Refuse a network whose outputs are not what ``loss`` and ``schema`` make predictions of."""
    units = loss.units(None if schema.classes is None else len(schema.classes), schema.outputs)
    shape = network.shapes(schema.feature_shape)[network.output]
    if shape != (units,):
        raise InputError(
            f"the network gives rows of shape {list(shape)}, but loss {loss.name!r} on this data needs [{units}]; "
            "train it again"
        )


def _take(
    tensors: Mapping[str, Array], dtype: DType, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Array]:
    for name, shape in shapes.items():
        if name not in tensors or tensors[name].shape != shape or tensors[name].dtype != dtype:
            raise InputError(
                f"the weights {name!r} are missing or not of shape {list(shape)} and dtype {dtype}; "
                "train it again"
            )
    return {name: tensors[name] for name in shapes}
