"""Machine code without LLVM: an image of linked code to functions.

LLVM is a library of 100 MB; loading it only to link code that is compiled already would take longer than to train a
small network. So ``linker`` links the code once, when it is made, and here it is only copied.
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
    """Linked code that can lie anywhere (from the start of a page on).

    ``functions`` are the places where they begin; ``imports`` those of the eight bytes that take the address of a
    function of the C library.
    """

    content: bytes
    functions: dict[str, int]
    imports: dict[str, int]


@cache
def able() -> bool:
    """Whether images can be loaded here: on Linux, on a processor of one of the two kinds."""
    if sys.platform != "linux" or sys.maxsize < 2**32:
        return False
    kind = os.uname().machine
    return kind == "x86_64" or (kind == "aarch64" and _clear_cache() is not None)


def _clear_cache() -> Any:
    """Tells AArch64 that instructions were written; None where the library that can is missing."""
    try:
        return ctypes.CDLL("libgcc_s.so.1").__clear_cache
    except (AttributeError, OSError):
        return None


class Loaded:
    """An image in this process: memory that is written once, and from then on only read and executed."""

    def __init__(self, image: Image) -> None:
        """Raises InputError where the system does not let a process execute what it wrote."""
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
                "this system forbids processes to execute machine code that they made; use the backend reference"
            )
        if os.uname().machine == "aarch64":
            _clear_cache()(start, ctypes.c_void_p(self._start + size))

    def function(self, name: str, arguments: int = 1) -> Any:
        """The function ``name``, which takes pointers (or 64-bit integers). Calling it releases the GIL."""
        return ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * arguments)(self._start + self._functions[name])
