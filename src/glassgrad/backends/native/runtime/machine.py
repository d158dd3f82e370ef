"""The target processor, and object code as callable functions.

LLVM is loaded only for compiling. A cache key needs the processor and the version of the compiler; both are read
without LLVM.
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

from glassgrad.backends.native.runtime.loader import Loaded, can_load_images

CPUINFO = Path("/proc/cpuinfo")
# The lines of CPUINFO that identify the processor, on x86-64 and on AArch64.
_IDENTIFYING_LINES = (
    *("vendor_id", "cpu family", "model", "stepping", "flags"),
    *("CPU implementer", "CPU architecture", "CPU variant", "CPU part", "CPU revision", "Features"),
)
# LLVM's name -> Linux's name, for the x86-64 features whose names differ by more than points and underscores.
_LINUX_NAMES = {
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
    """llvmlite's binding, with LLVM (a library of 100 MB) loaded and initialized."""
    import llvmlite.binding

    llvmlite.binding.initialize_native_target()
    llvmlite.binding.initialize_native_asmprinter()
    return llvmlite.binding


@cache
def processor() -> str | None:
    """Linux's description of the host: all that compiled code depends on. None if it names no features."""
    description = {}
    try:
        with CPUINFO.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                name, _, value = line.partition(":")
                description[name.strip()] = value.strip()
                if not line.strip():  # the end of the first processor; the others are the same
                    break
    except OSError:
        return None
    if not description.get("flags") and not description.get("Features"):
        return None
    return "\n".join(
        [
            os.uname().machine,
            *(f"{name}: {description[name]}" for name in _IDENTIFYING_LINES if name in description),
        ]
    )


@cache
def host() -> Machine:
    """The processor that this process runs on."""
    llvm = load_llvm()
    features = llvm.get_host_cpu_features()
    triple = llvm.get_process_triple()
    description = processor()
    if description is not None and triple.startswith("x86_64"):
        # The cache key holds only the features that Linux names, so code may use no others.
        linux_features = description.replace("_", "").split()
        for name, has in features.items():
            features[name] = has and _LINUX_NAMES.get(name, name.replace(".", "")) in linux_features
    wide = features.get("avx512f") and features.get("avx512vl") and features.get("avx512dq")
    width = 64 if wide else 32 if features.get("avx2") else 16
    return Machine("host", triple, llvm.get_host_cpu_name(), features.flatten(), width)


def machine(name: str) -> Machine:
    """The target called ``name``: ``host``, ``avx512``, ``avx2`` or ``sse2`` (x86-64), or ``aarch64``."""
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
    """The version of llvmlite and of its library files: part of every cache key."""
    spec = importlib.util.find_spec("llvmlite")
    folder = Path(spec.origin if spec is not None and spec.origin is not None else "").parent
    libraries = []
    try:
        version_text = (folder / "_version.py").read_text(encoding="utf-8")
        for library in sorted((folder / "binding").glob("*llvmlite.*")):
            status = library.stat()
            libraries.append((library.name, status.st_size, status.st_mtime_ns))
    except OSError:  # llvmlite is not installed as plain files
        import llvmlite

        version_text = llvmlite.__version__
    return f"{version_text} {libraries}"


class Library:
    """Loaded object code."""

    def __init__(self, *objects: bytes) -> None:
        """Link ``objects`` into this process; raises RuntimeError if LLVM rejects them."""
        from glassgrad.backends.native.runtime.linker import link

        image = link(objects) if can_load_images() else None
        self._loaded: Loaded | _Engine = _Engine(objects) if image is None else Loaded(image)

    def function(self, name: str, arguments: int = 1) -> Any:
        """The function ``name``, which takes pointers or 64-bit integers. Calling it releases the GIL."""
        return self._loaded.function(name, arguments)


class _Engine:
    """Object code, linked and loaded by LLVM."""

    def __init__(self, objects: Sequence[bytes]) -> None:
        llvm = load_llvm()
        empty = llvm.parse_assembly("")
        empty.triple = llvm.get_process_triple()
        target_machine = llvm.Target.from_default_triple().create_target_machine(codemodel="jitdefault")
        self._engine = llvm.create_mcjit_compiler(empty, target_machine)
        for code in objects:
            self._engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        self._engine.finalize_object()

    def function(self, name: str, arguments: int = 1) -> Any:
        address = self._engine.get_function_address(name)
        return ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * arguments)(address)
