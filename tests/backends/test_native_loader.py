"""Linking without LLVM: object files to images, images to functions; unsupported objects are refused."""

from __future__ import annotations

import ctypes
import random
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from backends.nets import NETS, program
from backends.programs import feed, regression
from backends.rounding import same_bits
from glassgrad.backends.native import backend as native
from glassgrad.backends.native.driver import generate as generator
from glassgrad.backends.native.driver.generate import generate
from glassgrad.backends.native.ir.compiler import compile_text
from glassgrad.backends.native.runtime import linker, machine
from glassgrad.backends.native.runtime.linker import link
from glassgrad.backends.native.runtime.loader import Image, Loaded, can_load_images
from glassgrad.backends.native.runtime.machine import Library, host
from glassgrad.common.errors import InputError

HERE = pytest.mark.skipif(not can_load_images(), reason="images are for Linux on x86-64 and AArch64")

# Two modules that call each other; constants, a table of them, a copy and a fill too large to be written out.
FIRST = """
@table = private constant [4 x i64] [i64 3, i64 5, i64 7, i64 11]
declare dso_local void @second(ptr)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)

define dso_local void @first(ptr %out) {
  %n = load i64, ptr %out
  %place = getelementptr [4 x i64], ptr @table, i64 0, i64 %n
  %found = load i64, ptr %place
  %1 = getelementptr i64, ptr %out, i64 1
  store i64 %found, ptr %1
  call void @second(ptr %1)
  ret void
}

define dso_local void @move(ptr %out) {
  %size = load i64, ptr %out
  %from = getelementptr i8, ptr %out, i64 8
  %to = getelementptr i8, ptr %out, i64 4096
  call void @llvm.memcpy.p0.p0.i64(ptr %to, ptr %from, i64 %size, i1 false)
  call void @llvm.memset.p0.i64(ptr %from, i8 0, i64 %size, i1 false)
  ret void
}
"""
SECOND = """
define dso_local void @second(ptr %out) {
  %x = load double, ptr %out
  %n = load i64, ptr %out
  %f = uitofp i64 %n to double
  %y = fmul double %f, 2.5
  %1 = getelementptr double, ptr %out, i64 1
  store double %y, ptr %1
  %2 = getelementptr ptr, ptr %out, i64 2
  store ptr @second, ptr %2
  ret void
}
"""
TEXTS = (FIRST, SECOND)


def objects(target: machine.Machine | None = None, position_independent: bool = True) -> list[bytes]:
    return [compile_text(text, target or host(), position_independent=position_independent) for text in TEXTS]


def call(library: Loaded | Library) -> tuple[int, float]:
    """Check the results of ``first`` and ``second`` for the number 2."""
    words = np.array([2, 0, 0, 0], np.uint64)
    library.function("first")(words.ctypes.data)
    second = ctypes.cast(library.function("second"), ctypes.c_void_p).value
    assert int(words[3]) == second
    room = np.arange(8192, dtype=np.uint8)
    room[:8] = np.array([1000], np.uint64).view(np.uint8)
    before = room[8:1008].copy()
    library.function("move")(room.ctypes.data)
    assert (room[4096:5096] == before).all()
    assert not room[8:1008].any()
    return int(words[1]), float(words.view(np.float64)[2])


@HERE
def test_an_image_runs_at_any_address() -> None:
    image = link(objects())
    assert image is not None
    assert set(image.imports) == {"memcpy", "memset"}
    assert set(image.functions) == {"first", "second", "move"}
    twice = [Loaded(image), Loaded(image)]
    starts = {ctypes.cast(one.function("first"), ctypes.c_void_p).value for one in twice}
    assert len(starts) == 2
    for one in twice:
        assert call(one) == (7, 17.5)


@HERE
def test_the_order_of_the_objects_does_not_matter() -> None:
    image = link(objects()[::-1])
    assert image is not None
    assert call(Loaded(image)) == (7, 17.5)


def test_llvm_loads_objects_that_cannot_be_linked() -> None:
    given = objects(position_independent=False)
    if sys.platform == "linux":
        assert link(given) is None  # absolute addresses
    assert call(Library(*given)) == (7, 17.5)


