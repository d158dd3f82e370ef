"""``glassgrad predict``."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from glassgrad.cli import output
from glassgrad.cli.evaluate import MODEL, SOURCE, with_source
from glassgrad.common.errors import InputError

if TYPE_CHECKING:
    from glassgrad.backends.base import Array
    from glassgrad.training.model import Model


def command(
    model: Annotated[str, Argument(metavar="MODEL", help=MODEL)],
    source: Annotated[str, Argument(metavar="SOURCE", help=SOURCE + " Targets are optional and ignored.")],
    strict: Annotated[
        bool,
        Option(
            "--strict",
            help="Fail on a category that is not in the training rows, and on a missing value in a column without "
            "missing values there.",
        ),
    ] = False,
    out: Annotated[
        Path | None, Option(metavar="FILE", help="The CSV file to write (default: standard output).")
    ] = None,
) -> None:
    """Predict SOURCE with MODEL, as CSV.

    Writes one line per row, in the order of the rows: of the test part of a SOURCE that has one (an idx folder),
    or of all rows. A classifier gives the label, and the probability of each class if its loss defines one. A
    regression gives the quantities in their original units. In a table, a category that is not in the training
    rows counts as unknown, and a notice on standard error names it.
    """
    from glassgrad.data.sources import load_rows
    from glassgrad.data.table import Table
    from glassgrad.files.atomic import write_text
    from glassgrad.training.model import load_model

    loaded = load_model(model)
    rows = load_rows(source, targets=False)
    if strict and not isinstance(rows.features, Table):
        raise InputError(f"{source}: is not a table, and --strict is for tables only; leave out --strict")
    try:
        features, notices = loaded.schema.take_features(rows.features, loaded.dtype, strict=strict)
        columns = predictions(loaded, loaded.outputs_prepared(features))
    except InputError as error:
        raise with_source(source, error) from None
    for notice in notices:
        output.print_notice(f"{source}: {notice}")
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
    decoded = model.decode(outputs)
    if model.schema.classes is None:
        if decoded.ndim == 1:
            return {"prediction": decoded.tolist()}
        return {f"prediction_{number}": column.tolist() for number, column in enumerate(decoded.T)}
    columns = {"label": decoded.tolist()}
    try:
        probabilities = model.probabilities(outputs)
    except InputError:  # the loss does not define probabilities
        return columns
    for label, column in zip(model.schema.classes, probabilities.T, strict=True):
        columns[f"probability_{label}"] = column.tolist()
    return columns
