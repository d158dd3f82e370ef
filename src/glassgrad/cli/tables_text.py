"""A table as training data, in text: its target, its task, its columns and notices about its rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from glassgrad.cli.output import show

if TYPE_CHECKING:
    from glassgrad.data.dataset import Dataset
    from glassgrad.data.schema import Schema

SHOWN = 10
PLURALS = {"category": "categories"}


def lines_of(dataset: Dataset, schema: Schema, notices: Sequence[str] = ()) -> list[str]:
    """The lines of text about a table, the first one about its target; empty for arrays.

    ``notices`` are about unusual validation and test rows (see ``Parts.notices``).
    """
    if schema.table is None:
        return []
    lines = [f"{_target(dataset, schema)}{_left_out(schema)}", _inputs(schema)]
    return [*lines, *(f"note: {notice}" for notice in _all_notices(dataset, notices))]


def document_of(dataset: Dataset, schema: Schema, notices: Sequence[str] = ()) -> dict[str, Any]:
    """The entries about the data for ``--json``; "columns" is None for arrays."""
    return {
        "target": dataset.target,
        "target_is_guessed": dataset.target_is_guessed,
        "columns": None if schema.table is None else schema.table.facts(),
        "inputs": list(schema.feature_shape),
        "notices": _all_notices(dataset, notices),
    }


def left_out(rows: int) -> str:
    """The notice that ``rows`` rows have no target and are not used."""
    return f"{'1 row' if rows == 1 else f'{rows:,} rows'} without a target {'is' if rows == 1 else 'are'} left out"


def _all_notices(dataset: Dataset, notices: Sequence[str]) -> list[str]:
    return [*([left_out(dataset.dropped)] if dataset.dropped else []), *notices]


def _target(dataset: Dataset, schema: Schema) -> str:
    guessed = ", the last column (choose another with --target NAME)" if dataset.target_is_guessed else ""
    name = "given separately" if dataset.target is None else repr(dataset.target)
    if schema.classes is None:
        task = "regression"
    else:
        labels = _some([str(label) for label in schema.classes])
        task = f"classification into {len(schema.classes)} classes ({labels})"
    return f"target: {name}{guessed}; {task}"


def _left_out(schema: Schema) -> str:
    assert schema.table is not None
    unused = [f"{column.name!r} ({column.kind})" for column in schema.table.columns if not column.inputs]
    return f"; columns left out: {_some(unused)}" if unused else ""


def _inputs(schema: Schema) -> str:
    assert schema.table is not None
    used = schema.table.used
    kinds = Counter(column.kind for column in used)
    counts = [f"{n} {kind if n == 1 else PLURALS.get(kind, kind + 's')}" for kind, n in kinds.items()]
    columns = "1 column" if len(used) == 1 else f"{len(used):,} columns"
    return f"inputs: {show(schema.table.width)} from {columns}: {', '.join(counts)}"


def _some(items: Sequence[str]) -> str:
    shown = ", ".join(item[:60] for item in items[:SHOWN])
    return shown + (f" and {len(items) - SHOWN} more" if len(items) > SHOWN else "")
