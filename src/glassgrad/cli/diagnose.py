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

FAULT_CONFIRMED = 3


@options.takes_training("force", "seeds", "watch")
def command(
    context: typer.Context,
    source: Annotated[
        str, Argument(metavar="SOURCE|RUN", help="Data to train on, or the folder of a run to examine.")
    ],
    budget: Annotated[str, Option(metavar="TIME", help="Time limit, such as 30s or 2min.")] = "30s",
    out: Annotated[Path | None, Option(metavar="REPORT.html", help="Write a report with pictures.")] = None,
    as_json: options.Json = False,
    **chosen: Any,
) -> None:
    """Find the faults of a network, and test each fix.

    Answers five questions: are the neurons alive, is the learning rate right, do the weights start right, is the
    loss right, does the gradient reach every layer? Each fix is tried in short trainings with new seeds. Takes the
    options of train; for a RUN, they replace its settings. Exit code 3 means a confirmed fault, 0 none.
    """
    from glassgrad.common.durations import seconds_of
    from glassgrad.diagnosis.diagnose import diagnose

    seconds = seconds_of(budget)
    if out is not None and out.is_dir():
        raise InputError(f"{out}: is a folder; name the file of the report, such as report.html")
    settings = options.settings_of(context, chosen)
    with _phase_display() as show_phase:
        diagnosis = diagnose(
            source,
            target=chosen["target"],
            task=chosen["task"],
            budget=seconds,
            progress=show_phase,
            **settings,
        )
    if out is not None:
        _write(diagnosis, out)
    if as_json:
        exit_code = FAULT_CONFIRMED if diagnosis.verdict == "fault" else 0
        report = None if out is None else str(out)
        output.print_json(diagnosis.document() | {"report": report, "exit_code": exit_code})
    else:
        _print(diagnosis)
        if out is not None:
            print(f"report: {out}")
    if diagnosis.verdict == "fault":
        raise typer.Exit(FAULT_CONFIRMED)


def _print(diagnosis: Diagnosis) -> None:
    from glassgrad.cli.diagnosis_text import MARKS, WIDTH, Painter, text_of
    from glassgrad.cli.tables_text import lines_of

    parts = diagnosis.subject.task.parts
    for line in lines_of(diagnosis.subject.original, parts.schema, parts.notices):
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
    print(
        text_of(diagnosis, Painter(color=terminal and "NO_COLOR" not in os.environ, unicode=unicode), width)
    )


@contextlib.contextmanager
def _phase_display() -> Iterator[Callable[[Phase], None]]:
    """Shows the progress of a diagnosis on standard error: a bar on a terminal, else a line per phase."""

    def print_line(phase: Phase) -> None:
        interrupts.check()
        with contextlib.suppress(OSError):  # standard error is closed; the diagnosis continues
            print(f"{phase.done:4.0%}  {phase.text}", file=sys.stderr, flush=True)

    if not (sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"):
        yield print_line
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as RichProgress

    columns = (BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with RichProgress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=1.0)

        def move_bar(phase: Phase) -> None:
            interrupts.check()
            bar.update(task, completed=phase.done, description=phase.text)

        yield move_bar


def _write(diagnosis: Diagnosis, path: Path) -> None:
    """Write the report of ``diagnosis`` to ``path``, whole or not at all."""
    from glassgrad.files.atomic import write_text
    from glassgrad.report.diagnosis_page import diagnosis_page

    write_text(path, diagnosis_page(diagnosis).html())
