"""``glassgrad train``."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Option

from glassgrad.cli import interrupts, lenses_text, options, output, tables_text
from glassgrad.common.errors import InputError

if TYPE_CHECKING:
    from glassgrad.training.run import Run
    from glassgrad.training.task import Task

DIVERGED, INTERRUPTED = 1, 130


@options.takes_training("seeds")
def command(
    context: typer.Context,
    source: options.Source,
    out: Annotated[
        Path | None, Option(metavar="RUN", help="The run folder (default: runs/<name>-<time>).")
    ] = None,
    report: Annotated[
        bool, Option("--report", help="Write an HTML page with pictures of the run; implies --watch.")
    ] = False,
    as_json: options.Json = False,
    **chosen: Any,
) -> None:
    """Train a network on SOURCE, and write a run folder.

    The run folder holds the model, its history and its settings. Activations, initializers, losses, optimizers and
    schedules are names (relu) or names with arguments (leaky_relu(0.2)); an unknown name lists the known ones. On
    Ctrl-C, NaN or Inf, training stops and the last good weights are saved.
    """
    from glassgrad.cli.progress import watcher
    from glassgrad.data.sources import load_source
    from glassgrad.files.run_folder import RunFolder
    from glassgrad.training.settings import make_settings
    from glassgrad.training.train import train

    training_options = options.settings_of(context, chosen)
    if report:
        from glassgrad.report.svg import load_figure

        load_figure()
        training_options["watch"] = True
    settings = make_settings(training_options)
    dataset = load_source(source, target=chosen["target"], task=chosen["task"])
    stdout = sys.stdout  # a live progress bar replaces sys.stdout while it runs
    data_entries: dict[str, Any] = {}

    def show_data(task: Task) -> None:
        data = (dataset, task.parts.schema, task.parts.notices)
        data_entries.update(tables_text.document_of(*data))
        for line in [] if as_json else tables_text.lines_of(*data):
            print(line, file=stdout, flush=True)

    with interrupts.deferred(), RunFolder.create(out, dataset.name) as folder:
        try:
            with watcher() as show_progress:
                run = train(dataset, settings, prepared=show_data, progress=show_progress)
        except InputError as error:
            if chosen["network"] is not None and str(error).startswith(("layer ", "the network ")):
                raise InputError(
                    f"{chosen['network']}: {error}"
                ) from None  # the fault is in the network file
            raise
        if run.status == "interrupted" and run.epochs == 0:
            raise KeyboardInterrupt
        with interrupts.uninterrupted():
            folder.commit(run.files())
        interrupts.settle()  # the run is saved; a signal that arrived meanwhile is ignored
    page = _report(run, folder.path) if report else None
    _print_results(run, folder.path, context.obj, as_json, page, data_entries)


def _report(run: Run, folder: Path) -> Path | None:
    """Write the report of ``run``, which is saved in ``folder``; None if Ctrl-C interrupts it."""
    from glassgrad.cli.report import page_of, write_page

    try:
        return write_page(run, page_of(folder))
    except KeyboardInterrupt:
        return None


def _print_results(
    run: Run, folder: Path, start: float, as_json: bool, page: Path | None, data_entries: Mapping[str, Any]
) -> None:
    """Print the results of ``run``, which is saved in ``folder``; raises typer.Exit if it did not finish.

    ``data_entries`` are the entries about its data for ``--json``.
    """
    problem = None if run.message is None else f"{folder}: {run.message}"
    code = {"finished": 0, "diverged": DIVERGED, "interrupted": INTERRUPTED}[run.status]
    if problem is not None:
        problem = output.print_notice(f"error: {problem}" if run.status == "diverged" else problem)
    if as_json:
        document = document_of(run, folder) | dict(data_entries)
        document |= {} if page is None else {"report": str(page)}
        document["seconds_total"] = time.perf_counter() - start
        output.print_json(document if problem is None else document | {"error": problem, "exit_code": code})
    else:
        print(output.metrics_table(run.metrics, run.rows))
        if run.lenses is not None and len(run.lenses):
            print(f"\n{lenses_text.run_table(run.lenses)}\n")
        if run.stopped is not None:
            print(f"stopped early: {run.stopped}")
        best = "" if run.best_epoch is None else f", weights of epoch {run.best_epoch}"
        count = "1 epoch" if run.epochs == 1 else f"{run.epochs} epochs"
        print(f"{count}, {run.model.parameters:,} parameters, {run.backend} backend{best}: {folder}")
        print(
            f"report: {page}"
            if page is not None
            else f"for pictures of this run: glassgrad report {quote(str(folder))}"
        )
    if code:
        raise typer.Exit(code)


def document_of(run: Run, folder: Path) -> dict[str, Any]:
    """The output of ``--json`` for ``run``, which is saved in ``folder``."""
    from glassgrad.files.run_folder import MODEL
    from glassgrad.losses.table import LOSSES

    return {
        "task": run.model.schema.task,
        "source": run.model.provenance["source"],
        "status": run.status,
        "metrics": run.metrics,
        "rows": run.rows,
        "loss": LOSSES.config(run.model.loss),
        "epochs": run.epochs,
        "best_epoch": run.best_epoch,
        "stopped": run.stopped,
        "steps": run.steps,
        "parameters": run.model.parameters,
        "seed": run.settings.seed,
        "backend": run.backend,
        "seconds_training": run.seconds_training,
        "seconds_compiling": run.seconds_compiling,
        "seconds_total": run.seconds_total,
        "model": str(folder / MODEL),
        "run": str(folder),
    } | ({} if run.lenses is None else {"lenses": run.lenses.per_epoch().document()})
