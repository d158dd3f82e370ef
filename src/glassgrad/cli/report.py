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
        Option(metavar="SOURCE", help="The training data, if it has moved."),
    ] = None,
    out: Annotated[
        Path | None, Option(metavar="FILE", help="The page (default: report.html in the run folder).")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Write an HTML page with pictures of RUN.

    The page shows neurons, learning rate, initialization, loss and chain rule. It is a single file that opens
    offline in any browser. A run that was trained without --watch and --report is trained again, with identical
    results, to measure its layers.
    """
    from glassgrad.cli.progress import watcher
    from glassgrad.report.stored_run import stored_run
    from glassgrad.report.svg import load_figure

    if out is not None and out.is_dir():
        raise InputError(f"{out}: is a folder; name the file of the page, such as report.html")
    load_figure()
    with watcher() as watch:
        loaded_run = stored_run(run, source, watch)
    page = write_page(loaded_run, out or page_of(run))
    if as_json:
        seconds = time.perf_counter() - context.obj
        output.print_json({"run": str(run), "report": str(page), "seconds_total": seconds})
    else:
        print(f"report: {page}")


def page_of(folder: Path) -> Path:
    """The default path of the report of the run in ``folder``."""
    from glassgrad.report.run_page import REPORT

    return folder / REPORT


def write_page(run: Run, path: Path) -> Path:
    """Write the report of ``run`` to ``path``, whole or not at all; returns ``path``.

    Raises InputError if the file cannot be written.
    """
    from glassgrad.files.atomic import write_text
    from glassgrad.report.run_page import run_page

    write_text(path, run_page(run).html())
    return path
