"""Calling the command line, in this process or in one of its own, and data small enough to do so often."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from glassgrad.cli.main import run
from glassgrad.files.model_file import read_model

QUICK = ("--backend", "reference", "--layers", "4", "--epochs", "2")


@dataclass(frozen=True)
class Done:
    """What a call of the command line gave."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The object on the last line of standard output."""
        found = json.loads(self.out.splitlines()[-1], parse_constant=lambda name: 1 / 0)
        assert isinstance(found, dict)
        return found


def call(*arguments: object) -> Done:
    """``glassgrad ...`` in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run([str(item) for item in arguments])
    return Done(code, out.getvalue(), err.getvalue())


def train(source: object, *arguments: object) -> Done:
    """A quick ``glassgrad train`` in this process; later options win."""
    return call("train", source, *QUICK, *arguments)


def start(*arguments: object, **options: Any) -> subprocess.Popen[str]:
    """``python -m glassgrad ...`` in a process of its own, with both outputs piped."""
    ready = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
    return subprocess.Popen([sys.executable, "-m", "glassgrad", *map(str, arguments)], **ready)


def refused(done: Done, *words: str) -> str:
    """Check that the call was refused in one line with ``words``, and give the line."""
    assert done.code == 2, done
    lines = done.err.splitlines()
    assert len(lines) == 1, done.err
    assert lines[0].startswith("glassgrad: error: ")
    for word in words:
        assert word in lines[0]
    return lines[0]


def left(folder: Path) -> list[str]:
    """Everything below ``folder``, but for an empty folder of runs."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.name != "runs")


def blobs(path: Path, rows: int = 60, classes: int = 3, **changes: Any) -> Path:
    """An archive of ``classes`` clouds of points; ``changes`` replace its arrays (None: leave out)."""
    generator = np.random.default_rng(0)
    y = np.arange(rows) % classes
    X = generator.normal(size=(rows, 4)) + 3 * y[:, np.newaxis]
    arrays = {"X": X, "y": y} | changes
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    return path


def tensors(run_folder: object) -> dict[str, bytes]:
    """The bits of every tensor in a run."""
    found, _ = read_model(Path(str(run_folder)) / "model.safetensors")
    return {name: array.tobytes() for name, array in found.items()}
