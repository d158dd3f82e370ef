"""``glassgrad report``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from glassgrad.cli import options, output
from glassgrad.common.errors import InputError

if TYPE_CHECKING:
    from glassgrad.training.run import Run


def command(
    context: typer.Context,
    run: Annotated[Path, Argument(metavar="RUN", help="A run folder.")],
    source: Annotated[
        str | None,
        Option(metavar="SOURCE", help="What it was trained on, where that is no longer in its place."),
    ] = None,
    out: Annotated[
        Path | None, Option(metavar="FILE", help="The page (default: report.html in the run folder).")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Write a page with pictures of RUN: its neurons, learning rate, initialization, loss and chain rule.

    The page is one file, which opens offline in any browser. Unless the run was trained with --watch or --report,
    its training is repeated, to the same bits, to look inside while it runs.
    """
    from glassgrad.cli.progress import watcher
    from glassgrad.report.stored_run import stored_run
    from glassgrad.report.svg import load_figure

    if out is not None and out.is_dir():
        raise InputError(f"{out}: is a folder; name the file of the page, such as report.html")
    load_figure()
    with watcher() as watch:
        found = stored_run(run, source, watch)
    place = write_page(found, out or page_of(run))
    if as_json:
        seconds = time.perf_counter() - context.obj
        output.print_json({"run": str(run), "report": str(place), "seconds_total": seconds})
    else:
        print(f"report: {place}")


def page_of(folder: Path) -> Path:
    """Where the report of the run in ``folder`` goes."""
    from glassgrad.report.run_page import REPORT

    return folder / REPORT


def write_page(run: Run, place: Path) -> Path:
    """Write the report of ``run`` to ``place``: all of it, or nothing. Raises InputError."""
    from glassgrad.files.atomic import write_text
    from glassgrad.report.run_page import run_page

    write_text(place, run_page(run).html())
    return place
