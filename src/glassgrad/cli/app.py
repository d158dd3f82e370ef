"""The commands. Each is a module, which is loaded with all that it needs when somebody asks for it."""

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

# In the order in which the help lists them; each is the function ``command`` of glassgrad.cli.<name>.
COMMANDS = ("train", "sweep", "diagnose", "evaluate", "predict", "summary", "explain", "report")

# What every usage error derives from; Typer does not name it in public.
UsageError: type[Exception] = typer.BadParameter.__bases__[0]


def _show_version(wanted: bool) -> None:
    if wanted:
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
    app.callback()(_read(_options))
    for name in names:
        app.command(name)(_read(import_module(f"glassgrad.cli.{name}").command))
    return app


def _read(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` with its annotations evaluated, once: Typer would compile the text of each one four times."""
    function.__annotations__ = inspect.get_annotations(function, eval_str=True)
    return function


def execute(arguments: list[str], start: float) -> int:
    """Run one command line; raises InputError for one that cannot be read.

    ``start`` is when the process began (``time.perf_counter``).
    """
    asked = [name for name in arguments[:1] if name in COMMANDS]
    root = get_command(application(asked or COMMANDS))
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
    said = re.sub(r"\S{100,}", lambda word: f"{word[0][:76]} ...", said)  # such as a number of 5,000 digits
    return f"{said}; see '{path} --help'"
