"""The progress of a training on standard error: a live bar on a terminal, else a line per epoch."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

from glassgrad.cli import interrupts, lenses_text
from glassgrad.cli.output import show
from glassgrad.training.run import Progress, Run

SHOWN_METRICS = ("accuracy", "rmse")


class Watcher(Protocol):
    """A context manager that is called with the progress of a training, and shows it."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def __call__(self, progress: Progress) -> None:
        """Show ``progress``."""


def watcher() -> Watcher:
    """A ``Bar`` if standard error is a terminal, else ``Lines``."""
    return Bar() if _on_terminal() else Lines()


def _on_terminal() -> bool:
    return sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"


class Lines:
    """A line per epoch on standard error."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def __call__(self, progress: Progress) -> None:
        """Print a line if an epoch has ended."""
        interrupts.check()
        if progress.record is not None:
            with contextlib.suppress(OSError):  # standard error is closed; training continues
                line = f"epoch {progress.epoch}/{progress.epochs}  {described(progress)}"
                print(line, file=sys.stderr, flush=True)


class Bar:
    """A live bar on standard error; with ``--watch``, a live table of the layers below it."""

    def __init__(self) -> None:
        from rich.console import Console, RenderableType
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress
        from rich.table import Table

        class BarWithTable(RichProgress):
            rows: Sequence[Sequence[str]] = ()

            def get_renderables(self) -> Iterator[RenderableType]:
                yield from super().get_renderables()
                if self.rows:
                    table = Table(box=None, pad_edge=False)
                    for number, title in enumerate(lenses_text.HEADER):
                        table.add_column(title, justify="right" if number else "left")
                    for row in self.rows:
                        table.add_row(*row)
                    yield table

        self._bar = BarWithTable(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[metrics]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task: Any = None
        self._validated = ""

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def __call__(self, progress: Progress) -> None:
        """Move the bar; the metrics of the last validation stay visible between epochs."""
        interrupts.check()
        if progress.record is not None:
            self._validated = validated(progress.record)
        if progress.lenses is not None and len(progress.lenses):
            self._bar.rows = lenses_text.epoch_rows(progress.lenses)
        fields: dict[str, Any] = {
            "epoch": progress.epoch,
            "epochs": progress.epochs,
            "metrics": f"loss {show(progress.loss)}{self._validated}",
        }
        if self._task is None:
            self._task = self._bar.add_task("", total=progress.total_steps, **fields)
        self._bar.update(self._task, completed=progress.steps, **fields)


@contextlib.contextmanager
def runs_watcher(count: int) -> Iterator[Callable[[int, Run], None]]:
    """Shows the progress of ``train_many`` with ``count`` runs: a bar on a terminal, else a line per run."""
    done = 0

    def print_line(_: int, run: Run) -> None:
        nonlocal done
        interrupts.check()
        done += 1
        settings = run.settings
        options = f"learning rate {settings.value('learning_rate'):g}  seed {settings.seed}"
        loss = show(run.metrics.get("validation", {}).get("loss"))
        with contextlib.suppress(OSError):  # standard error is closed; training continues
            line = f"run {done}/{count}  {options}  {run.status}  validation loss {loss}"
            print(line, file=sys.stderr, flush=True)

    if not _on_terminal():
        yield print_line
        return
    from rich.console import Console
    from rich.progress import Progress as RichProgress

    with RichProgress(console=Console(stderr=True)) as bar:
        task = bar.add_task("runs", total=count)

        def advance(_: int, run: Run) -> None:
            interrupts.check()
            bar.advance(task)

        yield advance


def described(progress: Progress) -> str:
    """The training loss, the validation metrics, and the measurements of the lenses, on one line."""
    measurements = "" if progress.lenses is None else lenses_text.epoch_line(progress.lenses)
    return f"loss {show(progress.loss)}{validated(progress.record or {})}{measurements}"


def validated(record: Mapping[str, float | int]) -> str:
    """The validation loss, and accuracy or root mean squared error, of an epoch; empty without validation."""
    if "validation_loss" not in record:
        return ""
    metrics = [f"  validation loss {show(record['validation_loss'])}"]
    metrics += [
        f"{name} {show(record[key])}" for name in SHOWN_METRICS if (key := f"validation_{name}") in record
    ]
    return "  ".join(metrics)
