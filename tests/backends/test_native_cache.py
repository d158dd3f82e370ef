"""Compiled code on disk: it is loaded again, rebuilt if damaged, and its absence is never an error.

This is one file because all tests share the empty cache folder and the small programs defined here.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from backends.programs import feed, regression
from backends.rounding import same_bits
from glassgrad.backends.base import Result
from glassgrad.backends.native import backend as native
from glassgrad.backends.native.runtime import cache, store
from glassgrad.backends.native.runtime import machine as machine_module
from glassgrad.backends.native.runtime.loader import Image, can_load_images
from glassgrad.backends.native.runtime.machine import host, machine
from glassgrad.graph.node import DType
from glassgrad.ops import table as ops
from glassgrad.ops.op import constant, make_input
from glassgrad.program import Input, Output, Program

Place = Callable[[], list[Path]]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder for the test."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("GLASSGRAD_CACHE", str(folder))
    return folder


def entries(home: Path) -> list[Path]:
    return sorted(home.iterdir()) if home.is_dir() else []


def trained() -> Result:
    return native.NativeBackend(threads=1).compile(regression()).run(feed())


def test_programs_compiled_together_equal_those_compiled_alone(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = native.NativeBackend(cached=False, threads=1)
    programs = [regression(), regression("float64"), scaled()]
    native.NativeBackend(threads=1).compile(programs[1])  # one of them is known already
    assert len(entries(home)) == 1
    made = native.NativeBackend(threads=3).compile_all(programs)
    assert len(entries(home)) == 3
    assert [executable.program for executable in made] == programs
    assert all(executable.seconds_compiling > 0 for executable in made)
    for executable, dtype in zip(made[:2], ("float32", "float64"), strict=True):
        given = feed(dtype)
        assert same_bits(executable.run(given), alone.compile(executable.program).run(given)) == []
    refuse(monkeypatch)
    native.NativeBackend(threads=1).compile_all(programs)
    assert native.NativeBackend().compile_all([]) == []


def refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    def generate(*_: object) -> None:
        raise AssertionError("code was generated")

    monkeypatch.setattr(native, "generate", generate)


def test_a_hit_gives_the_same_bits_and_builds_no_code(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = trained()
    assert len(entries(home)) == 1
    refuse(monkeypatch)
    assert same_bits(first, trained()) == []
    assert len(entries(home)) == 1


def test_a_hit_does_not_load_the_compiler(home: Path) -> None:
    trained()
    script = (
        "import sys; from glassgrad.backends.native.backend import NativeBackend;"
        "from backends.programs import feed, regression;"
        "NativeBackend().compile(regression()).run(feed());"
        "rooms = [name.split('.') for name in sys.modules if name.startswith('glassgrad.backends.native.')];"
        "print(sorted({parts[3] for parts in rooms}), 'llvmlite' in sys.modules)"
    )
    llvm = not (can_load_images() and machine_module.processor() is not None)
    assert run_python(script) == f"['backend', 'runtime'] {llvm}"


def run_python(script: str) -> str:
    return finish(start_python(script))


def start_python(script: str) -> subprocess.Popen[str]:
    paths = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", script],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    out, errors = process.communicate()
    assert process.returncode == 0, errors
    assert errors == ""
    return out.strip()


def flipped(content: bytes, place: int) -> bytes:
    spoiled = bytearray(content)
    spoiled[place] ^= 0x10
    return bytes(spoiled)


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "first byte flipped": lambda content: flipped(content, 0),
    "header flipped": lambda content: flipped(content, 40),
    "code flipped": lambda content: flipped(content, len(content) // 2),
    "last byte flipped": lambda content: flipped(content, -1),
    "cut to half": lambda content: content[: len(content) // 2],
    "cut by one": lambda content: content[:-1],
    "longer": lambda content: content + b"\0",
    "cut to the digest": lambda content: content[:32],
    "empty": lambda _: b"",
    "rubbish": lambda _: b"rubbish " * 999,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_entry_is_deleted_and_rebuilt(home: Path, damage: str) -> None:
    first = trained()
    (entry,) = entries(home)
    whole = entry.read_bytes()
    entry.write_bytes(DAMAGE[damage](whole))
    assert cache.load(entry.stem) is None
    assert entries(home) == []
    assert same_bits(first, trained()) == []
    assert entries(home) == [entry]
    again = cache.Code.from_bytes(entry.read_bytes())
    known = cache.Code.from_bytes(whole)
    assert again is not None
    assert known is not None
    assert again.arena == known.arena


KEYS = {letter: letter * 64 for letter in "abcdef"}


def small_code() -> cache.Code:
    return cache.Code(None, (b"x" * 1000,), 64, (), (), 0)


def test_the_oldest_entries_make_room(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "LIMIT", 5000)
    for i, name in enumerate("abc"):
        cache.save(KEYS[name], small_code())
        os.utime(home / (KEYS[name] + store.SUFFIX), (1000 + i, 1000 + i))
    assert cache.load(KEYS["a"]) is not None  # used just now: no longer the oldest
    for name in "de":
        cache.save(KEYS[name], small_code())
    names = {entry.name[0] for entry in entries(home)}
    assert "e" in names
    assert "a" in names
    assert "b" not in names
    assert sum(entry.stat().st_size for entry in entries(home)) <= 5000


def foreign_files(home: Path) -> dict[Path, bytes]:
    """Large old files of the user's in the folder, some with names like those of entries; a link, a folder."""
    home.mkdir(mode=0o700)
    key = "0" * 64
    names = [
        "thesis.tex",
        ".hidden",
        key,
        key + ".bak",
        f"{key}{store.SUFFIX}",  # the name of an entry, but not its content
        f"{key}{store.SUFFIX}~",
        f"{key.upper()}F{store.SUFFIX}",
        f".{key}{store.TEMPORARY}",
        f".{key}.{'0' * 16}.tmp",
        f"notes{store.SUFFIX}",
    ]
    contents = {home / name: (name * 500).encode() for name in names}
    for path, content in contents.items():
        path.write_bytes(content)
        os.utime(path, (1, 1))
    (home / f"{'1' * 64}{store.SUFFIX}").mkdir()
    return contents


