"""``glassgrad sweep``."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Option

from glassgrad.cli import interrupts, options, output, ranges, tables_text
from glassgrad.cli.train import DIVERGED, INTERRUPTED
from glassgrad.common.constraints import COUNT, check
from glassgrad.common.errors import InputError

if TYPE_CHECKING:
    from glassgrad.training.run import Run
    from glassgrad.training.sweep import Point

AXES = ("optimizer", "batch_size", "init", "learning_rate")
INIT: str = options.default_of("init")
OPTIMIZER: str = options.default_of("optimizer")
BATCH_SIZE = str(options.default_of("batch_size"))
SEED: int = options.default_of("seed")
SHOWN = 20
PICTURE = "sweep.svg"


@options.takes_training("watch")
def command(
    context: typer.Context,
    source: options.Source,
    init: Annotated[str, Option(help="Initializers of the weights: one, or a list a,b.")] = INIT,
    optimizer: Annotated[str, Option(help="Optimizers: one, or a list a,b.")] = OPTIMIZER,
    learning_rate: Annotated[
        str, Option(help="Learning rates: a list a,b, or from:to:count for count values in equal ratios.")
    ] = "1e-4:1:9",
    batch_size: Annotated[str, Option(help="Rows per step: one number, or a list a,b.")] = BATCH_SIZE,
    seed: Annotated[int, Option(help="The first seed.")] = SEED,
    out: Annotated[
        Path | None, Option(metavar="FOLDER", help="Output folder (default: runs/<name>-sweep-<time>).")
    ] = None,
    as_json: options.Json = False,
    **chosen: Any,
) -> None:
    """Train with every combination of options, and rank them.

    Trains a network on SOURCE once per combination and seed, and ranks the combinations by their validation loss.
    Combinations that differ only in learning rate, init or seed share one compilation. The output folder holds a
    table of all runs, a picture, and the best run as a model.
    """
    from glassgrad.cli.progress import runs_watcher
    from glassgrad.data.sources import load_source
    from glassgrad.files.run_folder import RunFolder
    from glassgrad.training.many import train_many
    from glassgrad.training.settings import make_settings
    from glassgrad.training.sweep import grid, points

    common = options.settings_of(context, chosen)
    axes = _axes(context.params, has_network=chosen["network"] is not None)
    count = math.prod(map(len, axes.values()))
    if count > ranges.LIMIT:
        raise InputError(f"the sweep has {count:,} runs; reduce the lists to at most {ranges.LIMIT:,} runs")
    variants = grid(axes)
    for variant in variants:  # invalid settings are reported before the first training
        settings = make_settings({**common, **variant})
    if settings.validation == 0:
        raise InputError("a sweep ranks runs by their validation loss; give --validation a value above 0")
    dataset = load_source(source, target=chosen["target"], task=chosen["task"])
    with interrupts.deferred(), RunFolder.create(out, f"{dataset.name}-sweep") as folder:
        start = time.perf_counter()
        with runs_watcher(count) as watch:
            runs = train_many(dataset, variants, progress=watch, **common)
        compiling = sum(run.seconds_compiling for run in runs)
        seconds = {
            "seconds_training": max(time.perf_counter() - start - compiling, 0.0),
            "seconds_compiling": compiling,
        }
        with interrupts.uninterrupted():
            names = tuple(name for name in AXES if name in axes)
            ranked = points(runs, names)
            schema = runs[0].model.schema
            document = _document(dataset.name, runs, ranked, names) | seconds
            document |= tables_text.document_of(dataset, schema)
            files, picture_error = _files(dataset.name, document, ranked)
            folder.commit(files)
        interrupts.settle()  # the sweep is saved; a signal that arrived meanwhile is ignored
    document["run"] = str(folder.path)
    document["picture"] = None if picture_error is not None else str(folder.path / PICTURE)
    for line in [] if as_json else tables_text.lines_of(dataset, schema):
        print(line)
    _print_results(document, ranked, count, picture_error, context.obj, as_json)


def _axes(params: dict[str, Any], has_network: bool) -> dict[str, Sequence[Any]]:
    """The values of each option that the sweep varies; ``has_network`` if a network file was given."""
    seed, seeds = params["seed"], params["seeds"]
    check("--seeds", seeds, COUNT)
    axes: dict[str, Sequence[Any]] = {
        "optimizer": ranges.names("optimizer", params["optimizer"]),
        "batch_size": ranges.wholes("batch-size", params["batch_size"]),
        "init": ranges.names("init", params["init"]),
        "learning_rate": ranges.rates("learning-rate", params["learning_rate"]),
        "seed": range(seed, seed + seeds),
    }
    if has_network:  # the network file has the initializer of each layer
        del axes["init"]
    return axes


def _document(
    name: str, runs: Sequence[Run], ranked: Sequence[Point], names: Sequence[str]
) -> dict[str, Any]:
    """The document of a sweep, for ``--json`` and sweep.json."""
    from glassgrad.training.sweep import best, run_document

    winner = best(ranked)
    return {
        "source": name,
        "task": runs[0].model.schema.task,
        "backend": runs[0].backend,
        "parameters": runs[0].model.parameters,
        "epochs": runs[0].settings.epochs,
        "best": None if winner is None else winner.document(),
        "points": [point.document() for point in ranked],
        "runs": [run_document(run, names) for run in runs],
        "diverged": sum(run.status == "diverged" for run in runs),
    }


def _files(
    name: str, document: dict[str, Any], ranked: Sequence[Point]
) -> tuple[dict[str, bytes], str | None]:
    """The files of the folder, and the reason if they include no picture (else None)."""
    from glassgrad.common.plain import plain
    from glassgrad.report.sweep import draw_sweep, pictures
    from glassgrad.training.sweep import best, best_run, table_csv

    winner = best(ranked)
    files = {} if winner is None else best_run(winner).files()
    files["sweep.csv"] = table_csv(document["runs"])
    files["sweep.json"] = (json.dumps(plain(document), indent=2, allow_nan=False) + "\n").encode()
    runs, seeds = len(document["runs"]), max(len(point.runs) for point in ranked)
    title = f"{name}: {runs} runs of {document['epochs']} epochs"
    title += f"; mean and range of {seeds} seeds" if seeds > 1 else ""
    try:
        return files | pictures(draw_sweep(ranked, title), "sweep"), None
    except InputError as error:
        return files, str(error)


def _print_results(
    document: dict[str, Any],
    ranked: Sequence[Point],
    run_count: int,
    picture_error: str | None,
    start: float,
    as_json: bool,
) -> None:
    """Print the results; raises typer.Exit if fewer than ``run_count`` runs ended, or if all runs diverged."""
    folder, runs = document["run"], document["runs"]
    ended = sum(run["status"] != "interrupted" for run in runs)
    code, problem = 0, None
    if ended < run_count:
        code, problem = (
            INTERRUPTED,
            output.print_notice(f"{folder}: stopped after {ended} of {run_count} runs"),
        )
    elif document["best"] is None:
        reason = f"all {run_count} runs met NaN or Inf; try lower learning rates, clipping, or another init"
        code, problem = DIVERGED, output.print_notice(f"error: {folder}: {reason}")
    document["seconds_total"] = time.perf_counter() - start
    if as_json:
        if picture_error is not None:
            output.print_notice(picture_error)
        output.print_json(document if problem is None else document | {"error": problem, "exit_code": code})
    else:
        print(_table(ranked))
        if len(ranked) > SHOWN:
            print(f"... and {len(ranked) - SHOWN} more in sweep.csv")
        each = f"{document['seconds_training'] / len(runs) * 1000:.3g} ms each"
        compiled = f"{document['seconds_compiling']:.2g} s to compile"
        print(f"{len(runs)} runs in {document['seconds_training']:.3g} s ({each}), {compiled}: {folder}")
        if picture_error is not None:
            print(picture_error)
    if code:
        raise typer.Exit(code)


def _table(ranked: Sequence[Point]) -> str:
    """The points as a table, best first.

    Init and learning rate always have a column; another option has one only if its values differ.
    """
    shown_options = [
        name
        for name in ranked[0].options
        if name in ("init", "learning_rate") or len({repr(point.options[name]) for point in ranked}) > 1
    ]
    measure = ranked[0].measure
    measured = ["loss", *([measure] if measure else [])]
    header = [name.replace("_", " ") for name in shown_options]
    header += [item for name in measured for item in (f"validation {name}", "+-")] + ["diverged"]
    rows = []
    for point in ranked[:SHOWN]:
        scores = [item for name in measured for item in (point.mean(name), point.deviation(name))]
        diverged = f"{point.diverged} of {len(point.runs)}" if point.diverged else "-"
        rows.append([*(point.options[name] for name in shown_options), *scores, diverged])
    return output.table(header, rows)
