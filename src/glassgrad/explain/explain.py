"""The derivative of one row's loss by one weight or input, factor by factor."""

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
from glassgrad.explain.links import Anatomy, TooLarge
from glassgrad.explain.paths import PathSearch, take
from glassgrad.explain.step import step_view
from glassgrad.explain.whole import INPUT as WHOLE_INPUT
from glassgrad.explain.whole import WholeGraph
from glassgrad.losses.table import LOSSES
from glassgrad.nn.layers.embedding import Embedding
from glassgrad.nn.network import INPUT
from glassgrad.training.metrics import quantities
from glassgrad.training.model import Model, load_model

TIGHT = 1e-6
"""If the relative error of the central difference is larger, the loss is tested for a kink."""


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
    """The derivative of the loss of one row with respect to one ``weight`` or one ``input``, path by path.

    ``model`` is a model, or the path of a run folder or model file. ``source`` is a source as on the command
    line, a ``Dataset``, a table with its target column, or (with ``targets``) an array of rows. ``row`` is the index
    of the row, from 0. ``weight`` is written ``dense_1.weights[3,7]``; ``input`` is a column, an encoded input such
    as ``workclass=Private``, or ``x[3]``. ``paths`` is the number of paths to return; with 0 there is no search.

    Everything is computed in float64, with the network in evaluation mode (no dropout, running statistics). Raises
    InputError for a row, weight, input or target that does not exist.
    """
    if (weight is None) == (input is None):
        raise InputError("give either one weight (dense_1.weights[3,7]) or one input (a column, or x[3])")
    paths = check("paths", paths, constraints.Whole(0, 2**31 - 1))
    model = model if isinstance(model, Model) else load_model(model)
    x, target, raw_target, raw_row, source_name = _row(model, source, targets, row)
    anatomy = Anatomy(model.network, model.weights, model.statistics, x, model.schema.input_names)
    whole = WholeGraph.of(anatomy, model.loss, target)
    if not np.isfinite(whole.loss):
        raise InputError(
            f"{source_name}: the loss of row {row} is {whole.loss}, so it has no derivative; take another row"
        )
    raw_value = None
    if weight is not None:
        name, index = _weight(model, weight)
        place, ends = anatomy.by_weight(name, index)
        value, label = float(anatomy.weights[name][index]), f"{name}[{','.join(map(str, index))}]"
        tensor = name
    else:
        assert input is not None
        number, label = _input(model.schema, input)
        for node in model.network.nodes:
            if isinstance(node.layer, Embedding) and INPUT in node.inputs:
                raise InputError(
                    f"{label} is an index into the table of layer {node.name!r}, so the loss has no derivative with "
                    f"respect to it; explain one of the weights, such as {node.name}.weights[0,0]"
                )
        index = (0, *(int(i) for i in np.unravel_index(number, x.shape)))
        place, ends = INPUT, np.zeros(x.size)
        ends[number] = 1.0
        raw_value = _raw_value(model.schema, raw_row, number)
        value, tensor = float(x.reshape(-1)[number]), WHOLE_INPUT
    derivative = float(whole.gradients[tensor][index])
    if not np.isfinite(derivative):
        raise InputError(
            f"{source_name}: the derivative of row {row} with respect to {label} is {derivative}; take another row"
        )
    forward, central = whole.forward(tensor, index), whole.central(tensor, index)
    central_error = whole.error(tensor, index, central)
    lines: Sequence[Line] = ()
    count = total = search = None
    omitted = None if paths else "no paths were requested"
    if paths:
        try:
            search = PathSearch(anatomy, place, ends, model.network.output, whole.seed)
        except TooLarge as error:
            omitted = str(error)
        else:
            count, total = search.count, search.total
            lines = [line_of(anatomy, path, label) for path in take(search.strongest(), paths)]
    outputs = anatomy.places[model.network.output].values[None]
    return Explanation(
        source=source_name,
        row=row,
        what="weight" if weight is not None else "input",
        name=label,
        value=value,
        given=raw_value,
        target=raw_target,
        prediction=_predicted(model, outputs),
        probabilities=_probabilities(model, outputs),
        loss=whole.loss,
        loss_name=str(LOSSES.config(model.loss)["name"]),
        derivative=derivative,
        forward=forward,
        central=central,
        forward_error=whole.error(tensor, index, forward),
        central_error=central_error,
        kink=central_error > TIGHT and whole.kink(tensor, index),
        lines=tuple(lines),
        paths=count,
        path_total=total,
        paths_error=None if total is None else whole.error(tensor, index, total),
        omitted=omitted,
        zero=_zero(anatomy, search, label) if search is not None and not count else None,
        unit=None if weight is not None else _per_unit(model.schema, index, x, derivative),
        layers=tuple(_layers(anatomy)),
        step=None
        if weight is None
        else step_view(model.training, anatomy.weights, dict(whole.gradients), name, index),
    )


