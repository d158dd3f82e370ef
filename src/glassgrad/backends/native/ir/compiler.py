"""LLVM as the assembler: compiles IR text to object code or to assembly text."""

from __future__ import annotations

import ctypes
from typing import Any

from glassgrad.backends.native.runtime.machine import Machine, load_llvm
from glassgrad.common.process_setting import ProcessSetting


def compile_text(
    text: str, target: Machine, *, assembly: bool = False, position_independent: bool = True
) -> bytes:
    """Compile LLVM IR to object code (or assembly text) for ``target``. Several threads may call it at once.

    The IR already has vectors, and shares equal addresses. So two passes suffice: promotion of stack slots to
    registers, and dead code elimination. (NewGVN adds a tenth to the time, and the standard O1 pipeline multiplies it
    by ten, for code of the same speed.) Code generation at level 2 takes longer than at level 1, also for code of the
    same speed. ``position_independent``: on Linux, make the position-independent code that ``linker.link`` needs.
    """
    with _lsr_disabled:
        return _compile(load_llvm(), text, target, assembly, position_independent)


def _compile(llvm: Any, text: str, target: Machine, assembly: bool, position_independent: bool) -> bytes:
    """The result of ``compile_text``. On return LLVM's objects are freed, which takes LLVM's locks once more."""
    if target.triple.startswith("aarch64"):
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
    module = llvm.parse_assembly(text, llvm.create_context())
    module.triple = target.triple
    is_pic = position_independent and "linux" in target.triple
    relocation, code_model = ("pic", "small") if is_pic else ("default", "jitdefault")
    target_machine = llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=1, reloc=relocation, codemodel=code_model
    )
    module.data_layout = str(target_machine.target_data)
    passes = llvm.create_new_module_pass_manager()
    passes.add_sroa_pass()
    passes.add_dead_code_elimination_pass()
    passes.run(module, llvm.create_pass_builder(target_machine, llvm.create_pipeline_tuning_options()))
    return (
        str(target_machine.emit_assembly(module)).encode()
        if assembly
        else _emit_object(target_machine, module)
    )


# Disables loop strength reduction: it takes a fifth of the compile time, for code of the same speed. The option is
# global to LLVM, which other packages in this process may use (Numba does), so it is set only while compiling.
# ``alone``: no fork happens while compiling, since the child process would find LLVM's locks taken.
_lsr_disabled = ProcessSetting(
    lambda: load_llvm().set_option("", "-disable-lsr=true"),
    lambda: load_llvm().set_option("", "-disable-lsr=false"),
    alone=True,
)


def _emit_object(target_machine: Any, module: Any) -> bytes:
    """``target_machine.emit_object(module)`` without llvmlite's global lock.

    LLVM only requires that no two threads use the same context, and ``module`` has a context of its own.
    """
    ffi = load_llvm().ffi
    try:
        emit = ffi.lib.LLVMPY_TargetMachineEmitToMemory._cfn  # the function without the lock around it
    except AttributeError:
        return bytes(target_machine.emit_object(module))
    with ffi.OutputString() as error:
        buffer = emit(target_machine, module, 1, error)
        if not buffer:
            raise RuntimeError(str(error))
    try:
        return ctypes.string_at(ffi.lib.LLVMPY_GetBufferStart(buffer), ffi.lib.LLVMPY_GetBufferSize(buffer))
    finally:
        ffi.lib.LLVMPY_DisposeMemoryBuffer(buffer)