def test_files_of_the_user_are_neither_deleted_nor_counted(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = foreign_files(home)
    monkeypatch.setattr(store, "LIMIT", 5000)
    target = home.parent / "elsewhere"
    target.write_bytes(store.MAGIC + b"x" * 10_000)
    link = home / f"{'2' * 64}{store.SUFFIX}"
    link.symlink_to(target)
    for key in KEYS.values():
        cache.save(key, small_code())
    assert {path: path.read_bytes() for path in contents} == contents
    assert link.is_symlink()
    assert target.stat().st_size > 10_000
    assert (home / f"{'1' * 64}{store.SUFFIX}").is_dir()
    kept = [name for name, key in KEYS.items() if (home / (key + store.SUFFIX)).exists()]
    assert kept[-1] == "f"
    assert len(kept) == 5000 // len(small_code().to_bytes())  # as many as without the other files


def test_old_temporary_files_of_killed_processes_are_deleted(home: Path) -> None:
    cache.save(KEYS["a"], small_code())
    young, old = (home / f".{KEYS['b']}.{digit * 16}{store.TEMPORARY}" for digit in "01")
    for path in (young, old):
        path.write_bytes(b"half of it")
    then = old.stat().st_mtime - store.ABANDONED - 1
    os.utime(old, (then, then))
    cache.save(KEYS["c"], small_code())
    assert young.exists()
    assert not old.exists()


def test_a_process_killed_while_it_writes_leaves_no_entry(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        cache.save(KEYS["a"], small_code())
    assert entries(home) == []


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="permissions of this kind are POSIX")
@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_an_entry_that_others_can_write_to_is_not_executed(
    home: Path, mode: int, capfd: pytest.CaptureFixture[str]
) -> None:
    cache.save(KEYS["a"], small_code())
    (entry,) = entries(home)
    assert cache.load(KEYS["a"]) is not None
    entry.chmod(mode)
    assert cache.load(KEYS["a"]) is None
    assert "others can write to it" in capfd.readouterr().err
    cache.save(KEYS["a"], small_code())  # made again, for its owner alone
    assert cache.load(KEYS["a"]) is not None


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="owners of this kind are POSIX")
def test_an_entry_of_another_user_is_not_executed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.save(KEYS["a"], small_code())
    (entry,) = entries(home)
    status = os.fstat
    other = os.getuid() + 1

    def of_another(descriptor: int) -> os.stat_result:
        found = list(status(descriptor))
        found[4] = other
        return os.stat_result(found)

    monkeypatch.setattr(os, "fstat", of_another)
    assert cache.load(KEYS["a"]) is None
    assert entries(home) == [entry]


