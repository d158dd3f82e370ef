"""``glassgrad summary``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from glassgrad.cli import output
from glassgrad.cli.evaluate import MODEL
from glassgrad.common.errors import InputError, unknown_name

if TYPE_CHECKING:
    from glassgrad.training.model import Model

FORMATS = ("table", "toml", "json")
FACTS = ("name", "kind", "inputs", "use")


def command(
    model: Annotated[str, Argument(metavar="MODEL", help=MODEL)],
    form: Annotated[
        str, Option("--format", help="table; or toml or json, as a file for train --network.")
    ] = "table",
    as_json: Annotated[bool, Option("--json", help="The whole summary as one line of JSON.")] = False,
) -> None:
    """Show the layers, the data and the metrics of MODEL."""
    if form not in FORMATS:
        raise unknown_name("format", form, FORMATS)
    if as_json and form != "table":
        raise InputError(
            f"--json writes the whole summary and --format {form} only the network, so they cannot be combined; "
            "leave one out"
        )
    from glassgrad.training.model import load_model

    loaded = load_model(model)
    if as_json:
        output.print_json(document_of(loaded))
    elif form == "table":
        print(tables_of(loaded))
    else:
        from glassgrad.cli.networks import to_toml

        document = loaded.network.to_document()
        print(to_toml(document) if form == "toml" else json.dumps(document, indent=2), end="")
        print("" if form == "toml" else "\n", end="")


def document_of(model: Model) -> dict[str, Any]:
    """The output of ``--json`` for ``model``."""
    from glassgrad.losses.table import LOSSES

    return {
        "task": model.schema.task,
        "classes": None if model.schema.classes is None else list(model.schema.classes),
        "input": list(model.schema.feature_shape),
        "target": None if model.schema.table is None else model.schema.table.target,
        "columns": None if model.schema.table is None else model.schema.table.facts(),
        "layers": model.summary(),
        "parameters": model.parameters,
        "loss": LOSSES.config(model.loss),
        "dtype": model.dtype,
        "metrics": model.metrics,
        "training": model.training,
        "provenance": model.provenance,
    }


def tables_of(model: Model) -> str:
    """The tables of the layers, of the columns and of the metrics, and the facts about the model between them."""
    from glassgrad.losses.table import LOSSES

    header = ("name", "type", "inputs", "shape", "parameters")
    layers = [
        [", ".join(row[key]) if key == "inputs" else row[key] for key in header] for row in model.summary()
    ]
    facts = {
        "input": output.show(list(model.schema.feature_shape)),
        "parameters": output.show(model.parameters),
        "loss": output.spelled(LOSSES.config(model.loss)),
        "source": model.provenance.get("source"),
        "target": None if model.schema.table is None else model.schema.table.target,
        "trained": _training_text(model),
    }
    lines = [f"{key + ':':<12}{output.show(value)}" for key, value in facts.items()]
    metrics = output.metrics_table(model.metrics, model.provenance.get("rows", {}))
    parts = [output.table(["name", "type", "inputs", "output", "parameters"], layers), "\n".join(lines)]
    if model.schema.table is not None:
        columns = [[fact[key] for key in FACTS] for fact in model.schema.table.facts()]
        parts.append(output.table(["column", *FACTS[1:]], columns))
    return "\n\n".join([*parts, metrics])


def _training_text(model: Model) -> str:
    epochs = model.training.get("epochs")
    return f"{epochs} epoch{'' if epochs == 1 else 's'}, {model.training.get('status')}"
