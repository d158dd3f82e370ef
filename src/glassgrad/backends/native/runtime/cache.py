"""Compiled code on disk, so that a program is compiled once per machine.

An entry is one file. Its name is a hash of everything that the code depends on: the program, the compiler (LLVM and
the sources of this package), and the processor. ``store`` manages the files. Several processes may write at once. An
entry that does not match its own digest is deleted and rebuilt.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from glassgrad.backends.base import Array
from glassgrad.backends.native.runtime import store
from glassgrad.backends.native.runtime.loader import Image, Loaded, can_load_images
from glassgrad.backends.native.runtime.machine import Library, Machine, host, processor, version
from glassgrad.backends.native.runtime.store import MAGIC
from glassgrad.common.frozen import frozen
from glassgrad.graph.node import Graph
from glassgrad.program import Program

SOURCES = ("backends/native", "passes", "ops")  # the folders whose sources turn a graph into code
_DIGEST_BYTES = 32


@frozen
class Code:
    """A compiled program: machine code, and the layout of the arena."""

    image: Image | None
    objects: tuple[bytes, ...]  # object files for LLVM to link; empty if there is an image
    arena: int  # size in bytes
    inputs: tuple[tuple[int, int], ...]  # offset and panel width of each of the program's inputs
    constants: tuple[tuple[int, Array], ...]  # offset and content
    shared_work: int  # multiplications (or elements) per step in the kernels that threads can share

    @property
    def parallel(self) -> bool:
        """Whether threads can share any kernel."""
        return self.shared_work > 0

    def library(self) -> Library | Loaded:
        """Load the code into this process."""
        return Library(*self.objects) if self.image is None else Loaded(self.image)

    def to_bytes(self) -> bytes:
        """The content of a cache entry."""
        header = {
            "arena": self.arena,
            "inputs": self.inputs,
            "shared_work": self.shared_work,
            "image": self.image and [len(self.image.content), self.image.functions, self.image.imports],
            "objects": [len(item) for item in self.objects],
            "constants": [[offset, item.dtype.name, item.shape] for offset, item in self.constants],
        }
        text = json.dumps(header).encode()
        code = self.image.content if self.image is not None else b""
        parts = [len(text).to_bytes(8, "little"), text, code, *self.objects]
        body = b"".join([*parts, *(item.tobytes() for _, item in self.constants)])
        return MAGIC + hashlib.sha256(body).digest() + body

    @classmethod
    def from_bytes(cls, content: bytes) -> Code | None:
        """The code in the content of a cache entry; None if the entry is damaged."""
        if not content.startswith(MAGIC):
            return None
        start = len(MAGIC) + _DIGEST_BYTES
        digest, body = content[len(MAGIC) : start], content[start:]
        if hashlib.sha256(body).digest() != digest:
            return None
        end = 8 + int.from_bytes(body[:8], "little")
        header = json.loads(body[8:end])
        start, image, objects = end, None, []
        if header["image"] is not None:
            size, functions, imports = header["image"]
            image = Image(body[start : start + size], functions, imports)
            start += size
        for size in header["objects"]:
            objects.append(body[start : start + size])
            start += size
        constants = []
        for offset, dtype, shape in header["constants"]:
            count = int(np.prod(shape, dtype=np.int64))
            array = np.frombuffer(body, dtype, count, start).reshape(shape)
            constants.append((offset, array))
            start += array.nbytes
        return cls(
            image,
            tuple(objects),
            header["arena"],
            tuple((offset, panel) for offset, panel in header["inputs"]),
            tuple(constants),
            header["shared_work"],
        )


def load(key: str) -> Code | None:
    """The code stored under ``key``; None if the entry is missing or damaged. A damaged entry is deleted."""
    content = store.read(key)
    if content is None:
        return None
    with contextlib.suppress(ValueError, KeyError, TypeError):
        code = Code.from_bytes(content)
        if code is not None:
            return code
    store.delete(key)
    return None


def save(key: str, code: Code) -> None:
    """Store ``code`` under ``key``. Without a usable cache folder nothing is stored."""
    store.write(key, code.to_bytes())


def key_of(program: Program | None, target: Machine | None = None) -> str:
    """The cache key of ``program`` for ``target`` (None: the host).

    The key depends on neither process nor hash seed. With ``program`` None it is the key of ``shuffle``, which
    belongs to no program.
    """
    digest = hashlib.sha256()
    processor_text = processor() if target is None else None
    if processor_text is None:
        machine = target or host()
        processor_text = f"{machine.triple} {machine.cpu} {machine.features} {machine.vector_bytes}"
    for line in (version(), _sources_fingerprint(), processor_text, str(can_load_images())):
        digest.update(line.encode() + b"\0")
    for part in _describe(program) if program is not None else ():
        digest.update(part)
    return digest.hexdigest()


@cache
def _sources_fingerprint() -> str:
    """A text that changes when the sources that turn a graph into code change."""
    package = Path(__file__).parents[3]
    return str(sorted(entry for name in SOURCES for entry in _source_files(package / name)))


def _source_files(folder: str | Path) -> Iterator[tuple[str, int, int]]:
    """Name, size and modification time of every Python source in ``folder`` and its subfolders."""
    for entry in os.scandir(folder):
        if entry.name.endswith(".py"):
            status = entry.stat()
            yield entry.name, status.st_size, status.st_mtime_ns
        elif entry.name != "__pycache__" and entry.is_dir():
            yield from _source_files(entry.path)


def _describe(program: Program) -> Iterator[bytes]:
    inputs = [(i.role, str(i.type), i.value.node.attributes.get("background")) for i in program.inputs]
    yield f"{program.batch} {inputs}".encode()
    names = [item.name for item in program.inputs]
    yield f"{[names.index(name) for name in program.updates]} {len(program.outputs)}".encode()
    yield from _describe_graph(program.graph)
    if program.probes:
        yield b"probes"
        yield from _describe_graph(program.probe_graph)


def _describe_graph(graph: Graph) -> Iterator[bytes]:
    numbers: dict[Any, int] = {}
    for value in graph.inputs:
        numbers[value] = len(numbers)
    for node in graph.nodes():
        if node.op.name != "input":
            yield f"{node.op.name} {[numbers[v] for v in node.inputs]} ".encode()
            yield from _describe_attributes(node.attributes)
        for value in node.outputs:
            numbers.setdefault(value, len(numbers))
        for region in node.regions:
            yield b"{"
            yield f"{[str(value.type) for value in region.inputs]}".encode()
            yield from _describe_graph(region)
            yield b"}"
    yield f"gives {[numbers[value] for value in graph.outputs]}".encode()


def _describe_attributes(attributes: Mapping[str, Any]) -> Iterator[bytes]:
    for name, item in attributes.items():
        if isinstance(item, np.ndarray):
            yield f"{name} {item.dtype} {item.shape} ".encode() + item.tobytes()
        else:
            yield f"{name}={item!r} ".encode()
