"""A number, a truth or a date as inputs of a network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from glassgrad.data import cells
from glassgrad.data.encoding_parts import (
    Described,
    Odd,
    damaged,
    number_of,
    odd_cells,
    text_of,
    truth_of,
)
from glassgrad.data.scaling import Floats, moments
from glassgrad.data.table import Column, Table

SKEWED = 2.0
"""The skewness of the training values (that of an exponential distribution) from which numbers are bent."""

CYCLES = {"day": 1.0, "week": 7.0, "year": 365.2425}
"""The cycles of a date, and their days."""


@dataclass(frozen=True)
class NumberEncoding(Described):
    """A number: its value, or the median ``fill`` where it is missing, and whether it was missing.

    The second input is there if training rows lacked a value (``gaps``). A heavy tail (skewness beyond
    ``SKEWED`` on the training rows) is bent: the input is then asinh((value - center) / spread), close to
    linear around the median ``center`` and logarithmic far from it, with ``spread`` the median distance of
    the values that differ from it. value = center + spread * sinh(input) turns it back. (J. Burbidge et al.,
    Alternative transformations to handle extreme values of the dependent variable, JASA 1988.)
    """

    kind: ClassVar[str] = "number"
    name: str
    fill: float
    gaps: bool
    center: float = 0.0
    spread: float | None = None
    measured: ClassVar[int] = 1

    @classmethod
    def fit(cls, column: Column, table: Table, curves: bool) -> NumberEncoding:
        """The encoding of the training rows ``column``, which has some value."""
        values = cells.numbers(column, table)
        values = values[~column.missing]
        middle = _median(values)
        plain = cls(column.name, middle, bool(column.missing.any()))
        if not curves or abs(_skewness(values, column.name, table.place)) <= SKEWED:
            return plain
        spread = _median(np.abs(values[values != middle] - middle))
        return replace(plain, center=middle, spread=spread) if 0 < spread < math.inf else plain

    @property
    def inputs(self) -> tuple[str, ...]:
        """The value, and whether it is missing."""
        return _with_gaps(self.name, self.gaps)

    def encode(self, column: Column, table: Table, out: Floats) -> list[Odd]:
        """Write the inputs into ``out`` [rows, inputs]."""
        values = cells.numbers(column, table)
        odd = _fill_gaps(
            values, out, column, table, self.fill, self.gaps, f"the median {self.fill:g} stands in"
        )
        if self.spread is not None:
            with np.errstate(over="ignore"):
                out[:, 0] = np.arcsinh((out[:, 0] - self.center) / self.spread)
        return odd

    def use(self) -> str:
        """What becomes of the column, in words."""
        said = "its value" if self.spread is None else "its value, the heavy tail bent by asinh"
        return said + (f"; the median {self.fill:g} where missing, and whether it is" if self.gaps else "")

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> NumberEncoding:
        """The encoding that ``to_document`` described."""
        spread = None if document["spread"] is None else number_of(document, "spread")
        if spread is not None and spread <= 0:
            raise damaged("spread")
        return cls(
            text_of(document, "name"),
            number_of(document, "fill"),
            truth_of(document, "gaps"),
            number_of(document, "center"),
            spread,
        )


@dataclass(frozen=True)
class BooleanEncoding(Described):
    """True (1) or false (0), or the share of true ``fill`` where missing; and whether it was missing."""

    kind: ClassVar[str] = "boolean"
    name: str
    fill: float
    gaps: bool
    measured: ClassVar[int] = 0

    @classmethod
    def fit(cls, column: Column, table: Table) -> BooleanEncoding:
        """The encoding of the training rows ``column``, which has some value."""
        present = cells.truths(column, table)[~column.missing]
        return cls(column.name, float(present.mean()), bool(column.missing.any()))

    @property
    def inputs(self) -> tuple[str, ...]:
        """The truth, and whether it is missing."""
        return _with_gaps(self.name, self.gaps)

    def encode(self, column: Column, table: Table, out: Floats) -> list[Odd]:
        """Write the inputs into ``out`` [rows, inputs]."""
        values = cells.truths(column, table)
        return _fill_gaps(values, out, column, table, self.fill, self.gaps, f"{self.fill:.3g} stands in")

    def use(self) -> str:
        """What becomes of the column, in words."""
        return "1 for true and 0 for false" + ("; and whether it is missing" if self.gaps else "")

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> BooleanEncoding:
        """The encoding that ``to_document`` described."""
        return cls(text_of(document, "name"), number_of(document, "fill"), truth_of(document, "gaps"))


@dataclass(frozen=True)
class DateEncoding(Described):
    """Days since 1970-01-01 (with their fractions), or the median ``fill``; and where in its ``cycles`` it lies.

    A cycle of ``CYCLES`` gives sine and cosine of the time in it, where the training rows span it twice (of
    the day: where they have times of day at all).
    """

    kind: ClassVar[str] = "date"
    name: str
    fill: float
    gaps: bool
    cycles: tuple[str, ...]
    measured: ClassVar[int] = 1

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
        turns = [
            f"{self.name} ({wave} of the {cycle})" for cycle in self.cycles for wave in ("sine", "cosine")
        ]
        days, *missing = _with_gaps(self.name, self.gaps)
        return (days, *turns, *missing)

    def encode(self, column: Column, table: Table, out: Floats) -> list[Odd]:
        """Write the inputs into ``out`` [rows, inputs]."""
        middle = np.datetime64(0, "D") + np.timedelta64(math.floor(self.fill), "D")
        values = cells.days(column, table)
        odd = _fill_gaps(values, out, column, table, self.fill, self.gaps, f"the median {middle} stands in")
        for number, cycle in enumerate(self.cycles):
            angle = out[:, 0] * (2 * math.pi / CYCLES[cycle])
            out[:, 1 + 2 * number], out[:, 2 + 2 * number] = np.sin(angle), np.cos(angle)
        return odd

    def use(self) -> str:
        """What becomes of the column, in words."""
        said = ["days since 1970", *(f"the time of the {cycle}" for cycle in self.cycles)]
        return ", ".join(said) + ("; the median where missing, and whether it is" if self.gaps else "")

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> DateEncoding:
        """The encoding that ``to_document`` described."""
        cycles, fill = document["cycles"], number_of(document, "fill")
        if not isinstance(cycles, list) or cycles != [name for name in CYCLES if name in cycles]:
            raise damaged("cycles")
        if abs(fill) > 2**63 / cells.MICROSECONDS_PER_DAY:
            raise damaged("fill")
        return cls(text_of(document, "name"), fill, truth_of(document, "gaps"), tuple(cycles))


def _with_gaps(name: str, gaps: bool) -> tuple[str, ...]:
    return (name, f"{name} is missing") if gaps else (name,)


def _fill_gaps(
    values: Floats, out: Floats, column: Column, table: Table, fill: float, gaps: bool, instead: str
) -> list[Odd]:
    """Write ``values``, with ``fill`` in their gaps, first into ``out``, and last whether they are gaps."""
    out[:, 0] = np.where(column.missing, fill, values)
    if gaps:
        out[:, -1] = column.missing
        return []
    return odd_cells("missing", column.name, column, table, column.missing, instead)


def _median(values: Floats) -> float:
    """The median; of two in the middle, halfway (without overflow)."""
    low, high = np.quantile(values, [0.5, 0.5], method="lower"), np.quantile(values, 0.5, method="higher")
    return float(low[0] / 2 + high / 2) if low[0] != high else float(high)


def _skewness(values: Floats, name: str, place: str) -> float:
    """The third standardised moment; 0 for a constant."""
    mean, scale = moments(values[:, np.newaxis], place, [f"column {name!r}"])
    return float(np.mean(((values - mean) / scale) ** 3))
