"""The processor that code is made for, and object code as functions that can be called.

LLVM is loaded only when there is something to compile. A cache key needs the processor and the version of the
compiler: both are found without LLVM.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from glassgrad.backends.native.runtime.loader import Loaded, able

CPUINFO = Path("/proc/cpuinfo")
# The lines that tell one kind of processor from another, on x86-64 and on AArch64.
_TELLING = (
    *("vendor_id", "cpu family", "model", "stepping", "flags"),
    *("CPU implementer", "CPU architecture", "CPU variant", "CPU part", "CPU revision", "Features"),
)
# Features of x86-64 that LLVM and Linux call by different names (points and underscores aside).
_IN_LINUX = {
    "64bit": "lm",
    "bmi": "bmi1",
    "crc32": "sse42",
    "lzcnt": "abm",
    "pclmul": "pclmulqdq",
    "prfchw": "3dnowprefetch",
    "rdrnd": "rdrand",
    "sahf": "lahflm",
    "sha": "shani",
    "sse3": "pni",
}


@dataclass(frozen=True)
class Machine:
    """A processor: LLVM's triple, CPU name and features, and the width of a vector in bytes."""

    name: str
    triple: str
    cpu: str
    features: str
    vector_bytes: int


@cache
def load_llvm() -> Any:
    """LLVM: a library of 100 MB."""
    import llvmlite.binding

    llvmlite.binding.initialize_native_target()
    llvmlite.binding.initialize_native_asmprinter()
    return llvmlite.binding


@cache
def processor() -> str | None:
    """What Linux says of the processor this runs on, of all that code for it depends on; None: nothing of use."""
    told = {}
    try:
        with CPUINFO.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                name, _, said = line.partition(":")
                told[name.strip()] = said.strip()
                if not line.strip():  # the end of the first processor; the others are like it
                    break
    except OSError:
        return None
    if not told.get("flags") and not told.get("Features"):
        return None
    return "\n".join([os.uname().machine, *(f"{name}: {told[name]}" for name in _TELLING if name in told)])


@cache
def host() -> Machine:
    """The processor this runs on."""
    llvm = load_llvm()
    features = llvm.get_host_cpu_features()
    triple = llvm.get_process_triple()
    told = processor()
    if told is not None and triple.startswith("x86_64"):
        # A key made of what Linux names covers only that: code may use no more.
        named = told.replace("_", "").split()
        for name, has in features.items():
            features[name] = has and _IN_LINUX.get(name, name.replace(".", "")) in named
    wide = features.get("avx512f") and features.get("avx512vl") and features.get("avx512dq")
    width = 64 if wide else 32 if features.get("avx2") else 16
    return Machine("host", triple, llvm.get_host_cpu_name(), features.flatten(), width)


def machine(name: str) -> Machine:
    """``host``, or one of ``avx512``, ``avx2``, ``sse2`` (x86-64) and ``aarch64``, to make code for."""
    if name == "host":
        return host()
    triple = "aarch64-unknown-linux-gnu" if name == "aarch64" else "x86_64-unknown-linux-gnu"
    cpu, features, width = {
        "avx512": ("skylake-avx512", "+prefer-256-bit,-prefer-256-bit", 64),
        "avx2": ("haswell", "", 32),
        "sse2": ("x86-64", "", 16),
        "aarch64": ("generic", "", 16),
    }[name]
    return Machine(name, triple, cpu, features, width)


@cache
def version() -> str:
    """A mark of what makes the code: part of every cache key."""
    found = importlib.util.find_spec("llvmlite")
    home = Path(found.origin if found is not None and found.origin is not None else "").parent
    marks = []
    try:
        written = (home / "_version.py").read_text(encoding="utf-8")
        for library in sorted((home / "binding").glob("*llvmlite.*")):
            status = library.stat()
            marks.append((library.name, status.st_size, status.st_mtime_ns))
    except OSError:  # packed into something else than files
        import llvmlite

        written = llvmlite.__version__
    return f"{written} {marks}"


class Library:
    """Loaded object code."""

    def __init__(self, *objects: bytes) -> None:
        """Link ``objects`` into this process; raises RuntimeError where LLVM refuses them."""
        from glassgrad.backends.native.runtime.linker import link

        image = link(objects) if able() else None
        self._loaded: Loaded | _Engine = _Engine(objects) if image is None else Loaded(image)

    def function(self, name: str, arguments: int = 1) -> Any:
        """The function ``name``, which takes pointers (or 64-bit integers). Calling it releases the GIL."""
        return self._loaded.function(name, arguments)


class _Engine:
    """Object code that LLVM has linked and loaded."""

    def __init__(self, objects: Sequence[bytes]) -> None:
        llvm = load_llvm()
        empty = llvm.parse_assembly("")
        empty.triple = llvm.get_process_triple()
        made = llvm.Target.from_default_triple().create_target_machine(codemodel="jitdefault")
        self._engine = llvm.create_mcjit_compiler(empty, made)
        for code in objects:
            self._engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        self._engine.finalize_object()

    def function(self, name: str, arguments: int = 1) -> Any:
        address = self._engine.get_function_address(name)
        return ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * arguments)(address)
