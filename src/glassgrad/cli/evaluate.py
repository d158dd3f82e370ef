"""``glassgrad evaluate``."""

from __future__ import annotations

import time
from typing import Annotated

import typer
from typer import Argument, Option

from glassgrad.cli import output, tables_text
from glassgrad.common.errors import InputError

MODEL = "A run folder, or a .safetensors file."
SOURCE = "The data, in any form that train takes."


def command(
    context: typer.Context,
    model: Annotated[str, Argument(metavar="MODEL", help=MODEL)],
    source: Annotated[str, Argument(metavar="SOURCE", help=SOURCE)],
    metrics: Annotated[
        str, Option(metavar="NAMES", help="Further metrics to compute, such as auc,f1 or mae,mape.")
    ] = "",
    as_json: Annotated[bool, Option("--json", help="End with one line of JSON on standard output.")] = False,
) -> None:
    """Measure MODEL on SOURCE.

    Uses the test part of a SOURCE that has one (an idx folder), and all rows of any other. The rows are not split,
    so they include the training rows if SOURCE is the data that MODEL was trained on. The metrics on the rows that
    train held out are in summary. In a table, the target is the column that MODEL was trained to predict.
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
            labelled = loaded.schema.take_targets(features)
            features, targets = labelled.features, labelled.values
            if labelled.dropped:
                notices.append(f"{source}: {tables_text.left_out(labelled.dropped)}")
        inputs, feature_notices = loaded.schema.take_features(features, loaded.dtype)
        encoded_targets = loaded.schema.encode_targets(targets, loaded.dtype)
        results = loaded.evaluate_prepared(inputs, encoded_targets, names)
    except InputError as error:
        raise with_source(source, error) from None
    notices += [f"{source}: {notice}" for notice in feature_notices]
    for notice in notices:
        output.print_notice(notice)
    if as_json:
        output.print_json(
            {
                "task": loaded.schema.task,
                "source": source,
                "part": rows.part,
                "rows": len(inputs),
                "metrics": results,
                "notices": notices,
                "model": model,
                "seconds_total": time.perf_counter() - context.obj,
            }
        )
    else:
        print(output.metrics_table({rows.part: results}, {rows.part: len(inputs)}))


def with_source(source: str, error: InputError) -> InputError:
    """``error`` with the name of the source in front, unless its message begins with it already."""
    return error if str(error).startswith(f"{source}: ") else InputError(f"{source}: {error}")
