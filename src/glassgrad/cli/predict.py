"""``glassgrad predict``."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from glassgrad.cli import output
from glassgrad.cli.evaluate import MODEL, SOURCE, placed
from glassgrad.common.errors import InputError

if TYPE_CHECKING:
    from glassgrad.backends.base import Array
    from glassgrad.training.model import Model


def command(
    model: Annotated[str, Argument(metavar="MODEL", help=MODEL)],
    source: Annotated[
        str, Argument(metavar="SOURCE", help=SOURCE + " Its targets are ignored, and need not be there.")
    ],
    strict: Annotated[
        bool, Option("--strict", help="Refuse categories, and missing values, that training never saw.")
    ] = False,
    out: Annotated[
        Path | None, Option(metavar="FILE", help="The CSV file to write (default: standard output).")
    ] = None,
) -> None:
    """Predict SOURCE with MODEL, as CSV: one line per row, in the order of the rows.

    Of a source that brings a test part (an idx folder) that part is predicted, of any other all rows. A
    classifier gives the label, and the probability of every class if its loss has one; a regression gives
    the quantities in their own units. Of a table, a category that training never saw counts as unknown, and
    what was odd is said on standard error.
    """
    from glassgrad.data.sources import load_rows
    from glassgrad.data.table import Table
    from glassgrad.files.atomic import write_text
    from glassgrad.training.model import load_model

    loaded = load_model(model)
    rows = load_rows(source, targets=False)
    if strict and not isinstance(rows.features, Table):
        raise InputError(f"{source}: --strict is for tables, and this source is none; leave it out")
    try:
        features, told = loaded.schema.take_features(rows.features, loaded.dtype, strict=strict)
        columns = predictions(loaded, loaded.outputs_prepared(features))
    except InputError as error:
        raise placed(source, error) from None
    for said in told:
        output.complain(f"{source}: {said}")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    if out is None:
        print(text.getvalue(), end="", flush=True)
    else:
        write_text(out, text.getvalue())


def predictions(model: Model, outputs: Array) -> dict[str, list[Any]]:
    """The columns of the CSV, by name, for the raw ``outputs`` [rows, units] of ``model``."""
    found = model.decode(outputs)
    if model.schema.classes is None:
        if found.ndim == 1:
            return {"prediction": found.tolist()}
        return {f"prediction_{number}": column.tolist() for number, column in enumerate(found.T)}
    columns = {"label": found.tolist()}
    try:
        probabilities = model.probabilities(outputs)
    except InputError:  # the loss has none
        return columns
    for label, column in zip(model.schema.classes, probabilities.T, strict=True):
        columns[f"probability_{label}"] = column.tolist()
    return columns
