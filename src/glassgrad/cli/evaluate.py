"""``glassgrad evaluate``."""

from __future__ import annotations

import time
from typing import Annotated

import typer
from typer import Argument, Option

from glassgrad.cli import output, tables_text
from glassgrad.common.errors import InputError

MODEL = "A run folder, or a .safetensors file."
SOURCE = "A source as for train."


def command(
    context: typer.Context,
    model: Annotated[str, Argument(metavar="MODEL", help=MODEL)],
    source: Annotated[str, Argument(metavar="SOURCE", help=SOURCE)],
    metrics: Annotated[
        str, Option(metavar="NAMES", help="Further metrics to compute, such as auc,f1 or mae,mape.")
    ] = "",
    as_json: Annotated[bool, Option("--json", help="End with one line of JSON on standard output.")] = False,
) -> None:
    """Measure MODEL on SOURCE: on its test part if it brings one (an idx folder), or else on all its rows.

    The rows of SOURCE are not split: digits, a table, and an .npz file are measured whole, with rows that the
    model was trained on if it was trained on them. What train held back is in summary. In a table the column
    of the targets is the one that the model was trained to predict.
    """
    from glassgrad.data.sources import load_rows
    from glassgrad.data.table import Table
    from glassgrad.training.model import load_model
    from glassgrad.training.named_metrics import metric

    names = [metric(name.strip()).name for name in metrics.split(",") if name.strip()]
    loaded = load_model(model)
    rows = load_rows(source, targets=True)
    features, targets, notices = rows.features, rows.targets, []
    try:
        if isinstance(features, Table):
            known = loaded.schema.take_targets(features)
            features, targets = known.features, known.values
            if known.dropped:
                notices.append(f"{source}: {tables_text.left_out(known.dropped)}")
        ready, told = loaded.schema.take_features(features, loaded.dtype)
        coded = loaded.schema.encode_targets(targets, loaded.dtype)
        found = loaded.evaluate_prepared(ready, coded, names)
    except InputError as error:
        raise placed(source, error) from None
    notices += [f"{source}: {said}" for said in told]
    for said in notices:
        output.complain(said)
    if as_json:
        output.print_json(
            {
                "task": loaded.schema.task,
                "source": source,
                "part": rows.part,
                "rows": len(ready),
                "metrics": found,
                "notices": notices,
                "model": model,
                "seconds_total": time.perf_counter() - context.obj,
            }
        )
    else:
        print(output.metrics_table({rows.part: found}, {rows.part: len(ready)}))


def placed(source: str, error: InputError) -> InputError:
    """``error`` with the name of the source; what is wrong in a table says so itself."""
    return error if str(error).startswith(f"{source}: ") else InputError(f"{source}: {error}")
