"""LLVM as the assembler: IR as text to object code, or to assembly text."""

from __future__ import annotations

import ctypes
from typing import Any

from glassgrad.backends.native.runtime.machine import Machine, load_llvm
from glassgrad.common.process_setting import ProcessSetting


def compile_text(text: str, target: Machine, *, assembly: bool = False, anywhere: bool = True) -> bytes:
    """LLVM IR to object code (or assembly text) for ``target``. Several threads may do so at once.

    The vectors are in the IR already, and equal addresses are one value, so two passes clean up: stack slots become
    registers, and what is unused goes. (NewGVN adds a tenth to the time, the standard O1 pipeline multiplies it by
    ten, for code of the same speed.) From there on, level 2 takes longer than level 1, for code of the same speed.
    ``anywhere``: position-independent code, where that is what ``linker.link`` takes.
    """
    with _compiling:
        return _compile(load_llvm(), text, target, assembly, anywhere)


def _compile(llvm: Any, text: str, target: Machine, assembly: bool, anywhere: bool) -> bytes:
    """What ``compile_text`` gives. LLVM's objects are freed when this returns, which takes its locks once more."""
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
    return str(made.emit_assembly(module)).encode() if assembly else _emit_object(made, module)


# An option of the whole library, which others in this process may use (Numba does). Addresses in loops stay as they
# are written: a fifth of the time, for code of the same speed. A process that was forked off in the middle of LLVM's
# work would find LLVM's locks taken.
_compiling = ProcessSetting(
    lambda: load_llvm().set_option("", "-disable-lsr=true"),
    lambda: load_llvm().set_option("", "-disable-lsr=false"),
    alone=True,
)


def _emit_object(made: Any, module: Any) -> bytes:
    """``made.emit_object(module)``, for which llvmlite would let in one thread at a time.

    LLVM itself only asks that no two threads work in one context, and ``module`` has a context of its own.
    """
    ffi = load_llvm().ffi
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
