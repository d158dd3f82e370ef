"""The start of the command line: what is loaded, what stays away, and how the process ends."""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

import glassgrad
from cli.running import call
from glassgrad.backends.native.runtime.loader import can_load_images
from glassgrad.backends.native.runtime.machine import processor
from glassgrad.cli import app

ROOT = Path(__file__).parents[2]


def python(script: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """``script`` in a process of its own, as the command line ``arguments``."""
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


LOADED = """
import sys
from glassgrad.cli.main import run
code = run(sys.argv[1:])
print()
print(sorted(sys.modules))
raise SystemExit(code)
"""

# Each of them costs more than the training itself, or is for something else.
NEEDLESS = {
    "asyncio",
    "concurrent.futures",
    "email",
    "importlib.metadata",
    "llvmlite",
    "logging",
    "matplotlib",
    "multiprocessing",
    "narwhals",
    "numpy.ma",
    "pyarrow",
    "rich",
    "tomllib",
    "glassgrad.backends.native.driver.generate",
    "glassgrad.cli.predict",
    "glassgrad.cli.sweep",
    "glassgrad.data.column_encodings",
    "glassgrad.data.delimited",
    "glassgrad.nn.layers.convolution",
    "glassgrad.report.page",
}


@pytest.mark.skipif(not can_load_images() or processor() is None, reason="elsewhere LLVM loads the code")
def test_a_run_with_cached_code_loads_no_needless_module(tmp_path: Path) -> None:
    cache = str(tmp_path / "cache")
    for number in range(2):
        command = ("train", "digits", "--epochs", "2", "--out", tmp_path / f"run{number}")
        done = python(LOADED, *command, GLASSGRAD_CACHE=cache)
        assert done.returncode == 0, done.stderr
        loaded = set(ast.literal_eval(done.stdout.splitlines()[-1]))
        assert "glassgrad.backends.native.runtime.loader" in loaded
        if number == 0:
            assert "llvmlite" in loaded  # it had to be compiled
        else:
            assert loaded & NEEDLESS == set()


def test_every_command_is_there() -> None:
    listed = re.findall(r"^  (\w+)  ", call("--help").out.partition("Commands:")[2], re.MULTILINE)
    assert tuple(listed) == app.COMMANDS
    for name in app.COMMANDS:
        module = importlib.import_module(f"glassgrad.cli.{name}")
        assert callable(module.command)


@pytest.mark.parametrize("name", app.COMMANDS)
def test_the_help_of_one_command_is_the_same_when_loaded_alone(name: str) -> None:
    texts = []
    for names in ([name], app.COMMANDS):
        root = get_command(app.application(names))
        with root.make_context("glassgrad", [name, "--help"], resilient_parsing=True) as context:
            command = root.get_command(context, name)  # type: ignore[attr-defined]
            with command.make_context(name, [], parent=context, resilient_parsing=True) as inner:
                texts.append(command.get_help(inner))
    assert texts[0] == texts[1]
    assert call(name, "--help").out.rstrip() == texts[0].rstrip()


def test_the_version_is_that_of_the_package() -> None:
    assert call("--version").out == f"glassgrad {glassgrad.__version__}\n"
    assert "__version__" in glassgrad.__all__
    project = (ROOT / "pyproject.toml").read_text()
    (source,) = re.findall(r'\[tool\.hatch\.version\]\npath = "(.*)"', project)
    (written,) = re.findall(r'^__version__ = "(.*)"$', (ROOT / source).read_text(), re.MULTILINE)
    assert written == glassgrad.__version__


PROCESS = """
import atexit, sys
{before}
atexit.register(lambda: print("the end"))
from glassgrad.cli.main import run
code = run()
print("came back with", code)
raise SystemExit(code)
"""


@pytest.mark.parametrize(
    ("arguments", "code", "out", "error"),
    [
        (("--version",), 0, f"glassgrad {glassgrad.__version__}\n", ""),
        (("train", "nothing.csv"), 2, "", "glassgrad: error: nothing.csv"),
        (("trian",), 2, "", "glassgrad: error: No such command 'trian'"),
    ],
)
def test_the_process_ends_with_all_output_written(
    arguments: tuple[str, ...], code: int, out: str, error: str
) -> None:
    done = python(PROCESS.format(before=""), *arguments)
    assert done.returncode == code
    assert done.stdout == f"{out}the end\n"
    assert done.stderr.startswith(error)
    assert done.stderr.count("\n") == bool(error)


@pytest.mark.parametrize("watch", ["sys.settrace(lambda *_: None)", "sys.setprofile(lambda *_: None)"])
def test_a_debugger_or_profiler_gets_the_process_back(watch: str) -> None:
    done = python(PROCESS.format(before=watch), "--version")
    assert done.returncode == 0
    assert done.stdout.endswith("came back with 0\nthe end\n")


def test_a_closed_output_is_no_error_at_exit() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "glassgrad", "--help"], stdout=writer, stderr=subprocess.PIPE, check=False
    )
    os.close(writer)
    assert done.returncode == 141
    assert done.stderr == b""


def test_a_call_inside_another_program_does_not_change_it() -> None:
    script = (
        "import gc, json, os, sys; from glassgrad.cli.main import run\n"
        "before = dict(os.environ), gc.get_threshold()\n"
        "code = run(['--version'])\n"
        "print(json.dumps([code, before == (dict(os.environ), gc.get_threshold())]))"
    )
    done = python(script)
    assert json.loads(done.stdout.splitlines()[-1]) == [0, True]


@pytest.mark.parametrize("asked", ["", "20"])
def test_the_users_blas_setting_is_kept(asked: str) -> None:
    script = (
        "import atexit, os, sys\n"
        "atexit.register(lambda: print(os.environ['OPENBLAS_THREAD_TIMEOUT']))\n"
        "from glassgrad.cli.main import run; run()"
    )
    environment = {"OPENBLAS_THREAD_TIMEOUT": asked} if asked else {}
    done = python(script, "--version", **environment)
    assert done.stdout.splitlines()[-1] == (asked or "4")
