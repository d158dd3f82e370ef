"""``glassgrad predict``."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from glassgrad.cli.evaluate import MODEL, SOURCE
from glassgrad.common.errors import InputError

if TYPE_CHECKING:
    from glassgrad.training.model import Model


def command(
    model: Annotated[str, Argument(metavar="MODEL", help=MODEL)],
    source: Annotated[
        str, Argument(metavar="SOURCE", help=SOURCE + " Its targets are ignored; an .npz needs only X.")
    ],
    out: Annotated[
        Path | None, Option(metavar="FILE", help="The CSV file to write (default: standard output).")
    ] = None,
) -> None:
    """Predict SOURCE with MODEL, as CSV: one line per row, in the order of the rows.

    Of a source that brings a test part (an idx folder) that part is predicted, of any other all rows. A
    classifier gives the label, and the probability of every class if its loss has one; a regression gives
    the quantities in their own units.
    """
    from glassgrad.data.sources import load_rows
    from glassgrad.files.atomic import write_text
    from glassgrad.training.model import load_model

    loaded = load_model(model)
    rows = load_rows(source, targets=False)
    try:
        columns = predictions(loaded, rows.features)
    except InputError as error:
        raise InputError(f"{source}: {error}") from None
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    if out is None:
        print(text.getvalue(), end="", flush=True)
    else:
        write_text(out, text.getvalue())


def predictions(model: Model, features: Any) -> dict[str, list[Any]]:
    """The columns of the CSV, by name."""
    found = model.predict(features)
    if model.schema.classes is None:
        if found.ndim == 1:
            return {"prediction": found.tolist()}
        return {f"prediction_{number}": column.tolist() for number, column in enumerate(found.T)}
    columns = {"label": found.tolist()}
    try:
        probabilities = model.predict_probabilities(features)
    except InputError:  # the loss has none; anything else was refused above
        return columns
    for label, column in zip(model.schema.classes, probabilities.T, strict=True):
        columns[f"probability_{label}"] = column.tolist()
    return columns
