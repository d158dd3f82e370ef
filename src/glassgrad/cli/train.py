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

DIVERGED, STOPPED = 1, 130


@options.takes_training("seeds")
def command(
    context: typer.Context,
    source: options.Source,
    out: Annotated[
        Path | None, Option(metavar="RUN", help="The run folder (default: runs/<name>-<time>).")
    ] = None,
    report: Annotated[
        bool, Option("--report", help="Look inside while training, and write a page with pictures.")
    ] = False,
    as_json: options.Json = False,
    **chosen: Any,
) -> None:
    """Train a network on SOURCE, and write a run folder: the model, its history and its settings.

    Parts are names (relu, adam, cosine) or names with options (leaky_relu(0.2)); an unknown name lists those
    there are. Ctrl-C, and NaN or Inf, end the run with its last good weights. MODEL is a run folder or a
    .safetensors file.
    """
    from glassgrad.cli.progress import watcher
    from glassgrad.data.sources import load_source
    from glassgrad.files.run_folder import RunFolder
    from glassgrad.training.settings import make_settings
    from glassgrad.training.train import train

    given = options.settings_of(context, chosen)
    if report:
        from glassgrad.report.svg import load_figure

        load_figure()
        given["watch"] = True
    settings = make_settings(given)
    dataset = load_source(source, target=chosen["target"], task=chosen["task"])
    stdout = sys.stdout  # a live bar on the terminal puts something else in its place
    about: dict[str, Any] = {}

    def tell_task(found: Task) -> None:
        data = (dataset, found.parts.schema, found.parts.notices)
        about.update(tables_text.document_of(*data))
        for line in [] if as_json else tables_text.lines_of(*data):
            print(line, file=stdout, flush=True)

    with interrupts.deferred(), RunFolder.create(out, dataset.name) as folder:
        try:
            with watcher() as shown:
                run = train(dataset, settings, prepared=tell_task, progress=shown)
        except InputError as error:
            if chosen["network"] is not None and str(error).startswith(("layer ", "the network ")):
                raise InputError(f"{chosen['network']}: {error}") from None  # what is wrong is in this file
            raise
        if run.status == "interrupted" and run.epochs == 0:
            raise KeyboardInterrupt
        with interrupts.uninterrupted():
            folder.commit(run.files())
        interrupts.settle()  # saved whole: a signal that came meanwhile changes nothing
    page = _report(run, folder.path) if report else None
    _tell(run, folder.path, context.obj, as_json, page, about)


def _report(run: Run, place: Path) -> Path | None:
    """Write the report of ``run``, which is saved in ``place``; None if Ctrl-C comes before it is done."""
    from glassgrad.cli.report import page_of, write_page

    try:
        return write_page(run, page_of(place))
    except KeyboardInterrupt:
        return None


def _tell(
    run: Run, place: Path, start: float, as_json: bool, page: Path | None, about: Mapping[str, Any]
) -> None:
    """Say what came out of ``run``, which lies in ``place``; leave with an exit code if it did not finish.

    ``about`` is what is to be said of its data.
    """
    trouble = None if run.message is None else f"{place}: {run.message}"
    code = {"finished": 0, "diverged": DIVERGED, "interrupted": STOPPED}[run.status]
    if trouble is not None:
        trouble = output.complain(f"error: {trouble}" if run.status == "diverged" else trouble)
    if as_json:
        document = document_of(run, place) | dict(about) | ({} if page is None else {"report": str(page)})
        document["seconds_total"] = time.perf_counter() - start
        output.print_json(document if trouble is None else document | {"error": trouble, "exit_code": code})
    else:
        print(output.metrics_table(run.metrics, run.rows))
        if run.lenses is not None and len(run.lenses):
            print(f"\n{lenses_text.run_table(run.lenses)}\n")
        if run.stopped is not None:
            print(f"stopped early: {run.stopped}")
        best = "" if run.best_epoch is None else f", weights of epoch {run.best_epoch}"
        count = "1 epoch" if run.epochs == 1 else f"{run.epochs} epochs"
        print(f"{count} of {run.model.parameters:,} parameters on {run.backend}{best}: {place}")
        print(
            f"report: {page}"
            if page is not None
            else f"see it in pictures: glassgrad report {quote(str(place))}"
        )
    if code:
        raise typer.Exit(code)


def document_of(run: Run, place: Path) -> dict[str, Any]:
    """What ``--json`` says of a run that lies in ``place``."""
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
        "model": str(place / MODEL),
        "run": str(place),
    } | ({} if run.lenses is None else {"lenses": run.lenses.per_epoch().document()})
