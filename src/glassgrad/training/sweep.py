"""A sweep: runs over a grid of options with several seeds each, and their summary."""

from __future__ import annotations

import csv
import io
import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from glassgrad.common.frozen import frozen
from glassgrad.training.run import Run

Spread = tuple[float, float, float]
MEASURES = ("accuracy", "rmse")


@frozen
class Point:
    """The runs of a sweep that differ only in their seed, and the options by which points differ."""

    options: Mapping[str, Any]
    runs: tuple[Run, ...]

    @property
    def finished(self) -> tuple[Run, ...]:
        """The runs that neither diverged nor were interrupted."""
        return tuple(run for run in self.runs if run.status == "finished")

    @property
    def diverged(self) -> int:
        """The number of runs that met NaN or Inf."""
        return sum(run.status == "diverged" for run in self.runs)

    def values(self, name: str) -> list[float]:
        """The validation metric ``name`` of every finished run that has a finite value."""
        values = [run.metrics["validation"].get(name, math.nan) for run in self.finished]
        return [value for value in values if math.isfinite(value)]

    def mean(self, name: str) -> float | None:
        """The mean of ``values(name)``; None if there are none."""
        values = self.values(name)
        return statistics.fmean(values) if values else None

    def deviation(self, name: str) -> float | None:
        """The sample standard deviation of ``values(name)``; None for fewer than two."""
        values = self.values(name)
        return statistics.stdev(values) if len(values) > 1 else None

    @property
    def measure(self) -> str | None:
        """The metric of the runs besides the loss: the first of ``MEASURES`` that they have, or None."""
        return next((name for name in MEASURES if name in self.runs[0].metrics["validation"]), None)

    def document(self) -> dict[str, Any]:
        """The options, and the means and standard deviations of the metrics."""
        document = dict(self.options)
        for name in ("loss", self.measure):
            if name is not None:
                document[f"validation_{name}"] = self.mean(name)
                document[f"validation_{name}_deviation"] = self.deviation(name)
        return document | {"runs": len(self.runs), "diverged": self.diverged}


def grid(axes: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Every combination of one value per axis, the last axis fastest: the variants of ``train_many``."""
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def points(runs: Sequence[Run], names: Sequence[str]) -> list[Point]:
    """The runs grouped into points by the options in ``names``, sorted by mean validation loss, the lowest first.

    Points with a diverged run come after those without one. Points without a finished run come last.
    """
    groups: dict[str, tuple[dict[str, Any], list[Run]]] = {}
    for run in runs:
        options = {name: run.settings.value(name) for name in names}
        groups.setdefault(repr(options), (options, []))[1].append(run)
    return sorted((Point(options, tuple(members)) for options, members in groups.values()), key=_rank)


def best(ranked: Sequence[Point]) -> Point | None:
    """The first of ``ranked``; None if none of its runs finished with a finite loss."""
    return ranked[0] if ranked and ranked[0].values("loss") else None


def best_run(point: Point) -> Run:
    """The finished run of ``point`` with the lowest validation loss."""
    return min(point.finished, key=lambda run: _or_infinity(run.metrics["validation"]["loss"]))


def run_document(run: Run, names: Sequence[str]) -> dict[str, Any]:
    """One run of a sweep: its options, status, metrics and training time."""
    options = {name: run.settings.value(name) for name in (*names, "seed")}
    measured = {
        f"{part}_{name}": value for part, metrics in run.metrics.items() for name, value in metrics.items()
    }
    return options | {
        "status": run.status,
        "epochs": run.epochs,
        "best_epoch": run.best_epoch,
        **measured,
        "seconds_training": run.seconds_training,
    }


def table_csv(documents: Sequence[Mapping[str, Any]]) -> bytes:
    """A CSV file in UTF-8 with one line per document. None, NaN and Inf become empty cells."""
    columns = list(dict.fromkeys(key for document in documents for key in document))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(document.get(column)) for column in columns] for document in documents)
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    return "" if value is None or (isinstance(value, float) and not math.isfinite(value)) else value


def _rank(point: Point) -> tuple[bool, bool, float]:
    mean = point.mean("loss")
    return mean is None, point.diverged > 0, _or_infinity(math.nan if mean is None else mean)


def _or_infinity(value: float) -> float:
    return value if math.isfinite(value) else math.inf
