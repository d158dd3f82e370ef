"""A sweep: runs over a grid of options, with a few seeds each, and what they say together."""

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
    """The runs of a sweep that differ in their seed only, and the options in which points differ."""

    options: Mapping[str, Any]
    runs: tuple[Run, ...]

    @property
    def finished(self) -> tuple[Run, ...]:
        """The runs that count: those that met neither NaN or Inf nor Ctrl-C."""
        return tuple(run for run in self.runs if run.status == "finished")

    @property
    def diverged(self) -> int:
        """How many runs met NaN or Inf."""
        return sum(run.status == "diverged" for run in self.runs)

    def values(self, name: str) -> list[float]:
        """The validation metric ``name`` of every finished run, where it is a number."""
        found = [run.metrics["validation"].get(name, math.nan) for run in self.finished]
        return [value for value in found if math.isfinite(value)]

    def mean(self, name: str) -> float | None:
        """The mean of ``values``; None where there are none."""
        values = self.values(name)
        return statistics.fmean(values) if values else None

    def deviation(self, name: str) -> float | None:
        """Their sample standard deviation; None of fewer than two."""
        values = self.values(name)
        return statistics.stdev(values) if len(values) > 1 else None

    @property
    def measure(self) -> str | None:
        """What else than the loss the runs were measured by."""
        return next((name for name in MEASURES if name in self.runs[0].metrics["validation"]), None)

    def document(self) -> dict[str, Any]:
        """The options, and mean and standard deviation of what was measured."""
        found = dict(self.options)
        for name in ("loss", self.measure):
            if name is not None:
                found[f"validation_{name}"] = self.mean(name)
                found[f"validation_{name}_deviation"] = self.deviation(name)
        return found | {"runs": len(self.runs), "diverged": self.diverged}


def grid(axes: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Every combination of one value per axis, the last axis fastest: the variants of ``train_many``."""
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def points(runs: Sequence[Run], names: Sequence[str]) -> list[Point]:
    """The runs as points, grouped by the options in ``names``: the lowest mean validation loss first.

    A point of which a run diverged comes after all of which none did, and one without a finished run last.
    """
    groups: dict[str, tuple[dict[str, Any], list[Run]]] = {}
    for run in runs:
        options = {name: run.settings.value(name) for name in names}
        groups.setdefault(repr(options), (options, []))[1].append(run)
    found = [Point(options, tuple(members)) for options, members in groups.values()]
    return sorted(found, key=_rank)


def best(ranked: Sequence[Point]) -> Point | None:
    """The first of ``ranked``, if any of its runs came to its end."""
    return ranked[0] if ranked and ranked[0].values("loss") else None


def best_run(point: Point) -> Run:
    """The finished run of ``point`` with the lowest validation loss."""
    return min(point.finished, key=lambda run: _or_infinity(run.metrics["validation"]["loss"]))


def run_document(run: Run, names: Sequence[str]) -> dict[str, Any]:
    """What a sweep says of one run."""
    options = {name: run.settings.value(name) for name in (*names, "seed")}
    measured = {
        f"{part}_{name}": value for part, found in run.metrics.items() for name, value in found.items()
    }
    return options | {
        "status": run.status,
        "epochs": run.epochs,
        "best_epoch": run.best_epoch,
        **measured,
        "seconds_training": run.seconds_training,
    }


def table_csv(documents: Sequence[Mapping[str, Any]]) -> bytes:
    """One line per document, in UTF-8, numbers to full precision; what is None or not finite stays empty."""
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
