"""The derivative of the loss of one row by one weight or input, as a sum over paths."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path as FilePath
from typing import Any

import numpy as np

from glassgrad.backends.base import Array
from glassgrad.common import constraints
from glassgrad.common.constraints import check, python_value
from glassgrad.common.errors import InputError, shown, unknown_name
from glassgrad.common.layer_names import layer_of, of_layer
from glassgrad.data.checks import some
from glassgrad.data.dataset import Dataset
from glassgrad.data.number_encodings import NumberEncoding
from glassgrad.data.schema import Schema
from glassgrad.data.sources import load_rows
from glassgrad.data.table import Table
from glassgrad.data.tabular import to_tabular
from glassgrad.explain.explanation import Explanation, Factor, Layer, Line
from glassgrad.explain.lines import line_of
from glassgrad.explain.links import EvaluatedNetwork, TooLarge
from glassgrad.explain.paths import PathSearch, first_paths
from glassgrad.explain.row_loss import INPUT as INPUT_NAME
from glassgrad.explain.row_loss import RowLoss
from glassgrad.explain.step import step_view
from glassgrad.losses.table import LOSSES
from glassgrad.nn.layers.embedding import Embedding
from glassgrad.nn.network import INPUT
from glassgrad.training.metrics import quantities
from glassgrad.training.model import Model, load_model

CENTRAL_TOLERANCE = 1e-6
"""If the relative error of the central difference is larger, a kink is looked for."""


def explain_derivative(
    model: Model | str | FilePath,
    source: Any,
    *,
    row: int = 0,
    weight: str | None = None,
    input: str | None = None,
    targets: Any = None,
    paths: int = 5,
) -> Explanation:
    """The derivative of the loss of one row by one ``weight`` or one ``input``, with its strongest ``paths``.

    ``model`` is a model or the path of a run folder or model file. ``source`` is a source as on the command line, a
    ``Dataset``, a table with its target column, or (with ``targets``) an array of rows. ``weight`` is written
    ``dense_1.weights[3,7]``. ``input`` is a column, an encoded input such as ``workclass=Private``, or ``x[3]``.

    All computations are in float64, with the network in prediction mode (no dropout, running statistics). Raises
    InputError if the row, weight or input does not exist, or if it has no finite loss or derivative.
    """
    if (weight is None) == (input is None):
        raise InputError("name either one weight (dense_1.weights[3,7]) or one input (a column, or x[3])")
    paths = check("paths", paths, constraints.Whole(0, 2**31 - 1))
    loaded = model if isinstance(model, Model) else load_model(model)
    x, target, raw_target, raw_row, source_name = _row(loaded, source, targets, row)
    evaluated = EvaluatedNetwork(
        loaded.network, loaded.weights, loaded.statistics, x, loaded.schema.input_names
    )
    row_loss = RowLoss.of(evaluated, loaded.loss, target)
    if not np.isfinite(row_loss.loss):
        raise InputError(
            f"{source_name}: the loss of row {row} is {row_loss.loss}; choose a row with a finite loss"
        )
    raw_value = None
    if weight is not None:
        name, index = _weight(loaded, weight)
        start, ends = evaluated.weight_derivatives(name, index)
        value = float(evaluated.weights[name][index])
        full_name = f"{name}[{','.join(map(str, index))}]"
        array_name = name
    else:
        assert input is not None
        number, full_name = _input(loaded.schema, input)
        for node in loaded.network.nodes:
            if isinstance(node.layer, Embedding) and INPUT in node.inputs:
                raise InputError(
                    f"{full_name} is an index into layer {node.name!r}, so the loss has no derivative by "
                    f"it; explain one of the weights, such as {node.name}.weights[0,0]"
                )
        index = (0, *(int(i) for i in np.unravel_index(number, x.shape)))
        start, ends = INPUT, np.zeros(x.size)
        ends[number] = 1.0
        raw_value = _raw_value(loaded.schema, raw_row, number)
        value, array_name = float(x.reshape(-1)[number]), INPUT_NAME
    derivative = float(row_loss.gradients[array_name][index])
    if not np.isfinite(derivative):
        raise InputError(
            f"{source_name}: the derivative of row {row} by {full_name} is {derivative}, not a finite number"
        )
    forward, central = row_loss.forward(array_name, index), row_loss.central(array_name, index)
    central_error = row_loss.error(array_name, index, central)
    lines: Sequence[Line] = ()
    count = total = search = None
    omitted = None if paths else "no paths were requested"
    if paths:
        try:
            search = PathSearch(evaluated, start, ends, loaded.network.output, row_loss.seed)
        except TooLarge as error:
            omitted = str(error)
        else:
            count, total = search.count, search.total
            lines = [line_of(evaluated, path, full_name) for path in first_paths(search.strongest(), paths)]
    outputs = evaluated.tensors[loaded.network.output].values[None]
    return Explanation(
        source=source_name,
        row=row,
        what="weight" if weight is not None else "input",
        name=full_name,
        value=value,
        given=raw_value,
        target=raw_target,
        prediction=_predicted(loaded, outputs),
        probabilities=_probabilities(loaded, outputs),
        loss=row_loss.loss,
        loss_name=str(LOSSES.config(loaded.loss)["name"]),
        derivative=derivative,
        forward=forward,
        central=central,
        forward_error=row_loss.error(array_name, index, forward),
        central_error=central_error,
        kink=central_error > CENTRAL_TOLERANCE and row_loss.kink(array_name, index),
        lines=tuple(lines),
        paths=count,
        path_total=total,
        paths_error=None if total is None else row_loss.error(array_name, index, total),
        omitted=omitted,
        zero=_zero(evaluated, search, full_name) if search is not None and not count else None,
        unit=None if weight is not None else _per_unit(loaded.schema, index, x, derivative),
        layers=tuple(_layers(evaluated)),
        step=None
        if weight is None
        else step_view(loaded.training, evaluated.weights, dict(row_loss.gradients), name, index),
    )


# --- arguments ---------------------------------------------------------------------------------------------


def _row(model: Model, source: Any, targets: Any, row: int) -> tuple[Array, Array, Any, Any, str]:
    """The prepared row, its encoded target, its raw target, the raw row, and the name of the source in messages.

    The prepared row has no batch axis; the encoded target and the raw row have one of size 1.
    """
    source_name = "the rows"
    if targets is not None and isinstance(source, str | FilePath | Dataset):
        raise InputError(
            "targets are only for rows given as an array; leave them out: the source has targets"
        )
    if isinstance(source, str | FilePath):
        source_name = str(source)
        rows = load_rows(source, targets=True)
        features, targets = rows.features, rows.targets
        source_name += "" if rows.part == "all" else f" ({rows.part} part)"
    elif isinstance(source, Dataset):
        features, targets = source.features, source.targets
    else:
        table = to_tabular(source) if model.schema.table is not None else None
        features = source if table is None else table
    row = python_value(row)
    if not constraints.Whole(0, len(features) - 1).allows(row):
        raise InputError(f"{source_name}: has rows 0 to {len(features) - 1}, not row {shown(row)}")
    raw_row = features[row : row + 1]
    if isinstance(raw_row, Table) and targets is None:
        with_targets = model.schema.take_targets(raw_row)
        if len(with_targets.values) == 0:
            raise InputError(
                f"{source_name}: row {row} has no target and therefore no loss; choose another row"
            )
        raw_row, values = with_targets.features, with_targets.values
    elif targets is None:
        raise InputError(
            f"{source_name}: has no targets, and a row without a target has no loss; pass targets"
        )
    else:
        values = np.asarray(targets)[row : row + 1]
    x, _ = model.schema.take_features(raw_row, np.float64, source_name)
    encoded = model.schema.encode_targets(values, np.float64, source_name)
    return x[0], encoded, np.asarray(values).tolist()[0], raw_row, source_name


def _weight(model: Model, text: str) -> tuple[str, tuple[int, ...]]:
    match = re.fullmatch(r"\s*([\w.-]+)\s*\[([\d,\s]+)\]\s*", text)
    if match is None:
        raise InputError(
            f"{text!r} does not name a weight; write name[indices], such as dense_1.weights[3,7]"
        )
    name, index = match[1], tuple(int(item) for item in match[2].split(",") if item.strip())
    if name not in model.weights and f"{name}s" in model.weights:
        name += "s"  # dense_1.weight
    if name not in model.weights:
        raise unknown_name("weight", name, model.weights)
    shape = model.weights[name].shape
    if len(index) != len(shape) or any(i >= n for i, n in zip(index, shape, strict=True)):
        first, last = (",".join(map(str, ends)) for ends in ([0] * len(shape), [n - 1 for n in shape]))
        raise InputError(f"{text!r}: the elements of {name} go from {name}[{first}] to {name}[{last}]")
    return name, index


def _input(schema: Schema, text: str) -> tuple[int, str]:
    names = schema.input_names
    compact = {re.sub(r"\s", "", name): number for number, name in enumerate(names)}
    compact_text = re.sub(r"\s", "", text)
    if schema.table is None and re.fullmatch(r"\[?[\d,]+\]?", compact_text):
        compact_text = f"x[{compact_text.strip('[]')}]"
    if compact_text in compact:
        return compact[compact_text], names[compact[compact_text]]
    if schema.table is not None:
        encoded_names = [
            name for name, origin in zip(names, schema.table.origins, strict=True) if origin == text
        ]
        if encoded_names:
            raise InputError(
                f"{text!r} is a category and has no derivative; name one of its inputs: {some(encoded_names)}"
            )
        close_names = get_close_matches(text, [*names, *schema.table.origins], n=3, cutoff=0.5)
        hint = (
            f"; did you mean {some(close_names)}?" if close_names else f"; its inputs are {some(list(names))}"
        )
        raise InputError(f"{text!r} is not an input of this model{hint}")
    last = ", ".join(str(n - 1) for n in schema.feature_shape)
    first = ", ".join("0" for _ in schema.feature_shape)
    raise InputError(f"{text!r} is not an input of this model; its inputs go from x[{first}] to x[{last}]")


def _raw_value(schema: Schema, raw_row: Any, number: int) -> Any:
    """The raw value of input ``number``: for a table, the value of the column that it comes from."""
    if schema.table is None:
        return np.asarray(raw_row)[0].reshape(-1)[number].item()
    if not isinstance(raw_row, Table):
        return None
    column = raw_row.column(schema.table.origins[number])
    value = column.values[0]
    if column.missing[0]:
        return "missing"
    return value.item() if isinstance(value, np.number | np.bool_) else str(value)


# --- results -----------------------------------------------------------------------------------------------


def _zero(evaluated: EvaluatedNetwork, search: PathSearch, full_name: str) -> str:
    """The reason why no path leads to the weight or input."""
    (units,) = np.nonzero(search.ends)
    tensor = evaluated.tensors[search.tensor_name]
    if not len(units):
        return f"{full_name} is multiplied by 0 in this row"
    for name, layer in evaluated.layers.items():
        if layer.inner != search.tensor_name or layer.activation is None:
            continue
        (link,) = evaluated.links(name, np.arange(tensor.values.size))
        if not np.isin(link.columns, units).any():
            unit, z = evaluated.tensors[name].unit(int(units[0])), tensor.values.reshape(-1)[units[0]]
            if len(units) > 1:
                return f"it acts on {len(units):,} units of {name}, and all have an activation with slope 0"
            return f"the {type(layer.activation).name} of {unit} has slope 0 at {z:.4g}"
    return "every path from the loss has a factor of exactly 0, such as the slope of an inactive unit"


def _layers(evaluated: EvaluatedNetwork) -> list[Layer]:
    return [Layer(tensor.name, tensor.shape, tensor.values) for tensor in evaluated.tensors.values()]


def _predicted(model: Model, outputs: Array) -> Any:
    if model.schema.classes is None:
        return model.schema.decode_outputs(quantities(model.loss, outputs)).tolist()[0]
    return model.schema.labels(model.loss.predicted_classes(outputs)).tolist()[0]


def _probabilities(model: Model, outputs: Array) -> tuple[tuple[Any, float], ...]:
    try:
        (probabilities,) = model.probabilities(outputs)
    except InputError:  # a regression, or a loss without probabilities
        return ()
    assert model.schema.classes is not None
    return tuple(zip(model.schema.classes, probabilities.tolist(), strict=True))


def _per_unit(schema: Schema, index: tuple[int, ...], x: Array, derivative: float) -> Factor | None:
    """The factor from the scaled input to the raw column; None if there is no scaling."""
    number = int(np.ravel_multi_index(index[1:], x.shape))
    mean, scale = (
        float(np.broadcast_to(item, x.shape).reshape(-1)[number])
        for item in (schema.feature_mean, schema.feature_scale)
    )
    inner = 1.0 / scale
    if schema.table is not None:
        origin = schema.table.origins[number]
        column = next(item for item in schema.table.used if item.name == origin)
        if schema.table.names[number] != origin:
            return None  # an indicator or a category has no raw number
        if isinstance(column, NumberEncoding) and column.spread is not None:
            # The model input is asinh of the centered and scaled column.
            transformed = float(x.reshape(-1)[number]) * scale + mean
            inner /= column.spread * float(np.cosh(transformed))
    name = schema.input_names[number]
    return Factor("scale", "scaling", inner, f"{name} (scaled)", name) if inner != 1.0 else None


def telling_weight(model: Model, source: Any, *, row: int = 0, targets: Any = None) -> str | None:
    """The weight of the first layer with weights that has the largest derivative of the loss of one row.

    The name has the format of ``explain_derivative``. None if all derivatives are 0. Arguments and errors are those
    of ``explain_derivative``.
    """
    x, target, _, _, _ = _row(model, source, targets, row)
    evaluated = EvaluatedNetwork(model.network, model.weights, model.statistics, x)
    row_loss = RowLoss.of(evaluated, model.loss, target)
    first = layer_of(next(iter(model.weights), ""))
    sizes = {name: np.abs(row_loss.gradients[name]) for name in of_layer(model.weights, first)}
    candidates = {name: array for name, array in sizes.items() if array.ndim >= 2} or sizes
    name = max(candidates, key=lambda name: float(candidates[name].max()), default="")
    if not name or not candidates[name].max() > 0:
        return None
    index = np.unravel_index(int(candidates[name].argmax()), candidates[name].shape)
    return f"{name}[{','.join(str(int(i)) for i in index)}]"
