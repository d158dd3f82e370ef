"""The commands. Nothing heavy is imported before the command that needs it runs."""

from __future__ import annotations

from typing import Annotated

import typer
from typer.main import get_command

from glassgrad.cli import evaluate, predict, summary, sweep, train
from glassgrad.common.errors import InputError

app = typer.Typer(
    name="glassgrad",
    help="Train neural networks that you can see through.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command("train")(train.command)
app.command("sweep")(sweep.command)
app.command("evaluate")(evaluate.command)
app.command("predict")(predict.command)
app.command("summary")(summary.command)

# What every usage error derives from; Typer does not name it in public.
UsageError: type[Exception] = typer.BadParameter.__bases__[0]


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"glassgrad {version('glassgrad')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version.")
    ] = False,
) -> None:
    """Train neural networks that you can see through."""


def execute(arguments: list[str], start: float) -> int:
    """Run one command line; raises InputError for one that cannot be read.

    ``start`` is when the process began (``time.perf_counter``).
    """
    root = get_command(app)
    try:
        with root.make_context("glassgrad", list(arguments), obj=start) as context:
            root.invoke(context)
    except typer.Exit as leaving:
        return leaving.exit_code
    except UsageError as error:
        raise InputError(_usage(error)) from None
    return 0


def _usage(error: Exception) -> str:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "glassgrad"
    said = " ".join(error.format_message().split()).removesuffix(".")  # type: ignore[attr-defined]
    return f"{said}; see '{path} --help'"