@HERE
def test_memory_is_never_written_to_and_executed() -> None:
    image = link(objects())
    assert image is not None
    loaded = Loaded(image)
    start = ctypes.cast(loaded.function("first"), ctypes.c_void_p).value
    assert start is not None
    for line in Path("/proc/self/maps").read_text().splitlines():
        low, high = (int(number, 16) for number in line.split()[0].split("-"))
        if low <= start < high:
            assert line.split()[1] == "r-xp"
            return
    pytest.fail("the image is not mapped")


@HERE
def test_a_system_that_forbids_execution_raises_a_one_line_error(monkeypatch: pytest.MonkeyPatch) -> None:
    image = link(objects())
    assert image is not None

    class Library:
        memcpy = memset = ctypes.CDLL(None).memcpy

        @staticmethod
        def mprotect(*_: object) -> int:
            return -1

    monkeypatch.setattr(ctypes, "CDLL", lambda _: Library)
    with pytest.raises(InputError, match="does not let"):
        Loaded(image)


@HERE
@pytest.mark.parametrize("name", NETS)
def test_every_network_becomes_an_image(name: str) -> None:
    (code,) = generate([program(name, batch=16)], host(), 1)
    assert code.image is not None
    assert code.objects == ()
    assert set(code.image.imports) <= set(linker.IMPORTS)


@HERE
def test_without_images_the_bits_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    first = native.NativeBackend(cached=False, threads=1).compile(regression()).run(feed())
    for module in (generator, machine):
        monkeypatch.setattr(module, "can_load_images", lambda: False)
    executable = native.NativeBackend(cached=False, threads=1).compile(regression())
    assert isinstance(executable, native.NativeExecutable)
    assert executable.code.image is None
    assert executable.code.objects
    assert same_bits(first, executable.run(feed())) == []


@HERE
def test_code_that_cannot_be_linked_is_compiled_for_llvms_loader(monkeypatch: pytest.MonkeyPatch) -> None:
    first = native.NativeBackend(cached=False, threads=1).compile(regression()).run(feed())
    monkeypatch.setattr(generator, "link", lambda _: None)
    monkeypatch.setattr(linker, "link", lambda _: None)
    executable = native.NativeBackend(cached=False, threads=1).compile(regression())
    assert isinstance(executable, native.NativeExecutable)
    assert executable.code.image is None
    assert same_bits(first, executable.run(feed())) == []


# --- AArch64: the instructions, read back -------------------------------------------------------------------


def refers_to(word: int, place: int, following: int) -> int:
    """The address that an instruction at ``place`` refers to; for ADRP, together with the following ADD or load."""
    if word >> 26 in (0b000101, 0b100101):  # B, BL
        distance = (word & 0x03FFFFFF) << 2
        return place + (distance - (1 << 28) if distance >> 27 else distance)
    assert word & 0x9F000000 == 0x90000000, "ADRP"
    pages = (word >> 29 & 3) | (word >> 5 & 0x7FFFF) << 2
    pages -= (1 << 21) if pages >> 20 else 0
    low = following >> 10 & 0xFFF
    if following & 0x3B000000 == 0x39000000:  # a load or store, counted in its own size
        size = following >> 30
        low <<= 4 if following & 0x04800000 == 0x04800000 else size
    else:
        assert following & 0xFF800000 == 0x91000000, "ADD"
    return (place >> 12 << 12) + (pages << 12) + low


