"""``glassgrad evaluate``."""

from __future__ import annotations

import time
from typing import Annotated

import typer
from typer import Argument, Option

from glassgrad.cli import output
from glassgrad.common.errors import InputError

MODEL = "A run folder, or a .safetensors file."
SOURCE = "A source as for train."


def command(
    context: typer.Context,
    model: Annotated[str, Argument(metavar="MODEL", help=MODEL)],
    source: Annotated[str, Argument(metavar="SOURCE", help=SOURCE)],
    as_json: Annotated[bool, Option("--json", help="End with one line of JSON on standard output.")] = False,
) -> None:
    """Measure MODEL on SOURCE: on its test part if it brings one (an idx folder), or else on all its rows.

    The rows of SOURCE are not split: digits, and an .npz file, are measured whole, with rows that the model
    was trained on if it was trained on them. What train held back is in summary.
    """
    from glassgrad.data.sources import load_rows
    from glassgrad.training.model import load_model

    loaded = load_model(model)
    rows = load_rows(source, targets=True)
    try:
        found = loaded.evaluate(rows.features, rows.targets)
    except InputError as error:
        raise InputError(f"{source}: {error}") from None
    if as_json:
        output.print_json(
            {
                "task": loaded.schema.task,
                "source": source,
                "part": rows.part,
                "rows": len(rows.features),
                "metrics": found,
                "model": model,
                "seconds_total": time.perf_counter() - context.obj,
            }
        )
    else:
        print(output.table(["part", "rows", *found], [[rows.part, len(rows.features), *found.values()]]))
