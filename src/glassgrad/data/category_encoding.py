"""A category as inputs of a network: one for each, within bounds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from glassgrad.common.errors import InputError
from glassgrad.data import cells
from glassgrad.data.encoding_parts import Described, Odd, damaged, odd_cells, text_list, text_of
from glassgrad.data.scaling import Floats
from glassgrad.data.table import Column, Table

CATEGORIES = 50
"""At most so many categories of a column have an input of their own: the most frequent."""

RARE_ROWS, RARE_SHARE = 5, 0.01
"""A category is rare with fewer training rows than this, where they are also less than this share."""


@dataclass(frozen=True)
class CategoryEncoding(Described):
    """One input per category, 1 where a row holds it: each of ``categories``, the ``rare`` ones, and missing.

    ``counts`` are the training rows of each of ``categories``, then of all rare ones together, then of those
    without a value; the last two have an input if there were such rows. An unknown category counts as a rare
    one, which the network knows. Where training had none, that input would have a weight that nothing ever
    trained; so the inputs are then the share of each category, as of an average row. The same goes for a
    missing value.
    """

    kind: ClassVar[str] = "category"
    name: str
    categories: tuple[str, ...]
    rare: tuple[str, ...]
    counts: tuple[int, ...]
    measured: ClassVar[int] = 0
    _index: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Number the categories."""
        index = {category: number for number, category in enumerate(self.categories)}
        index |= dict.fromkeys(self.rare, len(self.categories))
        object.__setattr__(self, "_index", index)

    @classmethod
    def fit(cls, column: Column, table: Table) -> CategoryEncoding:
        """The encoding of the training rows ``column``, which has some value."""
        found = Counter(column.values[~column.missing].tolist())
        enough = min(RARE_ROWS, RARE_SHARE * len(table))
        frequent = sorted(found, key=lambda category: (-found[category], category))[:CATEGORIES]
        kept = sorted(category for category in frequent if found[category] >= enough)
        rare = sorted(found.keys() - set(kept))
        together = sum(found[category] for category in rare)
        counts = (*(found[category] for category in kept), together, int(column.missing.sum()))
        return cls(column.name, tuple(kept), tuple(rare), counts)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The categories that there were in training."""
        own = tuple(f"{self.name}={category}" for category in self.categories)
        names = (*own, f"{self.name} is rare or unknown", f"{self.name} is missing")
        return tuple(name for name, count in zip(names, self.counts, strict=True) if count)

    def encode(self, column: Column, table: Table, out: Floats) -> list[Odd]:
        """Write the inputs into ``out`` [rows, inputs]."""
        if column.values.dtype.kind == "M" and not column.missing.all():
            raise InputError(
                f"{table.place}: column {self.name!r} holds dates, where training had categories; "
                "convert the column to text"
            )
        rare, missing, new = (len(self.categories) + i for i in range(3))
        slots = cells.codes(column, self._index, new)
        slots[column.missing] = missing
        counts = np.array(self.counts)
        there = counts > 0
        # Where the input of each slot is. What training never saw has none: then the row is an average one.
        inputs = np.where(there, np.cumsum(there) - 1, -1)
        places = np.append(inputs, inputs[rare])[slots]
        out[:] = 0.0
        rows = np.flatnonzero(places >= 0)
        out[rows, places[rows]] = 1.0
        if len(rows) < len(places):
            out[places < 0] = (counts / counts.sum())[there]
        average = "an average row stands in"
        odd = (
            []
            if there[missing]
            else odd_cells("missing", self.name, column, table, slots == missing, average)
        )
        instead = "counted as rare" if there[rare] else average
        return odd + odd_cells("new", self.name, column, table, slots == new, instead)

    def use(self) -> str:
        """What becomes of the column, in words."""
        rare, missing = self.counts[-2:]
        said = f"{len(self.categories)} categories"
        return (
            said
            + (", the rare ones together" if rare else "")
            + (", and whether it is missing" if missing else "")
        )

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> CategoryEncoding:
        """The encoding that ``to_document`` described."""
        names, counts = [*text_list(document, "categories"), *text_list(document, "rare")], document["counts"]
        if len(set(names)) < len(names):
            raise damaged("categories")
        kept = len(document["categories"])
        fits = isinstance(counts, list) and len(counts) == kept + 2
        if not fits or not all(type(count) is int and 0 <= count < 2**53 for count in counts):
            raise damaged("counts")
        if not all(counts[:kept]) or not any(counts) or (counts[kept] > 0) != (len(names) > kept):
            raise damaged("counts")
        return cls(text_of(document, "name"), tuple(names[:kept]), tuple(names[kept:]), tuple(counts))
