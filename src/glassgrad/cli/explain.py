"""``glassgrad explain``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from glassgrad.cli import options, output
from glassgrad.cli.evaluate import MODEL, SOURCE
from glassgrad.common.errors import InputError


def command(
    model: Annotated[str, Argument(metavar="MODEL", help=MODEL)],
    source: Annotated[str, Argument(metavar="SOURCE", help=SOURCE)],
    row: Annotated[int, Option(help="Which row of SOURCE, from 0 (of its test part, if it brings one).")] = 0,
    weight: Annotated[
        str | None, Option(metavar="NAME", help="A weight, such as 'dense_1.weights[3,7]'.")
    ] = None,
    of_input: Annotated[
        str | None, Option("--input", metavar="NAME", help="An input: a column, or such as 'x[3]'.")
    ] = None,
    paths: Annotated[int, Option(help="How many of the strongest paths are shown.")] = 5,
    as_json: options.Json = False,
    out: Annotated[
        Path | None, Option(metavar="PAGE.html", help="Write the explanation as a page with pictures.")
    ] = None,
) -> None:
    """Show the chain rule at work: how the loss of one row answers to one weight or one input.

    The derivative is taken apart into paths through the network, the strongest first, each of them a product with
    a number for every factor; and checked in three other ways. Then: what every layer makes of the row, and what a
    step of the optimizer on this row would do to the weight.
    """
    if (weight is None) == (of_input is None):
        raise InputError("explain takes one of --weight 'dense_1.weights[3,7]' and --input NAME")
    if out is not None and out.is_dir():
        raise InputError(f"{out}: is a folder; name the file of the page, such as explain.html")
    from glassgrad.explain.explain import explain_derivative

    if out is not None:
        from glassgrad.report.svg import load_figure

        load_figure()  # before the work
    found = explain_derivative(model, source, row=row, weight=weight, input=of_input, paths=paths)
    if out is not None:
        from glassgrad.files.atomic import write_text
        from glassgrad.report.explain_page import explain_page

        write_text(out, explain_page(found).html())
    if as_json:
        output.print_json(found.document() | {"model": model, "page": None if out is None else str(out)})
        return
    from glassgrad.cli.explanation_text import print_explanation

    print_explanation(found, model)
    if out is not None:
        print(f"page: {out}")
