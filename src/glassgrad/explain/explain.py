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
from glassgrad.explain.paths import Ways, take
from glassgrad.explain.step import step_view
from glassgrad.explain.whole import INPUT as WHOLE_INPUT
from glassgrad.explain.whole import Whole
from glassgrad.losses.table import LOSSES
from glassgrad.nn.layers.embedding import Embedding
from glassgrad.nn.network import INPUT
from glassgrad.training.metrics import quantities
from glassgrad.training.model import Model, load_model

TIGHT = 1e-6
"""A central difference that is off by more has a reason, which is looked for."""


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
    line, a ``Dataset``, a table with its target column, or (with ``targets``) an array of rows. ``weight`` is written
    ``dense_1.weights[3,7]``; ``input`` is a column, an encoded input such as ``workclass=Private``, or ``x[3]``.

    All is computed in float64, with the network as it is in use (no dropout, running statistics). Raises
    InputError for what does not exist.
    """
    if (weight is None) == (input is None):
        raise InputError("name one weight (dense_1.weights[3,7]) or one input (a column, or x[3]): not both")
    paths = check("paths", paths, constraints.Whole(0, 2**31 - 1))
    made = model if isinstance(model, Model) else load_model(model)
    x, target, said, given, place = _row(made, source, targets, row)
    anatomy = Anatomy(made.network, made.weights, made.statistics, x, made.schema.input_names)
    whole = Whole.of(anatomy, made.loss, target)
    if not np.isfinite(whole.loss):
        raise InputError(f"{place}: the loss of row {row} is {whole.loss}: there is nothing to explain")
    raw = None
    if weight is not None:
        name, index = _weight(made, weight)
        at, ends = anatomy.by_weight(name, index)
        value, what = float(anatomy.weights[name][index]), f"{name}[{','.join(map(str, index))}]"
        where = name
    else:
        assert input is not None
        number, what = _input(made.schema, input)
        for node in made.network.nodes:
            if isinstance(node.layer, Embedding) and INPUT in node.inputs:
                raise InputError(
                    f"{what} is looked up as a whole number by layer {node.name!r}, so the loss has no derivative by "
                    f"it; explain one of the weights, such as {node.name}.weights[0,0]"
                )
        index = (0, *(int(i) for i in np.unravel_index(number, x.shape)))
        at, ends = INPUT, np.zeros(x.size)
        ends[number] = 1.0
        raw = _given(made.schema, given, number)
        value, where = float(x.reshape(-1)[number]), WHOLE_INPUT
    derivative = float(whole.gradients[where][index])
    if not np.isfinite(derivative):
        raise InputError(f"{place}: row {row} has no derivative by {what}: it is {derivative}")
    forward, central = whole.forward(where, index), whole.central(where, index)
    central_error = whole.error(where, index, central)
    lines: Sequence[Line] = ()
    count = total = ways = None
    omitted = None if paths else "no paths were asked for"
    if paths:
        try:
            ways = Ways(anatomy, at, ends, made.network.output, whole.seed)
        except TooLarge as error:
            omitted = str(error)
        else:
            count, total = ways.count, ways.total
            lines = [line_of(anatomy, path, what) for path in take(ways.strongest(), paths)]
    outputs = anatomy.places[made.network.output].values[None]
    return Explanation(
        source=place,
        row=row,
        what="weight" if weight is not None else "input",
        name=what,
        value=value,
        given=raw,
        target=said,
        prediction=_predicted(made, outputs),
        probabilities=_probabilities(made, outputs),
        loss=whole.loss,
        loss_name=str(LOSSES.config(made.loss)["name"]),
        derivative=derivative,
        forward=forward,
        central=central,
        forward_error=whole.error(where, index, forward),
        central_error=central_error,
        kink=central_error > TIGHT and whole.kink(where, index),
        lines=tuple(lines),
        paths=count,
        path_total=total,
        paths_error=None if total is None else whole.error(where, index, total),
        omitted=omitted,
        zero=_zero(anatomy, ways, what) if ways is not None and not count else None,
        unit=None if weight is not None else _per_unit(made.schema, index, x, derivative),
        layers=tuple(_layers(anatomy)),
        step=None
        if weight is None
        else step_view(made.training, anatomy.weights, dict(whole.gradients), name, index),
    )


# --- what is asked for -------------------------------------------------------------------------------------


def _row(model: Model, source: Any, targets: Any, row: int) -> tuple[Array, Array, Any, Any, str]:
    """The prepared row (without the batch axis), its target as the loss takes it and as it was given, and more.

    The last two are the one row as it was given, and what messages call the source.
    """
    place = "the rows"
    if targets is not None and isinstance(source, str | FilePath | Dataset):
        raise InputError("targets are for rows given as an array; a source has its own, so leave them out")
    if isinstance(source, str | FilePath):
        place = str(source)
        rows = load_rows(source, targets=True)
        features, targets = rows.features, rows.targets
        place += "" if rows.part == "all" else f" ({rows.part} part)"
    elif isinstance(source, Dataset):
        features, targets = source.features, source.targets
    else:
        table = to_tabular(source) if model.schema.table is not None else None
        features = source if table is None else table
    row = python_value(row)
    if not constraints.Whole(0, len(features) - 1).allows(row):
        raise InputError(f"{place}: has rows 0 to {len(features) - 1}, not row {shown(row)}")
    one = features[row : row + 1]
    if isinstance(one, Table) and targets is None:
        known = model.schema.take_targets(one)
        if len(known.values) == 0:
            raise InputError(
                f"{place}: row {row} has no target, so it has no loss to explain; take another row"
            )
        one, values = known.features, known.values
    elif targets is None:
        raise InputError(f"{place}: has no targets, and without one a row has no loss; give them too")
    else:
        values = np.asarray(targets)[row : row + 1]
    x, _ = model.schema.take_features(one, np.float64, place)
    coded = model.schema.encode_targets(values, np.float64, place)
    return x[0], coded, np.asarray(values).tolist()[0], one, place


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
    wanted = re.sub(r"\s", "", text)
    if schema.table is None and re.fullmatch(r"\[?[\d,]+\]?", wanted):
        wanted = f"x[{wanted.strip('[]')}]"
    if wanted in compact:
        return compact[wanted], names[compact[wanted]]
    if schema.table is not None:
        own = [name for name, origin in zip(names, schema.table.origins, strict=True) if origin == text]
        if own:
            raise InputError(
                f"{text!r} is a category and has no derivative; name one of its inputs: {some(own)}"
            )
        near = get_close_matches(text, [*names, *schema.table.origins], n=3, cutoff=0.5)
        hint = f"; did you mean {some(near)}?" if near else f"; they are {some(list(names))}"
        raise InputError(f"{text!r} is no input of this model{hint}")
    last = ", ".join(str(n - 1) for n in schema.feature_shape)
    first = ", ".join("0" for _ in schema.feature_shape)
    raise InputError(f"{text!r} is no input of this model; they go from x[{first}] to x[{last}]")


def _given(schema: Schema, one: Any, number: int) -> Any:
    """What the source holds for the input ``number``: of a table, the column that it comes from."""
    if schema.table is None:
        return np.asarray(one)[0].reshape(-1)[number].item()
    if not isinstance(one, Table):
        return None
    column = one.column(schema.table.origins[number])
    value = column.values[0]
    if column.missing[0]:
        return "missing"
    return value.item() if isinstance(value, np.number | np.bool_) else str(value)


# --- what is said ------------------------------------------------------------------------------------------


def _zero(anatomy: Anatomy, ways: Ways, what: str) -> str:
    """Why no path leads to where the weight or input acts."""
    (units,) = np.nonzero(ways.ends)
    place = anatomy.places[ways.place]
    if not len(units):
        return f"{what} is multiplied by 0 in this row"
    for name, piece in anatomy.pieces.items():
        if piece.inner != ways.place or piece.activation is None:
            continue
        (link,) = anatomy.links(name, np.arange(place.values.size))
        if not np.isin(link.columns, units).any():
            unit, z = anatomy.places[name].unit(int(units[0])), place.values.reshape(-1)[units[0]]
            off = f"{unit} is off: its {type(piece.activation).name} is flat at {z:.4g}"
            return off if len(units) == 1 else f"all {len(units):,} units of {name} that it reaches are off"
    return "on every way from the loss some factor is exactly 0, such as the slope of a unit that is off"


def _layers(anatomy: Anatomy) -> list[Layer]:
    return [Layer(place.name, place.shape, place.values) for place in anatomy.places.values()]


def _predicted(model: Model, outputs: Array) -> Any:
    if model.schema.classes is None:
        return model.schema.decode_outputs(quantities(model.loss, outputs)).tolist()[0]
    return model.schema.labels(model.loss.predicted_classes(outputs)).tolist()[0]


def _probabilities(model: Model, outputs: Array) -> tuple[tuple[Any, float], ...]:
    try:
        (found,) = model.probabilities(outputs)
    except InputError:  # a regression, or a loss that has none
        return ()
    assert model.schema.classes is not None
    return tuple(zip(model.schema.classes, found.tolist(), strict=True))


def _per_unit(schema: Schema, index: tuple[int, ...], x: Array, derivative: float) -> Factor | None:
    """The derivative by the column as it was given, before it was scaled (and, if so, bent)."""
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
            return None  # an indicator or a category: there is nothing in between
        if isinstance(column, NumberEncoding) and column.spread is not None:
            bent = float(x.reshape(-1)[number]) * scale + mean
            inner /= column.spread * float(np.cosh(bent))
    name = schema.input_names[number]
    return Factor("scale", "scaling", inner, f"{name} (scaled)", name) if inner != 1.0 else None


def telling_weight(model: Model, source: Any, *, row: int = 0, targets: Any = None) -> str | None:
    """The weight of the first layer with weights to which the loss of one row answers most, as ``explain`` takes it.

    None where it answers to none of them. Arguments and errors are those of ``explain``.
    """
    x, target, _, _, _ = _row(model, source, targets, row)
    anatomy = Anatomy(model.network, model.weights, model.statistics, x)
    whole = Whole.of(anatomy, model.loss, target)
    first = layer_of(next(iter(model.weights), ""))
    own = {name: np.abs(whole.gradients[name]) for name in of_layer(model.weights, first)}
    wide = {name: sizes for name, sizes in own.items() if sizes.ndim >= 2} or own
    name = max(wide, key=lambda name: float(wide[name].max()), default="")
    if not name or not wide[name].max() > 0:
        return None
    index = np.unravel_index(int(wide[name].argmax()), wide[name].shape)
    return f"{name}[{','.join(str(int(i)) for i in index)}]"