def test_a_link_or_a_pipe_named_like_an_entry_is_not_read(home: Path) -> None:
    cache.save(KEYS["a"], small_code())
    (entry,) = entries(home)
    (home / (KEYS["b"] + store.SUFFIX)).symlink_to(entry)
    assert cache.load(KEYS["b"]) is None
    cache.save(KEYS["b"], small_code())
    assert (home / (KEYS["b"] + store.SUFFIX)).is_symlink()
    if hasattr(os, "mkfifo"):
        os.mkfifo(home / (KEYS["c"] + store.SUFFIX))
        assert cache.load(KEYS["c"]) is None


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="permissions of this kind are POSIX")
def test_a_refused_folder_is_mentioned_once(home: Path) -> None:
    home.mkdir()
    home.chmod(0o777)
    script = (
        "from glassgrad.backends.native.runtime import cache;"
        "[cache.load(letter * 64) for letter in 'abc'];"
        "cache.save('a' * 64, cache.Code(None, (b'x',), 64, (), (), 0))"
    )
    process = start_python(script)
    _, errors = process.communicate()
    assert process.returncode == 0
    assert len(errors.splitlines()) == 1
    assert errors.startswith(f"glassgrad: {home}: others can write to it")
    assert f"chmod go-w {home}" in errors
    assert entries(home) == []


def test_a_named_folder_that_cannot_be_used_is_mentioned(home: Path) -> None:
    home.write_text("mine")
    process = start_python(
        "from glassgrad.backends.native.runtime import store; store.folder(); store.folder()"
    )
    _, errors = process.communicate()
    assert len(errors.splitlines()) == 1
    assert str(home) in errors


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="permissions of this kind are POSIX")
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_folder_that_others_can_write_to_is_not_used(
    home: Path, mode: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = trained()
    home.chmod(mode)
    before = [entry.stat().st_mtime_ns for entry in entries(home)]
    assert store.folder() is None
    (entry,) = entries(home)
    assert cache.load(entry.stem) is None
    assert same_bits(first, trained()) == []
    assert [entry.stat().st_mtime_ns for entry in entries(home)] == before
    refuse(monkeypatch)
    with pytest.raises(AssertionError, match="code was generated"):
        trained()


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="permissions of this kind are POSIX")
def test_the_folder_is_made_for_its_owner_alone(home: Path) -> None:
    trained()
    assert home.stat().st_mode & 0o777 == 0o700
    assert all(entry.stat().st_mode & 0o077 == 0 for entry in entries(home))


