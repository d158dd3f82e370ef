"""The machine that code is made for, and LLVM itself: text to object code to a callable function."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import llvmlite
import llvmlite.binding as llvm


@dataclass(frozen=True)
class Machine:
    """A processor: LLVM's triple, CPU name and features, and the width of a vector in bytes."""

    name: str
    triple: str
    cpu: str
    features: str
    vector_bytes: int


@cache
def _start() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


@cache
def host() -> Machine:
    """The processor this runs on."""
    _start()
    features = llvm.get_host_cpu_features()
    wide = features.get("avx512f") and features.get("avx512vl") and features.get("avx512dq")
    width = 64 if wide else 32 if features.get("avx2") else 16
    return Machine("host", llvm.get_process_triple(), llvm.get_host_cpu_name(), features.flatten(), width)


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


def version() -> str:
    """What made the code: part of every cache key."""
    return f"llvmlite {llvmlite.__version__}, LLVM {'.'.join(map(str, llvm.llvm_version_info))}"


def compile_text(text: str, target: Machine, *, assembly: bool = False) -> bytes:
    """LLVM IR to object code (or assembly text) for ``target``.

    The vectors are in the IR already, so three passes clean up: stack slots become registers, equal values one
    value, and what is unused goes. (The standard O1 pipeline takes ten times as long, for code of the same speed.)
    """
    _start()
    if target.triple.startswith("aarch64"):
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
    module = llvm.parse_assembly(text)
    module.triple = target.triple
    made = llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=2, reloc="default", codemodel="jitdefault"
    )
    module.data_layout = str(made.target_data)
    passes = llvm.create_new_module_pass_manager()
    passes.add_sroa_pass()
    passes.add_new_gvn_pass()
    passes.add_dead_code_elimination_pass()
    passes.run(module, llvm.create_pass_builder(made, llvm.create_pipeline_tuning_options()))
    return str(made.emit_assembly(module)).encode() if assembly else bytes(made.emit_object(module))


def compile_texts(texts: Sequence[str], target: Machine) -> tuple[bytes, ...]:
    """Several modules at once, one thread each: LLVM works without the GIL."""
    _start()
    if len(texts) == 1:
        return (compile_text(texts[0], target),)
    with ThreadPoolExecutor(len(texts)) as pool:
        return tuple(pool.map(lambda text: compile_text(text, target), texts))


class Library:
    """Loaded object code."""

    def __init__(self, *objects: bytes) -> None:
        """Link ``objects`` into this process; raises RuntimeError where LLVM refuses them."""
        _start()
        empty = llvm.parse_assembly("")
        empty.triple = llvm.get_process_triple()
        made = llvm.Target.from_default_triple().create_target_machine(codemodel="jitdefault")
        self._engine = llvm.create_mcjit_compiler(empty, made)
        for code in objects:
            self._engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        self._engine.finalize_object()

    def function(self, name: str, arguments: int = 1) -> Any:
        """The function ``name``, which takes pointers (or 64-bit integers). Calling it releases the GIL."""
        address = self._engine.get_function_address(name)
        return ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * arguments)(address)