# --- arguments ---------------------------------------------------------------------------------------------


def _row(model: Model, source: Any, targets: Any, row: int) -> tuple[Array, Array, Any, Any, str]:
    """The row ``row`` of ``source``: (x, encoded target, raw target, raw row, name of the source for messages).

    ``x`` is preprocessed, without the batch axis. The encoded target is [1] or [1, n], as the loss takes it. The raw
    target and the raw row (of one row) are in the form of the source.
    """
    name = "the rows"
    if targets is not None and isinstance(source, str | FilePath | Dataset):
        raise InputError(
            "targets are for rows given as an array; this source has its own, so leave targets out"
        )
    if isinstance(source, str | FilePath):
        name = str(source)
        rows = load_rows(source, targets=True)
        features, targets = rows.features, rows.targets
        name += "" if rows.part == "all" else f" ({rows.part} part)"
    elif isinstance(source, Dataset):
        features, targets = source.features, source.targets
    else:
        table = to_tabular(source) if model.schema.table is not None else None
        features = source if table is None else table
    row = python_value(row)
    if not constraints.Whole(0, len(features) - 1).allows(row):
        raise InputError(f"{name}: has rows 0 to {len(features) - 1}, not row {shown(row)}")
    raw_row = features[row : row + 1]
    if isinstance(raw_row, Table) and targets is None:
        labeled = model.schema.take_targets(raw_row)
        if len(labeled.values) == 0:
            raise InputError(
                f"{name}: row {row} has no target, so it has no loss to explain; take another row"
            )
        raw_row, values = labeled.features, labeled.values
    elif targets is None:
        raise InputError(f"{name}: has no targets, and a row without a target has no loss; give targets")
    else:
        values = np.asarray(targets)[row : row + 1]
    x, _ = model.schema.take_features(raw_row, np.float64, name)
    encoded = model.schema.encode_targets(values, np.float64, name)
    return x[0], encoded, np.asarray(values).tolist()[0], raw_row, name


def _weight(model: Model, text: str) -> tuple[str, tuple[int, ...]]:
    """The name of a tensor of weights and the index of an element, from a text such as dense_1.weights[3,7]."""
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
    """The number of an input in C order, and its name, from a column, an encoded input or an index as text."""
    names = schema.input_names
    numbers = {re.sub(r"\s", "", name): number for number, name in enumerate(names)}
    compact = re.sub(r"\s", "", text)
    if schema.table is None and re.fullmatch(r"\[?[\d,]+\]?", compact):
        compact = f"x[{compact.strip('[]')}]"
    if compact in numbers:
        return numbers[compact], names[numbers[compact]]
    if schema.table is not None:
        encoded = [name for name, origin in zip(names, schema.table.origins, strict=True) if origin == text]
        if encoded:
            raise InputError(
                f"{text!r} is a category and has no derivative; name one of its inputs: {some(encoded)}"
            )
        near = get_close_matches(text, [*names, *schema.table.origins], n=3, cutoff=0.5)
        hint = f"; did you mean {some(near)}?" if near else f"; they are {some(list(names))}"
        raise InputError(f"{text!r} is not an input of this model{hint}")
    last = ", ".join(str(n - 1) for n in schema.feature_shape)
    first = ", ".join("0" for _ in schema.feature_shape)
    raise InputError(f"{text!r} is not an input of this model; they go from x[{first}] to x[{last}]")


