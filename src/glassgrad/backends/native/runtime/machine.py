"""The machine that code is made for, and LLVM itself: text to object code to a callable function.

LLVM is loaded when there is something to compile. What a cache key needs to know, the processor and the version of
the compiler, is found out without it.
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
from glassgrad.common.meanwhile import Meanwhile

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
def _llvm() -> Any:
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
    llvm = _llvm()
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


def compile_text(text: str, target: Machine, *, assembly: bool = False, anywhere: bool = True) -> bytes:
    """LLVM IR to object code (or assembly text) for ``target``. Several threads may do so at once.

    The vectors are in the IR already, and equal addresses are one value, so two passes clean up: stack slots become
    registers, and what is unused goes. (NewGVN adds a tenth to the time, the standard O1 pipeline multiplies it by
    ten, for code of the same speed.) From there on, level 2 takes longer than level 1, for code of the same speed.
    ``anywhere``: position-independent code, where that is what ``linker.link`` takes.
    """
    llvm = _llvm()
    if target.triple.startswith("aarch64"):
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
    module = llvm.parse_assembly(text, llvm.create_context())
    module.triple = target.triple
    kind = ("pic", "small") if anywhere and "linux" in target.triple else ("default", "jitdefault")
    made = llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=1, reloc=kind[0], codemodel=kind[1]
    )
    module.data_layout = str(made.target_data)
    passes = llvm.create_new_module_pass_manager()
    passes.add_sroa_pass()
    passes.add_dead_code_elimination_pass()
    passes.run(module, llvm.create_pass_builder(made, llvm.create_pipeline_tuning_options()))
    with _loops_as_they_are:
        return str(made.emit_assembly(module)).encode() if assembly else _emit_object(made, module)


# An option of the whole library, which others in this process may use (Numba does). Addresses in loops stay as they
# are written: a fifth of the time, for code of the same speed.
_loops_as_they_are = Meanwhile(
    lambda: _llvm().set_option("", "-disable-lsr=true"), lambda: _llvm().set_option("", "-disable-lsr=false")
)


def _emit_object(made: Any, module: Any) -> bytes:
    """``made.emit_object(module)``, for which llvmlite would let in one thread at a time.

    LLVM itself only asks that no two threads work in one context, and ``module`` has a context of its own.
    """
    ffi = _llvm().ffi
    try:
        emit = ffi.lib.LLVMPY_TargetMachineEmitToMemory._cfn  # without the lock around it
    except AttributeError:
        return bytes(made.emit_object(module))
    with ffi.OutputString() as error:
        buffer = emit(made, module, 1, error)
        if not buffer:
            raise RuntimeError(str(error))
    try:
        return ctypes.string_at(ffi.lib.LLVMPY_GetBufferStart(buffer), ffi.lib.LLVMPY_GetBufferSize(buffer))
    finally:
        ffi.lib.LLVMPY_DisposeMemoryBuffer(buffer)


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
        llvm = _llvm()
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
