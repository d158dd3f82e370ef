"""The encoding of a category as inputs of a network: one input per frequent category."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from glassgrad.common.errors import InputError
from glassgrad.data import cells
from glassgrad.data.encoding_parts import (
    DataclassEncoding,
    UnseenCells,
    damaged,
    text_list,
    text_of,
    unseen_cells,
)
from glassgrad.data.scaling import Floats
from glassgrad.data.table import Column, Table

CATEGORIES = 50
"""The largest number of categories of a column with an input of their own. The most frequent ones are chosen."""

RARE_ROWS, RARE_SHARE = 5, 0.01
"""A category is rare if it has fewer training rows than this number, and than this fraction of them."""


@dataclass(frozen=True)
class CategoryEncoding(DataclassEncoding):
    """One-hot inputs: one for each of ``categories``, one for all ``rare`` categories, and one for a missing value.

    ``counts`` are the numbers of training rows of each of ``categories``, of all rare categories together, and of
    missing values. The last two have an input only if their count is above 0. An unknown category counts as rare.
    Without rare categories in training, the weights of such an input would be untrained. In that case the inputs of
    an unknown category are the fractions of the categories in the training rows, the mean of the one-hot inputs.
    The same holds for a missing value if training had none.
    """

    kind: ClassVar[str] = "category"
    name: str
    categories: tuple[str, ...]
    rare: tuple[str, ...]
    counts: tuple[int, ...]
    standardized_inputs: ClassVar[int] = 0
    _index: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Number the categories."""
        index = {category: number for number, category in enumerate(self.categories)}
        index |= dict.fromkeys(self.rare, len(self.categories))
        object.__setattr__(self, "_index", index)

    @classmethod
    def fit(cls, column: Column, table: Table) -> CategoryEncoding:
        """The encoding fitted on the training rows ``column``, which has at least one value."""
        row_counts = Counter(column.values[~column.missing].tolist())
        threshold = min(RARE_ROWS, RARE_SHARE * len(table))
        most_frequent = sorted(row_counts, key=lambda category: (-row_counts[category], category))[
            :CATEGORIES
        ]
        categories = sorted(category for category in most_frequent if row_counts[category] >= threshold)
        rare = sorted(row_counts.keys() - set(categories))
        rare_count = sum(row_counts[category] for category in rare)
        counts = (*(row_counts[category] for category in categories), rare_count, int(column.missing.sum()))
        return cls(column.name, tuple(categories), tuple(rare), counts)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the inputs: the categories, then "is rare or unknown" and "is missing" if training had any."""
        categories = tuple(f"{self.name}={category}" for category in self.categories)
        names = (*categories, f"{self.name} is rare or unknown", f"{self.name} is missing")
        return tuple(name for name, count in zip(names, self.counts, strict=True) if count)

    def encode(self, column: Column, table: Table, out: Floats) -> list[UnseenCells]:
        """Write the inputs into ``out`` [rows, inputs]."""
        if column.values.dtype.kind == "M" and not column.missing.all():
            raise InputError(
                f"{table.source_name}: column {self.name!r} holds dates, but training had categories there; "
                "convert the column to text"
            )
        rare, missing, new = (len(self.categories) + i for i in range(3))
        slots = cells.codes(column, self._index, new)
        slots[column.missing] = missing
        counts = np.array(self.counts)
        has_input = counts > 0
        # The index of the input of each slot. A slot without an input has -1, and its rows get the average inputs.
        input_of_slot = np.where(has_input, np.cumsum(has_input) - 1, -1)
        inputs = np.append(input_of_slot, input_of_slot[rare])[slots]
        out[:] = 0.0
        rows = np.flatnonzero(inputs >= 0)
        out[rows, inputs[rows]] = 1.0
        if len(rows) < len(inputs):
            out[inputs < 0] = (counts / counts.sum())[has_input]
        average = "replaced by the average of the training rows"
        unseen = (
            []
            if has_input[missing]
            else unseen_cells("missing", self.name, column, table, slots == missing, average)
        )
        replacement = "counted as rare" if has_input[rare] else average
        return unseen + unseen_cells("new", self.name, column, table, slots == new, replacement)

    def use(self) -> str:
        """What becomes of the column, in words."""
        rare, missing = self.counts[-2:]
        text = "1 category" if len(self.categories) == 1 else f"{len(self.categories)} categories"
        return (
            text
            + ("; one for all rare ones" if rare else "")
            + ("; whether it is missing" if missing else "")
        )

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> CategoryEncoding:
        """The encoding that ``to_document`` described."""
        names, counts = [*text_list(document, "categories"), *text_list(document, "rare")], document["counts"]
        if len(set(names)) < len(names):
            raise damaged("categories")
        size = len(document["categories"])
        has_all_counts = isinstance(counts, list) and len(counts) == size + 2
        if not has_all_counts or not all(type(count) is int and 0 <= count < 2**53 for count in counts):
            raise damaged("counts")
        if not all(counts[:size]) or not any(counts) or (counts[size] > 0) != (len(names) > size):
            raise damaged("counts")
        return cls(text_of(document, "name"), tuple(names[:size]), tuple(names[size:]), tuple(counts))
