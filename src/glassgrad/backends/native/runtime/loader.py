"""Loads linked machine code into this process, without LLVM.

LLVM is a library of 100 MB. Loading it only to link compiled code would take longer than training a small network. So
``linker`` links the code once, right after compilation. This module only copies the linked image.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from dataclasses import dataclass
from functools import cache
from typing import Any

from glassgrad.common.errors import InputError


@dataclass(frozen=True)
class Image:
    """Linked position-independent code; it must begin at a page.

    ``functions`` maps the name of each function to its offset in ``content``. ``imports`` maps the name of each
    imported function of the C library to the offset of the eight bytes that take its address.
    """

    content: bytes
    functions: dict[str, int]
    imports: dict[str, int]


@cache
def can_load_images() -> bool:
    """Whether this system can load images: 64-bit Linux on x86-64 or AArch64."""
    if sys.platform != "linux" or sys.maxsize < 2**32:
        return False
    architecture = os.uname().machine
    return architecture == "x86_64" or (architecture == "aarch64" and _clear_cache() is not None)


def _clear_cache() -> Any:
    """libgcc's ``__clear_cache``, needed on AArch64 after writing instructions; None if it is missing."""
    try:
        return ctypes.CDLL("libgcc_s.so.1").__clear_cache
    except (AttributeError, OSError):
        return None


class Loaded:
    """An image in the memory of this process: written once, then only read and executed."""

    def __init__(self, image: Image) -> None:
        """Copy ``image`` into memory; raises InputError if the system forbids executing memory that was written."""
        size = len(image.content)
        self._functions = image.functions
        self._memory = mmap.mmap(
            -1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ | mmap.PROT_WRITE
        )
        self._memory.write(image.content)
        library = ctypes.CDLL(None)
        for name, slot in image.imports.items():
            address = ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0
            self._memory[slot : slot + 8] = address.to_bytes(8, "little")
        self._start = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        start = ctypes.c_void_p(self._start)
        if library.mprotect(start, ctypes.c_size_t(size), mmap.PROT_READ | mmap.PROT_EXEC):
            raise InputError(
                "this system does not let a process execute code that it wrote; use the backend reference"
            )
        if os.uname().machine == "aarch64":
            _clear_cache()(start, ctypes.c_void_p(self._start + size))

    def function(self, name: str, arguments: int = 1) -> Any:
        """The function ``name``, which takes pointers or 64-bit integers. Calling it releases the GIL."""
        return ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * arguments)(self._start + self._functions[name])
