"""The commands. Each is a module, which is loaded only when its command is run."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.main import get_command

from glassgrad.common.errors import InputError
from glassgrad.common.version import __version__

# In the order of the help. Each command is the function ``command`` of glassgrad.cli.<name>.
COMMANDS = ("train", "sweep", "diagnose", "evaluate", "predict", "summary", "explain", "report")

# The base class of all usage errors. Typer has no public name for it.
UsageError: type[Exception] = typer.BadParameter.__bases__[0]


def _show_version(is_requested: bool) -> None:
    if is_requested:
        typer.echo(f"glassgrad {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version.")
    ] = False,
) -> None:
    """Train neural networks that you can see through."""


def application(names: Iterable[str]) -> typer.Typer:
    """The command line with the commands ``names``."""
    app = typer.Typer(
        name="glassgrad",
        help="Train neural networks that you can see through.",
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
    )
    app.callback()(_with_evaluated_annotations(_options))
    for name in names:
        app.command(name)(_with_evaluated_annotations(import_module(f"glassgrad.cli.{name}").command))
    return app


def _with_evaluated_annotations(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` with its annotations evaluated once: Typer would evaluate each of them four times."""
    function.__annotations__ = inspect.get_annotations(function, eval_str=True)
    return function


def execute(arguments: list[str], start: float) -> int:
    """Run one command line and return its exit code. Raises InputError for invalid arguments.

    ``start`` is the start time of the process, in seconds of ``time.perf_counter``.
    """
    command_name = [name for name in arguments[:1] if name in COMMANDS]
    root = get_command(application(command_name or COMMANDS))
    try:
        with root.make_context("glassgrad", list(arguments), obj=start) as context:
            root.invoke(context)
    except typer.Exit as exit_request:
        return exit_request.exit_code
    except UsageError as error:
        raise InputError(_usage_message(error)) from None
    return 0


def _usage_message(error: Exception) -> str:
    """The message of a usage error on one line, with a pointer to the help."""
    context = getattr(error, "ctx", None)
    command_path = context.command_path if context is not None else "glassgrad"
    message = " ".join(error.format_message().split()).removesuffix(".")  # type: ignore[attr-defined]
    message = re.sub(
        r"\S{100,}", lambda word: f"{word[0][:76]} ...", message
    )  # such as a number of 5,000 digits
    return f"{message}; see '{command_path} --help'"