@pytest.mark.parametrize("name", ["two modules", *sorted(NETS)])
def test_aarch64_instructions_refer_to_the_right_addresses(name: str) -> None:
    target = machine.machine("aarch64")
    if name == "two modules":
        given = objects(target)
    else:
        module = generator._UncompiledProgram(program(name, batch=16), target).module
        given = [compile_text(text, target) for text in module.texts(2)]
    read = [linker._Object(content) for content in given]
    linking = linker._Linker(read)
    image = linking.image()
    seen = set()
    for number, item in enumerate(read):
        listed = list(item.relocations())
        for section, relocation in listed:
            place = linking.offsets[number, section] + relocation.offset
            symbol = item.symbols[relocation.symbol]
            if symbol.section:
                wanted = linking.offsets[number, symbol.section] + symbol.value
            elif symbol.name in image.functions:
                wanted = image.functions[symbol.name]
            else:
                wanted = image.imports[symbol.name] - 8
                assert image.content[wanted : wanted + 8] == bytes.fromhex("50000058 00021fd6")
            (word,) = struct.unpack_from("<I", image.content, place)
            if relocation.kind in (282, 283):
                assert refers_to(word, place, 0) == wanted + relocation.addend
            elif relocation.kind == 275:
                # LLVM may put something between the two: find the one for the same symbol.
                pairs = [
                    other
                    for where, other in listed
                    if where == section
                    and (other.symbol, other.addend) == (relocation.symbol, relocation.addend)
                    and other.kind in linker._LOW_12
                    and other.offset > relocation.offset
                ]
                start = linking.offsets[number, section] + min(pair.offset for pair in pairs)
                (following,) = struct.unpack_from("<I", image.content, start)
                assert refers_to(word, place, following) == wanted + relocation.addend
            elif relocation.kind == 261:
                (distance,) = struct.unpack_from("<i", image.content, place)
                assert place + distance == wanted + relocation.addend
            else:
                assert relocation.kind in linker._LOW_12
            seen.add(relocation.kind)
    assert seen >= {275, 277, 283}


def test_distances_that_do_not_fit_are_refused() -> None:
    for relocate, kind, far in (
        (linker._relocate_x86_64, 2, 1 << 31),
        (linker._relocate_aarch64, 283, 1 << 27),
        (linker._relocate_aarch64, 275, 1 << 32),
        (linker._relocate_aarch64, 261, 1 << 31),
    ):
        for target in (far, -far - 4096):
            with pytest.raises(linker._UnsupportedObject, match="too far"):
                relocate(bytearray(8), 0, kind, target)
        relocate(bytearray(8), 0, kind, far - 4096)
        relocate(bytearray(8), 0, kind, 4096 - far)
    with pytest.raises(linker._UnsupportedObject, match="aligned"):
        linker._relocate_aarch64(bytearray(4), 0, 286, 12)  # a load of eight bytes


# --- unsupported objects -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "@x = global i64 5\ndefine dso_local void @f(ptr %p) { store i64 1, ptr @x\n ret void }",
        "@x = external thread_local global i64\ndefine dso_local ptr @f() { ret ptr @x }",
        "declare void @exit(i32)\ndefine dso_local void @f(ptr %p) { call void @exit(i32 3)\n ret void }",
        "define dso_local double @f(double %x) { %y = call double @llvm.sin.f64(double %x)\n ret double %y }\n"
        "declare double @llvm.sin.f64(double)",
        "@x = external global i64\ndefine dso_local ptr @f() { ret ptr @x }",
    ],
    ids=["variables", "thread-local", "a function of the system", "a function of libm", "a foreign variable"],
)
def test_unsupported_code_is_left_to_llvm(text: str) -> None:
    target = machine.machine("sse2")
    assert link([compile_text(text, target)]) is None


def test_two_functions_of_one_name_are_refused() -> None:
    given = objects(machine.machine("sse2"))
    assert link([given[1], given[1]]) is None


def test_objects_for_different_machines_are_refused() -> None:
    pairs = [objects(machine.machine(name)) for name in ("sse2", "aarch64")]
    assert link([pairs[0][0], pairs[1][1]]) is None


def test_a_truncated_or_damaged_file_never_raises() -> None:
    whole = objects(machine.machine("sse2"))
    assert isinstance(link(whole), Image)
    for end in range(0, len(whole[0]), 7):
        assert link([whole[0][:end], whole[1]]) is None, end
    chance = random.Random(0)
    for _ in range(2000):
        content = bytearray(whole[0])
        for _ in range(chance.randint(1, 4)):
            content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        found = link([bytes(content), whole[1]])
        assert found is None or isinstance(found, Image)
    for rubbish in (b"", b"\x7fELF", b"MZ" * 100, bytes(1000)):
        assert link([rubbish]) is None


@pytest.mark.parametrize(("place", "value"), [(4, 1), (5, 2), (16, 3), (18, 3)])
def test_other_kinds_of_files_are_refused(place: int, value: int) -> None:
    """32 bits, big-endian, a shared library, for another processor."""
    content = bytearray(objects(machine.machine("sse2"))[1])
    assert link([bytes(content)]) is not None
    content[place] = value
    assert link([bytes(content)]) is None
