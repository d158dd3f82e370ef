"""Encodings of numbers, booleans and dates as inputs of a network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from glassgrad.data import cells
from glassgrad.data.encoding_parts import (
    DataclassEncoding,
    UnseenCells,
    bool_of,
    damaged,
    number_of,
    text_of,
    unseen_cells,
)
from glassgrad.data.scaling import Floats, moments
from glassgrad.data.table import Column, Table

SKEWED = 2.0
"""Numbers with a larger skewness are transformed (see ``NumberEncoding``). An exponential distribution has 2."""

CYCLES = {"day": 1.0, "week": 7.0, "year": 365.2425}
"""The cycles of a date, and their lengths in days."""


@dataclass(frozen=True)
class NumberEncoding(DataclassEncoding):
    """The encoding of a number: its value, and whether it is missing.

    A missing value is replaced by the median ``fill``. The second input exists only if a training row had no value
    (``gaps``). Numbers with a heavy tail (skewness above ``SKEWED`` on the training rows) are transformed: the input
    is asinh((value - center) / spread), which is nearly linear around the median ``center`` and logarithmic far
    from it. ``spread`` is the median distance from ``center`` of the values that differ from it. The inverse is
    value = center + spread * sinh(input). Source: J. Burbidge et al., Alternative transformations to handle extreme
    values of the dependent variable, JASA 1988.
    """

    kind: ClassVar[str] = "number"
    name: str
    fill: float
    gaps: bool
    center: float = 0.0
    spread: float | None = None
    standardized_inputs: ClassVar[int] = 1

    @classmethod
    def fit(cls, column: Column, table: Table, transform_tails: bool) -> NumberEncoding:
        """The encoding fitted on the training rows ``column``, which has at least one value."""
        values = cells.numbers(column, table)
        values = values[~column.missing]
        median = _median(values)
        linear = cls(column.name, median, bool(column.missing.any()))
        if not transform_tails or abs(_skewness(values, column.name, table.source_name)) <= SKEWED:
            return linear
        spread = _median(np.abs(values[values != median] - median))
        return replace(linear, center=median, spread=spread) if 0 < spread < math.inf else linear

    @property
    def inputs(self) -> tuple[str, ...]:
        """The value, and whether it is missing."""
        return _with_gaps(self.name, self.gaps)

    def encode(self, column: Column, table: Table, out: Floats) -> list[UnseenCells]:
        """Write the inputs into ``out`` [rows, inputs]."""
        values = cells.numbers(column, table)
        unseen = _fill_gaps(
            values, out, column, table, self.fill, self.gaps, f"replaced by the median {self.fill:g}"
        )
        if self.spread is not None:
            with np.errstate(over="ignore"):
                out[:, 0] = np.arcsinh((out[:, 0] - self.center) / self.spread)
        return unseen

    def use(self) -> str:
        """What becomes of the column, in words."""
        text = "its value" if self.spread is None else "its value, asinh-transformed for its heavy tail"
        return text + (f" (the median {self.fill:g} if missing); whether it is missing" if self.gaps else "")

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> NumberEncoding:
        """The encoding that ``to_document`` described."""
        spread = None if document["spread"] is None else number_of(document, "spread")
        if spread is not None and spread <= 0:
            raise damaged("spread")
        return cls(
            text_of(document, "name"),
            number_of(document, "fill"),
            bool_of(document, "gaps"),
            number_of(document, "center"),
            spread,
        )


@dataclass(frozen=True)
class BooleanEncoding(DataclassEncoding):
    """The encoding of a boolean: 1 for true, 0 for false, and whether it is missing.

    A missing value is replaced by ``fill``, the fraction of true values. The second input exists only if a training
    row had no value (``gaps``).
    """

    kind: ClassVar[str] = "boolean"
    name: str
    fill: float
    gaps: bool
    standardized_inputs: ClassVar[int] = 0

    @classmethod
    def fit(cls, column: Column, table: Table) -> BooleanEncoding:
        """The encoding of the training rows ``column``, which has some value."""
        present = cells.booleans(column, table)[~column.missing]
        return cls(column.name, float(present.mean()), bool(column.missing.any()))

    @property
    def inputs(self) -> tuple[str, ...]:
        """The value, and whether it is missing."""
        return _with_gaps(self.name, self.gaps)

    def encode(self, column: Column, table: Table, out: Floats) -> list[UnseenCells]:
        """Write the inputs into ``out`` [rows, inputs]."""
        values = cells.booleans(column, table)
        return _fill_gaps(values, out, column, table, self.fill, self.gaps, f"replaced by {self.fill:.3g}")

    def use(self) -> str:
        """What becomes of the column, in words."""
        return "1 for true, 0 for false" + ("; whether it is missing" if self.gaps else "")

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> BooleanEncoding:
        """The encoding that ``to_document`` described."""
        return cls(text_of(document, "name"), number_of(document, "fill"), bool_of(document, "gaps"))


@dataclass(frozen=True)
class DateEncoding(DataclassEncoding):
    """The encoding of a date: days since 1970-01-01 (with fractions), its phase in each cycle, whether it is missing.

    A missing value is replaced by the median ``fill``. ``cycles`` are the cycles in ``CYCLES`` that the training rows
    span at least twice; the day is among them only if the training rows have times of day. The inputs for a cycle
    are the sine and the cosine of the phase.
    """

    kind: ClassVar[str] = "date"
    name: str
    fill: float
    gaps: bool
    cycles: tuple[str, ...]
    standardized_inputs: ClassVar[int] = 1

    @classmethod
    def fit(cls, column: Column, table: Table) -> DateEncoding:
        """The encoding of the training rows ``column``, which has some value."""
        present = cells.days(column, table)[~column.missing]
        span = float(np.ptp(present))
        cycles = [name for name, length in CYCLES.items() if span >= 2 * length]
        if (present == np.floor(present)).all():
            cycles = [name for name in cycles if name != "day"]
        return cls(column.name, _median(present), bool(column.missing.any()), tuple(cycles))

    @property
    def inputs(self) -> tuple[str, ...]:
        """The days, sine and cosine of each cycle, and whether it is missing."""
        phases = [
            f"{self.name} ({wave} of the {cycle})" for cycle in self.cycles for wave in ("sine", "cosine")
        ]
        days, *missing = _with_gaps(self.name, self.gaps)
        return (days, *phases, *missing)

    def encode(self, column: Column, table: Table, out: Floats) -> list[UnseenCells]:
        """Write the inputs into ``out`` [rows, inputs]."""
        median = np.datetime64(0, "D") + np.timedelta64(math.floor(self.fill), "D")
        values = cells.days(column, table)
        unseen = _fill_gaps(
            values, out, column, table, self.fill, self.gaps, f"replaced by the median {median}"
        )
        for number, cycle in enumerate(self.cycles):
            angle = out[:, 0] * (2 * math.pi / CYCLES[cycle])
            out[:, 1 + 2 * number], out[:, 2 + 2 * number] = np.sin(angle), np.cos(angle)
        return unseen

    def use(self) -> str:
        """What becomes of the column, in words."""
        parts = ["days since 1970", *(f"the time of the {cycle}" for cycle in self.cycles)]
        return ", ".join(parts) + (" (the median if missing); whether it is missing" if self.gaps else "")

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> DateEncoding:
        """The encoding that ``to_document`` described."""
        cycles, fill = document["cycles"], number_of(document, "fill")
        if not isinstance(cycles, list) or cycles != [name for name in CYCLES if name in cycles]:
            raise damaged("cycles")
        if abs(fill) > 2**63 / cells.MICROSECONDS_PER_DAY:
            raise damaged("fill")
        return cls(text_of(document, "name"), fill, bool_of(document, "gaps"), tuple(cycles))


def _with_gaps(name: str, gaps: bool) -> tuple[str, ...]:
    return (name, f"{name} is missing") if gaps else (name,)


def _fill_gaps(
    values: Floats, out: Floats, column: Column, table: Table, fill: float, gaps: bool, replacement: str
) -> list[UnseenCells]:
    """Write ``values`` into the first column of ``out``, with ``fill`` for missing ones.

    With ``gaps`` the last column of ``out`` becomes 1 where a value is missing; otherwise the missing cells are
    returned as unseen.
    """
    out[:, 0] = np.where(column.missing, fill, values)
    if gaps:
        out[:, -1] = column.missing
        return []
    return unseen_cells("missing", column.name, column, table, column.missing, replacement)


def _median(values: Floats) -> float:
    """The median; the mean of the two middle values if their number is even. It does not overflow."""
    low, high = np.quantile(values, [0.5, 0.5], method="lower"), np.quantile(values, 0.5, method="higher")
    return float(low[0] / 2 + high / 2) if low[0] != high else float(high)


def _skewness(values: Floats, name: str, source_name: str) -> float:
    """The third standardized moment; 0 for a constant."""
    mean, scale = moments(values[:, np.newaxis], source_name, [f"column {name!r}"])
    return float(np.mean(((values - mean) / scale) ** 3))
