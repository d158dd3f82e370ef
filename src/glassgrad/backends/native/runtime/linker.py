"""Links object files to a position-independent image, without LLVM.

The input is ELF64 relocatable objects for x86-64 and AArch64 with position-independent code. Everything that the code
refers to lies in the image at fixed distances. The only exceptions are ``memcpy``, ``memmove`` and ``memset``: the
code reaches them through slots that are filled when the image is loaded. For input of any other kind ``link`` returns
None, and LLVM loads the code instead.

Sources: Tool Interface Standard, ELF specification 1.2; H.J. Lu et al., System V ABI, AMD64 supplement 1.0; Arm, ELF
for the Arm 64-bit architecture (AAELF64).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence

from glassgrad.backends.native.runtime.loader import Image
from glassgrad.common.frozen import frozen

IMPORTS = ("memcpy", "memmove", "memset")
PAGE = 4096  # bytes: the unit of AArch64's page-relative addresses; images begin at a page

X86_64, AARCH64 = 62, 183  # e_machine
_RELOCATABLE, _ELF64_LITTLE = 1, b"\x7fELF\x02\x01\x01"
_NULL, _SYMBOLS, _RELOCATIONS, _ZEROS, _BARE_RELOCATIONS = 0, 2, 4, 8, 9  # sh_type
_WRITABLE, _IN_MEMORY, _CODE = 1, 2, 4  # sh_flags
_PLAIN_SYMBOLS = range(5)  # st_info: no type, object, function, section, file
_UNDEFINED = 0  # st_shndx

# A jump to the address in the eight bytes after it.
_JUMPS = {X86_64: bytes.fromhex("ff2500000000"), AARCH64: bytes.fromhex("5000005800021fd6")}


class _UnsupportedObject(Exception):
    """An object file has a feature that this linker does not support."""


@frozen
class _Section:
    kind: int
    flags: int
    content: bytes
    link: int
    info: int
    alignment: int


@frozen
class _Symbol:
    name: str
    is_local: bool
    section: int
    value: int


@frozen
class _Relocation:
    offset: int
    kind: int
    symbol: int
    addend: int


def link(objects: Sequence[bytes]) -> Image | None:
    """The image of ``objects``, which may call one another; None if they hold anything unsupported."""
    try:
        return _Linker([_Object(content) for content in objects]).image()
    except (_UnsupportedObject, struct.error, IndexError, ValueError, OverflowError):
        return None


class _Object:
    """The sections and symbols of one object file."""

    def __init__(self, content: bytes) -> None:
        if not content.startswith(_ELF64_LITTLE):
            raise _UnsupportedObject("not a 64-bit little-endian ELF file")
        kind, self.machine = struct.unpack_from("<HH", content, 16)
        if kind != _RELOCATABLE or self.machine not in _JUMPS:
            raise _UnsupportedObject(f"file type {kind} for machine {self.machine}")
        (start,) = struct.unpack_from("<Q", content, 40)
        size, count = struct.unpack_from("<HH", content, 58)
        self.sections = [_section(content, start + i * size) for i in range(count)]
        self.symbols: list[_Symbol] = []
        for section in self.sections:
            if section.kind == _SYMBOLS:
                self.symbols = list(_symbols(section.content, self.sections[section.link].content))

    def relocations(self) -> Iterator[tuple[int, _Relocation]]:
        """Pairs (number of the section to change, relocation)."""
        for section in self.sections:
            if section.kind not in (_RELOCATIONS, _BARE_RELOCATIONS):
                continue
            target_section = self.sections[section.info]
            if not target_section.flags & _IN_MEMORY:
                continue
            if section.kind == _BARE_RELOCATIONS:
                raise _UnsupportedObject("relocations without addends")
            for offset, info, addend in struct.iter_unpack("<QQq", section.content):
                if offset + 4 > len(target_section.content):
                    raise _UnsupportedObject("a relocation past the end of its section")
                yield section.info, _Relocation(offset, info & 0xFFFFFFFF, info >> 32, addend)


def _section(content: bytes, header_offset: int) -> _Section:
    header = struct.unpack_from("<IIQQQQIIQQ", content, header_offset)
    _, kind, flags, _, offset, size, link, info, alignment, _ = header
    if kind not in (_NULL, _ZEROS) and offset + size > len(content):
        raise _UnsupportedObject("the file is truncated")
    return _Section(kind, flags, content[offset : offset + size], link, info, alignment)


def _symbols(content: bytes, names: bytes) -> Iterator[_Symbol]:
    for name, info, _, section, value, _ in struct.iter_unpack("<IBBHQQ", content):
        text = names[name : names.index(b"\0", name)].decode()
        if info & 15 not in _PLAIN_SYMBOLS:
            raise _UnsupportedObject(f"the symbol {text!r}")
        yield _Symbol(text, info >> 4 == 0, section, value)


class _Linker:
    """Lays the sections of all objects out one after another, and applies their relocations."""

    def __init__(self, objects: list[_Object]) -> None:
        self.objects = objects
        self.machine = objects[0].machine
        if any(item.machine != self.machine for item in objects):
            raise _UnsupportedObject("objects for different machines")
        self.content = bytearray()
        self.offsets: dict[tuple[int, int], int] = {}  # (object, section) -> offset in the image
        self.slots: dict[str, int] = {}

    def image(self) -> Image:
        """The linked image: code, constants, then jumps to imported functions."""
        self._lay_out()
        functions = self._functions()
        for i, item in enumerate(self.objects):
            for section, relocation in item.relocations():
                target = self._address(i, item.symbols[relocation.symbol], functions)
                offset = self.offsets[i, section] + relocation.offset
                _RELOCATE[self.machine](self.content, offset, relocation.kind, target + relocation.addend)
        return Image(bytes(self.content), functions, self.slots)

    def _lay_out(self) -> None:
        sections = [
            (i, j, section)
            for i, item in enumerate(self.objects)
            for j, section in enumerate(item.sections)
            if section.flags & _IN_MEMORY
        ]
        for i, j, section in sorted(sections, key=lambda entry: not entry[2].flags & _CODE):
            if section.flags & _WRITABLE or section.kind == _ZEROS or section.alignment > PAGE:
                raise _UnsupportedObject("writable memory, or an alignment above a page")
            self.offsets[i, j] = self._append(section.content, section.alignment)

    def _append(self, content: bytes, alignment: int) -> int:
        self.content += bytes(-len(self.content) % max(alignment, 1))
        self.content += content
        return len(self.content) - len(content)

    def _functions(self) -> dict[str, int]:
        function_offsets: dict[str, int] = {}
        for i, item in enumerate(self.objects):
            for symbol in item.symbols:
                if symbol.is_local or symbol.section == _UNDEFINED:
                    continue
                if symbol.name in function_offsets or (i, symbol.section) not in self.offsets:
                    raise _UnsupportedObject(f"the symbol {symbol.name!r}")
                function_offsets[symbol.name] = self.offsets[i, symbol.section] + symbol.value
        return function_offsets

    def _address(self, number: int, symbol: _Symbol, functions: dict[str, int]) -> int:
        if symbol.section != _UNDEFINED:
            if (number, symbol.section) not in self.offsets:
                raise _UnsupportedObject(f"the symbol {symbol.name!r}")
            return self.offsets[number, symbol.section] + symbol.value
        if symbol.name in functions:
            return functions[symbol.name]
        if symbol.name not in IMPORTS:
            raise _UnsupportedObject(f"the symbol {symbol.name!r}")
        jump = _JUMPS[self.machine]
        if symbol.name not in self.slots:
            start = self._append(jump.ljust(16, b"\0"), 16)
            self.slots[symbol.name] = start + len(jump)
        return self.slots[symbol.name] - len(jump)


# --- relocations: the value written at ``offset``, by kind ------------------------------------------------


def _signed(value: int, bits: int) -> int:
    """``value``, if it fits into ``bits`` bits as a signed integer."""
    if not -(1 << bits - 1) <= value < 1 << bits - 1:
        raise _UnsupportedObject("a distance that is too far")
    return value


def _relocate_x86_64(content: bytearray, offset: int, kind: int, target: int) -> None:
    if kind in (2, 4):  # PC32 and PLT32; they are the same, since the image holds all functions
        struct.pack_into("<i", content, offset, _signed(target - offset, 32))
    elif kind == 24:  # PC64
        struct.pack_into("<q", content, offset, target - offset)
    else:
        raise _UnsupportedObject(f"relocation {kind}")


# Instructions that take the lower 12 bits of an address: the number of low bits that they drop.
_LOW_12 = {277: 0, 278: 0, 284: 1, 285: 2, 286: 3, 299: 4}  # ADD_ABS_LO12_NC, LDST8 to LDST128_ABS_LO12_NC


def _relocate_aarch64(content: bytearray, offset: int, kind: int, target: int) -> None:
    (word,) = struct.unpack_from("<I", content, offset)
    if kind in (282, 283):  # JUMP26, CALL26
        distance = _signed(target - offset, 28)
        word = word & 0xFC000000 | distance >> 2 & 0x03FFFFFF
    elif kind == 275:  # ADR_PREL_PG_HI21: the distance in pages
        pages = _signed(target // PAGE - offset // PAGE, 21)
        word = word & 0x9F00001F | (pages & 3) << 29 | (pages >> 2 & 0x7FFFF) << 5
    elif kind in _LOW_12:
        scale = _LOW_12[kind]
        if target & (1 << scale) - 1:
            raise _UnsupportedObject("an unaligned address")
        word = word & 0xFFC003FF | (target & 0xFFF) >> scale << 10
    elif kind == 261:  # PREL32
        word = _signed(target - offset, 32) & 0xFFFFFFFF
    else:
        raise _UnsupportedObject(f"relocation {kind}")
    struct.pack_into("<I", content, offset, word)


_RELOCATE: dict[int, Callable[[bytearray, int, int, int], None]] = {
    X86_64: _relocate_x86_64,
    AARCH64: _relocate_aarch64,
}