def _raw_value(schema: Schema, raw_row: Any, number: int) -> Any:
    """The value in the source of the input ``number``; for a table, the value of its column."""
    if schema.table is None:
        return np.asarray(raw_row)[0].reshape(-1)[number].item()
    if not isinstance(raw_row, Table):
        return None
    column = raw_row.column(schema.table.origins[number])
    value = column.values[0]
    if column.missing[0]:
        return "missing"
    return value.item() if isinstance(value, np.number | np.bool_) else str(value)


# --- parts of the result------------------------------------------------------------------------------------


def _zero(anatomy: Anatomy, search: PathSearch, label: str) -> str:
    """The reason why no path leads to the weight or input ``label``."""
    (units,) = np.nonzero(search.ends)
    place = anatomy.places[search.place]
    if not len(units):
        return f"{label} is multiplied by 0 in this row"
    for name, piece in anatomy.pieces.items():
        if piece.inner != search.place or piece.activation is None:
            continue
        (link,) = anatomy.links(name, np.arange(place.values.size))
        if not np.isin(link.columns, units).any():
            unit, z = anatomy.places[name].unit(int(units[0])), place.values.reshape(-1)[units[0]]
            inactive = f"{unit} is off: its {type(piece.activation).name} is flat at {z:.4g}"
            return (
                inactive if len(units) == 1 else f"all {len(units):,} units of {name} that it reaches are off"
            )
    return "every path from the loss has a factor of exactly 0, such as the slope of a unit that is off"


def _layers(anatomy: Anatomy) -> list[Layer]:
    return [Layer(place.name, place.shape, place.values) for place in anatomy.places.values()]


def _predicted(model: Model, outputs: Array) -> Any:
    if model.schema.classes is None:
        return model.schema.decode_outputs(quantities(model.loss, outputs)).tolist()[0]
    return model.schema.labels(model.loss.scores(outputs)).tolist()[0]


def _probabilities(model: Model, outputs: Array) -> tuple[tuple[Any, float], ...]:
    try:
        (probabilities,) = model.probabilities(outputs)
    except InputError:  # a regression, or a loss without probabilities
        return ()
    assert model.schema.classes is not None
    return tuple(zip(model.schema.classes, probabilities.tolist(), strict=True))


def _per_unit(schema: Schema, index: tuple[int, ...], x: Array, derivative: float) -> Factor | None:
    """The factor from the derivative by an input to that by its raw column: the slope of its preprocessing."""
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
            return None  # an indicator or a category, which has no slope
        if isinstance(column, NumberEncoding) and column.spread is not None:
            unscaled = float(x.reshape(-1)[number]) * scale + mean
            inner /= column.spread * float(np.cosh(unscaled))
    name = schema.input_names[number]
    return Factor("scale", "scaling", inner, f"{name} (scaled)", name) if inner != 1.0 else None


def telling_weight(model: Model, source: Any, *, row: int = 0, targets: Any = None) -> str | None:
    """The name of the weight with the largest derivative for one row, in the first layer with weights.

    None if all these derivatives are 0. Arguments and errors are those of ``explain_derivative``.
    """
    x, target, _, _, _ = _row(model, source, targets, row)
    anatomy = Anatomy(model.network, model.weights, model.statistics, x)
    whole = WholeGraph.of(anatomy, model.loss, target)
    first = layer_of(next(iter(model.weights), ""))
    sizes = {name: np.abs(whole.gradients[name]) for name in of_layer(model.weights, first)}
    sizes = {name: array for name, array in sizes.items() if array.ndim >= 2} or sizes  # no biases
    name = max(sizes, key=lambda name: float(sizes[name].max()), default="")
    if not name or not sizes[name].max() > 0:
        return None
    index = np.unravel_index(int(sizes[name].argmax()), sizes[name].shape)
    return f"{name}[{','.join(str(int(i)) for i in index)}]"