def test_an_empty_variable_switches_the_cache_off(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLASSGRAD_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    monkeypatch.chdir(tmp_path)
    assert store.folder() is None
    trained()
    assert list(tmp_path.iterdir()) == []


def test_without_the_variable_the_users_cache_folder_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GLASSGRAD_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    assert store.folder() == tmp_path / "glassgrad"


def test_two_processes_may_compile_the_same_at_once(home: Path) -> None:
    script = (
        "from glassgrad.backends.native.backend import NativeBackend;"
        "from backends.programs import feed, regression;"
        "r = NativeBackend().compile(regression()).run(feed());"
        "print(r.params['w'].tobytes().hex())"
    )
    processes = [start_python(script) for _ in range(3)]
    found = {finish(process) for process in processes}
    assert found == {trained().params["w"].tobytes().hex()}
    assert len(entries(home)) == 1, "a temporary file is left, or the key differs from process to process"


@pytest.mark.parametrize("trouble", ["a file in its place", "a file above", "no room", "no reading"])
def test_a_folder_that_cannot_be_used_is_no_error(
    home: Path, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    if trouble == "a file in its place":
        home.write_text("mine")
    elif trouble == "a file above":
        (home.parent / "file").write_text("mine")
        monkeypatch.setenv("GLASSGRAD_CACHE", str(home.parent / "file" / "cache"))
    elif trouble == "no room":
        monkeypatch.setattr(os, "replace", full)
    else:
        monkeypatch.setattr(Path, "read_bytes", full)
    result = trained()
    assert np.isfinite(result.outputs["loss"]).all()
    if trouble == "no room":
        assert entries(home) == []
    if trouble == "a file in its place":
        assert home.read_text() == "mine"


def scaled(
    factor: float = 2.0, dtype: DType = "float32", batch: int = 4, axis: int = 1, table: float = 0.0
) -> Program:
    """A program with an attribute, a number, an array, and two outputs to mistake for one another."""
    x = make_input("x", (batch, 3), dtype)
    array = constant(np.arange(3) + table, dtype)
    values = [ops.cumsum(x, axis) * factor, x + array]
    outputs = tuple(Output(f"y{i}", value) for i, value in enumerate(values))
    return Program("scaled", batch, (Input("x", "data", x),), {}, outputs)


def test_the_key_covers_everything_that_the_code_depends_on() -> None:
    def key(*args: object, target: str = "host", **changes: object) -> str:
        return cache.key_of(scaled(**changes), machine(target))  # type: ignore[arg-type]

    base = scaled()
    x = base.inputs[0]
    swapped = Program("scaled", 4, base.inputs, {}, tuple(reversed(base.outputs)))
    as_state = Program("scaled", 4, (Input("x", "state", x.value),), {}, base.outputs)
    updated = Program(
        "scaled", 4, (Input("x", "state", x.value),), {"x": base.outputs[0].value}, base.outputs
    )
    keys = [
        key(),
        key(factor=3.0),
        key(factor=-2.0),
        key(table=1.0),
        key(dtype="float64"),
        key(batch=5),
        key(axis=0),
        key(target="sse2"),
        key(target="avx2"),
        *(cache.key_of(item, host()) for item in (swapped, as_state, updated)),
    ]
    assert len(set(keys)) == len(keys)
    assert key() == key()  # built again from nothing
    renamed = Program("other", 4, base.inputs, {}, base.outputs)
    assert cache.key_of(renamed, host()) == key()  # a name is not in the code


def test_the_key_covers_bodies_of_scans_and_constants_of_one_bit() -> None:
    def program(sign: float, cell: float) -> Program:
        x = make_input("x", (3,), "float32")
        (final,), _ = ops.scan(lambda h: (h * cell,), [x], [], [], length=3)
        return Program("scan", 1, (Input("x", "state", x),), {}, (Output("y", final + sign),))

    keys = {cache.key_of(program(sign, cell), host()) for sign in (0.0, -0.0) for cell in (0.5, 0.25)}
    assert len(keys) == 4


# --- which processor ---------------------------------------------------------------------------------------

EPYC = """processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: 26
model\t\t: 2
model name\t: AMD EPYC
stepping\t: 1
cpu MHz\t\t: 2596.122
flags\t\t: fpu sse sse2 avx avx2 avx512f
bogomips\t: 5192.24

processor\t: 1
vendor_id\t: SomebodyElse
flags\t\t: fpu
"""
GRAVITON = """processor\t: 0
BogoMIPS\t: 243.75
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x3
CPU part\t: 0xd0c
CPU revision\t: 1

"""


@pytest.fixture
def cpuinfo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Puts another text in the place of /proc/cpuinfo."""
    path = tmp_path / "cpuinfo"
    monkeypatch.setattr(machine_module, "CPUINFO", path)

    def put(text: str) -> None:
        path.write_text(text)
        machine_module.processor.cache_clear()

    machine_module.processor.cache_clear()
    yield put
    machine_module.processor.cache_clear()


@pytest.mark.parametrize(
    "change",
    [
        ("vendor_id\t: AuthenticAMD", "vendor_id\t: GenuineIntel"),
        ("cpu family\t: 26", "cpu family\t: 25"),
        ("model\t\t: 2", "model\t\t: 3"),
        ("stepping\t: 1", "stepping\t: 0"),
        (" avx512f\n", "\n"),
        (" avx512f\n", " avx512f avx512vl\n"),
    ],
    ids=str,
)
def test_the_key_covers_the_processor(change: tuple[str, str], cpuinfo: Callable[[str], None]) -> None:
    cpuinfo(EPYC)
    first = cache.key_of(scaled())
    assert change[0] in EPYC
    cpuinfo(EPYC.replace(*change))
    assert cache.key_of(scaled()) != first
    cpuinfo(EPYC.replace("2596.122", "1400.000").replace("5192.24", "1").replace("SomebodyElse", "Third"))
    assert cache.key_of(scaled()) == first


def test_the_descriptions_of_x86_and_arm_processors_are_read(cpuinfo: Callable[[str], None]) -> None:
    found = set()
    for text in (EPYC, GRAVITON, GRAVITON.replace("0xd0c", "0xd40"), GRAVITON.replace(" asimdhp", "")):
        cpuinfo(text)
        told = machine_module.processor()
        assert told is not None
        assert "MHz" not in told
        assert "BogoMIPS" not in told
        found.add(cache.key_of(scaled()))
    assert len(found) == 4


@pytest.mark.parametrize("text", ["", "processor\t: 0\nmodel name\t: unknown\n", None])
def test_without_a_processor_description_llvm_is_asked(
    text: str | None, cpuinfo: Callable[[str], None]
) -> None:
    if text is not None:
        cpuinfo(text)
    assert machine_module.processor() is None
    assert cache.key_of(scaled()) == cache.key_of(scaled(), host())


@pytest.mark.skipif(machine_module.processor() is None, reason="the system does not describe its processor")
def test_an_entry_of_another_processor_is_not_loaded(
    home: Path, cpuinfo: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    cpuinfo(EPYC)
    native.NativeBackend().compile(regression())
    cpuinfo(EPYC.replace(" avx512f", ""))
    refuse(monkeypatch)
    with pytest.raises(AssertionError, match="code was generated"):
        native.NativeBackend().compile(regression())
    cpuinfo(EPYC)
    native.NativeBackend().compile(regression())
    assert len(entries(home)) == 1


@pytest.mark.skipif("flags: " not in (machine_module.processor() or ""), reason="for Linux on x86-64")
def test_code_uses_no_feature_that_the_key_does_not_name() -> None:
    told = machine_module.processor()
    assert told is not None
    flags = set(told.partition("flags: ")[2].split())
    features = set(host().features.split(","))
    used = {name[1:] for name in features if name[0] == "+"}
    # Feature by feature, in the words of LLVM and of Linux.
    words = {"sse3": "pni", "ssse3": "ssse3", "sse4.2": "sse4_2", "avx": "avx", "avx2": "avx2", "fma": "fma"}
    words |= {"avx512f": "avx512f", "avx512vl": "avx512vl", "avx512bf16": "avx512_bf16", "lzcnt": "abm"}
    words |= {"avxvnni": "avx_vnni", "sha": "sha_ni", "bmi": "bmi1", "bmi2": "bmi2", "64bit": "lm"}
    for name, flag in words.items():
        assert (name in used) <= (flag in flags), name
        assert (flag in flags) <= (name in used), name
    assert {f"-{name}" for name in ("egpr", "avx10.2", "shstk") if name not in flags} <= features


def test_the_compiler_version_is_part_of_the_fingerprint() -> None:
    import llvmlite

    assert repr(llvmlite.__version__) in machine_module.version()
    assert "libllvmlite" in machine_module.version() or sys.platform == "win32"


def test_the_key_covers_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    before = cache.key_of(scaled(), host())
    monkeypatch.setattr(cache, "version", lambda: "another LLVM")
    after = cache.key_of(scaled(), host())
    assert after != before
    monkeypatch.setattr(cache, "_sources_fingerprint", lambda: "other sources")
    assert cache.key_of(scaled(), host()) not in (before, after)


@pytest.mark.parametrize(
    "image", [None, Image(b"code", {"run": 0, "help": 16}, {"memcpy": 6}), Image(b"", {}, {})]
)
def test_code_survives_a_round_trip_to_bytes(image: Image | None) -> None:
    constants = (
        (64, np.arange(6, dtype=np.float32).reshape(2, 3)),
        (128, np.array(3.5)),
        (192, np.array([True, False, True])),
    )
    code = cache.Code(image, (b"one", b"", b"three"), 4096, ((0, 0), (64, 16)), constants, True)
    again = cache.Code.from_bytes(code.to_bytes())
    assert again is not None
    assert (again.image, again.objects, again.arena, again.inputs, again.parallel) == (
        code.image,
        code.objects,
        code.arena,
        code.inputs,
        True,
    )
    for (offset, array), (other_offset, other) in zip(again.constants, constants, strict=True):
        assert offset == other_offset
        np.testing.assert_array_equal(array, other)
        assert array.dtype == other.dtype


def test_a_change_of_any_source_of_the_compiler_changes_the_key(tmp_path: Path) -> None:
    room = Path(native.__file__).parent
    sources = cache._sources_fingerprint()
    assert all(f"'{path.name}', {path.stat().st_size}, " in sources for path in room.rglob("*.py"))
    inner = tmp_path / "plan" / "inner"
    inner.mkdir(parents=True)
    before = list(cache._source_files(tmp_path))
    (inner / "fusion.py").write_text("FUSED = 1")
    after = list(cache._source_files(tmp_path))
    assert before == []
    assert [mark[:2] for mark in after] == [("fusion.py", 9)]


def test_an_op_from_elsewhere_is_not_cached(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its emitter may change without the sources that the key covers."""
    from glassgrad.backends.native.kernels.elementwise import ELEMENTWISE

    monkeypatch.setitem(ELEMENTWISE, "tanh", lambda f, node, args: args[0])
    x = make_input("x", (3,), "float32")
    program = Program("own", 1, (Input("x", "state", x),), {}, (Output("y", ops.tanh(x)),))
    native.NativeBackend().compile(program)
    assert entries(home) == []
