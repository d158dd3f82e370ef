"""``glassgrad diagnose``."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from glassgrad.cli import interrupts, options, output
from glassgrad.common.errors import InputError

if TYPE_CHECKING:
    from glassgrad.diagnosis.core.examination import Phase
    from glassgrad.diagnosis.core.findings import Diagnosis

FAULTY = 3


@options.takes_training("force", "seeds", "watch")
def command(
    context: typer.Context,
    source: Annotated[
        str, Argument(metavar="SOURCE|RUN", help="What to train on, or the folder of a run to examine.")
    ],
    budget: Annotated[str, Option(metavar="TIME", help="How long it may take: 30s, 2min.")] = "30s",
    out: Annotated[Path | None, Option(metavar="REPORT.html", help="Write a report with pictures.")] = None,
    as_json: options.Json = False,
    **chosen: Any,
) -> None:
    """Say what is wrong with a network, and prove it: each fix is tried on fresh seeds.

    Answers five questions: are the neurons alive, is the learning rate right, do the weights start right, is the
    loss right, does the gradient reach every layer? Options are those of train; with a RUN they replace some of
    its settings. Exit code 3 says that a fault is confirmed, 0 that none is.
    """
    from glassgrad.common.durations import seconds_of
    from glassgrad.diagnosis.diagnose import diagnose

    seconds = seconds_of(budget)
    if out is not None and out.is_dir():
        raise InputError(f"{out}: is a folder; name the file of the report, such as report.html")
    given = options.settings_of(context, chosen)
    with _phases() as tell:
        found = diagnose(
            source, target=chosen["target"], task=chosen["task"], budget=seconds, progress=tell, **given
        )
    if out is not None:
        _write(found, out)
    if as_json:
        code = FAULTY if found.verdict == "fault" else 0
        output.print_json(found.document() | {"report": None if out is None else str(out), "exit_code": code})
    else:
        _print(found)
        if out is not None:
            print(f"report: {out}")
    if found.verdict == "fault":
        raise typer.Exit(FAULTY)


def _print(found: Diagnosis) -> None:
    from glassgrad.cli.diagnosis_text import MARKS, WIDTH, Painter, text_of
    from glassgrad.cli.tables_text import lines_of

    parts = found.subject.task.parts
    for line in lines_of(found.subject.given, parts.schema, parts.notices):
        print(line)

    terminal = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    try:
        "".join([*MARKS.values(), "→"]).encode(sys.stdout.encoding or "ascii")
        unicode = True
    except UnicodeEncodeError:
        unicode = False
    width = WIDTH
    if terminal:
        with contextlib.suppress(OSError):
            width = max(64, min(WIDTH, os.get_terminal_size().columns))
    print(text_of(found, Painter(color=terminal and "NO_COLOR" not in os.environ, unicode=unicode), width))


@contextlib.contextmanager
def _phases() -> Iterator[Callable[[Phase], None]]:
    """Shows what a diagnosis is at: a bar on a terminal, a line per phase everywhere else."""

    def line(phase: Phase) -> None:
        interrupts.check()
        with contextlib.suppress(OSError):  # the reader went away: the work goes on
            print(f"{phase.done:4.0%}  {phase.text}", file=sys.stderr, flush=True)

    if not (sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"):
        yield line
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as RichProgress

    columns = (BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with RichProgress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=1.0)

        def move(phase: Phase) -> None:
            interrupts.check()
            bar.update(task, completed=phase.done, description=phase.text)

        yield move


def _write(found: Diagnosis, place: Path) -> None:
    """Write the report, all of it or nothing."""
    from glassgrad.files.atomic import write_text
    from glassgrad.report.diagnosis_page import diagnosis_page

    write_text(place, diagnosis_page(found).html())
