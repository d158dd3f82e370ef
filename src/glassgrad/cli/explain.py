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
    row: Annotated[int, Option(help="The row of SOURCE, from 0 (in its test part, if it has one).")] = 0,
    weight: Annotated[
        str | None, Option(metavar="NAME", help="A weight, such as 'dense_1.weights[3,7]'.")
    ] = None,
    of_input: Annotated[
        str | None, Option("--input", metavar="NAME", help="An input: the name of a column, or 'x[3]'.")
    ] = None,
    paths: Annotated[int, Option(help="Number of paths to show, the strongest first.")] = 5,
    as_json: options.Json = False,
    out: Annotated[
        Path | None, Option(metavar="PAGE.html", help="Write the explanation as a page with pictures.")
    ] = None,
) -> None:
    """Show the chain rule for one weight or input.

    Computes the derivative of the loss of one row, and splits it into paths through the network, the strongest
    first. Each path is a product of local derivatives. The derivative is checked in three other ways. Also shows
    the output of each layer, and the effect of one optimizer step on the weight.
    """
    if (weight is None) == (of_input is None):
        raise InputError("give either --weight NAME (such as 'dense_1.weights[3,7]') or --input NAME")
    if out is not None and out.is_dir():
        raise InputError(f"{out}: is a folder; name the file of the page, such as explain.html")
    from glassgrad.explain.explain import explain_derivative

    if out is not None:
        from glassgrad.report.svg import load_figure

        load_figure()  # a missing plotting library is reported before the work begins
    explanation = explain_derivative(model, source, row=row, weight=weight, input=of_input, paths=paths)
    if out is not None:
        from glassgrad.files.atomic import write_text
        from glassgrad.report.explain_page import explain_page

        write_text(out, explain_page(explanation).html())
    if as_json:
        output.print_json(
            explanation.document() | {"model": model, "page": None if out is None else str(out)}
        )
        return
    from glassgrad.cli.explanation_text import print_explanation

    print_explanation(explanation, model)
    if out is not None:
        print(f"page: {out}")
