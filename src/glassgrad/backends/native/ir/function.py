"""A builder for one function of LLVM IR, as text, with typed registers, loops, and vectors of any width.

Text is the fastest way from Python to LLVM, and ``inspect`` shows exactly the text that is compiled.

This is one file because every method emits instructions into the same function body.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from glassgrad.backends.native.ir.types import Reg, literal, vector

# Instructions that are emitted once and then shared: address arithmetic and splats. Float arithmetic is not shared:
# LLVM fuses a product into a multiply-add only if the product has a single reader.
_SHARED_INSTRUCTIONS = (
    "getelementptr ",
    "add i64 ",
    "sub i64 ",
    "mul i64 ",
    "insertelement ",
    "shufflevector ",
)

# The only fast-math flag in use: a * b + c may become one fused instruction on machines that have it.
CONTRACT = "contract"


class Function:
    """One function of LLVM IR. Methods append instructions; loops and branches are context managers."""

    def __init__(self, name: str, parameters: Sequence[tuple[str, str]], *, attributes: str = "") -> None:
        """``parameters`` are (LLVM type with attributes, name)."""
        self.name = name
        # dso_local: all functions lie in one image, at fixed distances from one another.
        parameter_list = ", ".join(f"{kind} %{p}" for kind, p in parameters)
        self._head = f"define dso_local void @{name}({parameter_list}) {attributes}"
        self._kinds = [kind.split()[0] for kind, _ in parameters]
        self._allocas: list[str] = []
        self.places: list[int] | None = None  # buffer offsets that the caller passes in a table, by first use
        self._lines: list[str] = []
        self._numbers = itertools.count()
        self._shared: dict[str, Reg] = {}  # instruction -> result, where it can be shared at this point
        self.block = "entry"
        self.declared: set[str] = set()  # declarations of the intrinsics used

    @property
    def size(self) -> int:
        """The number of lines."""
        return len(self._lines)

    @property
    def declaration(self) -> str:
        """The declaration of the function for another module."""
        return f"declare dso_local void @{self.name}({', '.join(self._kinds)})"

    def place(self, offset: int) -> Reg:
        """The address at ``offset`` in the arena: a constant offset, or (with ``places``) from the caller's table."""
        if self.places is None:
            return self.at(Reg("%arena", "ptr"), "i8", offset)
        if offset not in self.places:
            self.places.append(offset)
            n = self.places.index(offset)
            self._allocas += [
                f"  %p{n}.entry = getelementptr i64, ptr %places, i64 {n}",
                f"  %p{n}.offset = load i64, ptr %p{n}.entry, align 8, !invariant.load !0",
                f"  %p{n} = getelementptr i8, ptr %arena, i64 %p{n}.offset",
            ]
        return Reg(f"%p{self.places.index(offset)}", "ptr")

    def body(self) -> str:
        """The finished function without its name: equal bodies do the same."""
        return self._head.split("(", 1)[1] + "\n".join([*self._allocas, *self._lines])

    def text(self) -> str:
        """The finished function."""
        body = "\n".join([*self._allocas, *self._lines])
        return f"{self._head} {{\nentry:\n{body}\n  ret void\n}}\n"

    # --- instructions ------------------------------------------------------------------------------------

    def raw(self, line: str) -> None:
        """Append a line of IR."""
        self._lines.append("  " + line)

    def emit(self, kind: str, instruction: str) -> Reg:
        """Append ``%n = instruction`` and return register %n of type ``kind``; reuses an equal shared instruction."""
        is_shared = instruction.startswith(_SHARED_INSTRUCTIONS)
        if is_shared and instruction in self._shared:
            return self._shared[instruction]
        result = Reg(f"%r{next(self._numbers)}", kind)
        self._lines.append(f"  {result.text} = {instruction}")
        if is_shared:
            self._shared[instruction] = result
        return result

    def number(self, kind: str | Reg, number: float | int | bool) -> Reg:
        """A constant of type ``kind`` (or of the type of a register), in every lane."""
        kind = kind.type if isinstance(kind, Reg) else kind
        element = Reg("", kind).element
        text = literal(element, number)
        return Reg(f"splat ({element} {text})" if kind[0] == "<" else text, kind)

    def binary(self, op: str, a: Reg, b: Reg | float | int) -> Reg:
        """``op`` on two operands of one type; a Python number becomes a constant."""
        other = b if isinstance(b, Reg) else self.number(a, b)
        return self.emit(a.type, f"{op} {a.type} {a.text}, {other.text}")

    def fadd(self, a: Reg, b: Reg | float) -> Reg:
        """a + b."""
        return self.binary(f"fadd {CONTRACT}", a, b)

    def fsub(self, a: Reg, b: Reg | float) -> Reg:
        """a - b."""
        return self.binary(f"fsub {CONTRACT}", a, b)

    def fmul(self, a: Reg, b: Reg | float) -> Reg:
        """a * b."""
        return self.binary(f"fmul {CONTRACT}", a, b)

    def fdiv(self, a: Reg, b: Reg | float) -> Reg:
        """a / b."""
        return self.binary("fdiv", a, b)

    def fneg(self, a: Reg) -> Reg:
        """-a."""
        return self.emit(a.type, f"fneg {a.type} {a.text}")

    def muladd(self, a: Reg, b: Reg | float, c: Reg | float) -> Reg:
        """a * b + c, fused where the machine can (a chain of two contractible operations)."""
        return self.fadd(self.fmul(a, b), c)

    def add(self, a: Reg, b: Reg | int) -> Reg:
        """Integer a + b (wraps)."""
        return a if b == 0 else self.binary("add", a, b)

    def sub(self, a: Reg, b: Reg | int) -> Reg:
        """Integer a - b (wraps)."""
        return a if b == 0 else self.binary("sub", a, b)

    def mul(self, a: Reg, b: Reg | int) -> Reg:
        """Integer a * b (wraps)."""
        return a if b == 1 else self.binary("mul", a, b)

    def and_(self, a: Reg, b: Reg | int) -> Reg:
        """Bitwise and."""
        return self.binary("and", a, b)

    def or_(self, a: Reg, b: Reg | int) -> Reg:
        """Bitwise or."""
        return self.binary("or", a, b)

    def xor(self, a: Reg, b: Reg | int) -> Reg:
        """Bitwise exclusive or."""
        return self.binary("xor", a, b)

    def shl(self, a: Reg, b: Reg | int) -> Reg:
        """Shift to the left."""
        return self.binary("shl", a, b)

    def lshr(self, a: Reg, b: Reg | int) -> Reg:
        """Logical shift to the right: fills with zeros."""
        return self.binary("lshr", a, b)

    def ashr(self, a: Reg, b: Reg | int) -> Reg:
        """Arithmetic shift to the right: fills with the sign."""
        return self.binary("ashr", a, b)

    def compare(self, predicate: str, a: Reg, b: Reg | float | int) -> Reg:
        """A comparison, ``i1`` per lane: ``fcmp`` for floats (``olt``, ``une``), else ``icmp`` (``ult``, ``eq``)."""
        other = b if isinstance(b, Reg) else self.number(a, b)
        op = "fcmp" if a.element in ("float", "double") else "icmp"
        return self.emit(a.of("i1"), f"{op} {predicate} {a.type} {a.text}, {other.text}")

    def select(self, condition: Reg, a: Reg, b: Reg | float | int) -> Reg:
        """a where ``condition`` is true, else b."""
        other = b if isinstance(b, Reg) else self.number(a, b)
        kinds = f"{condition.type} {condition.text}, {a.type} {a.text}, {other.type} {other.text}"
        return self.emit(a.type, f"select {kinds}")

    def cast(self, op: str, a: Reg, element: str) -> Reg:
        """The cast ``op`` (``bitcast``, ``sitofp``, ``fptosi``, ``zext`` ...) to ``element``, lane by lane."""
        kind = a.of(element)
        return self.emit(kind, f"{op} {a.type} {a.text} to {kind}")

    def intrinsic(self, name: str, *operands: Reg, kind: str | None = None) -> Reg:
        """A call of ``llvm.<name>`` (``fabs``, ``sqrt`` ...), overloaded on the type of the first operand."""
        first = operands[0]
        suffix = {"float": "f32", "double": "f64"}.get(first.element, first.element)
        suffix = f"v{first.lanes}{suffix}" if first.lanes > 1 else suffix
        full = f"llvm.{name}.{suffix}"
        result = kind or first.type
        types = ", ".join(item.type for item in operands)
        self.declared.add(f"declare {result} @{full}({types})")
        arguments = ", ".join(f"{item.type} {item.text}" for item in operands)
        return self.emit(result, f"call {result} @{full}({arguments})")

    # --- lanes -----------------------------------------------------------------------------------------

    def splat(self, a: Reg, lanes: int) -> Reg:
        """A vector with the scalar ``a`` in every lane."""
        if lanes == 1:
            return a
        kind = vector(a.type, lanes)
        first_lane = self.emit(kind, f"insertelement {kind} poison, {a.type} {a.text}, i32 0")
        mask = f"<{lanes} x i32> zeroinitializer"
        return self.emit(kind, f"shufflevector {kind} {first_lane.text}, {kind} poison, {mask}")

    def iota(self, element: str, lanes: int) -> Reg:
        """0, 1, 2, ... as integers of type ``element``."""
        if lanes == 1:
            return self.number(element, 0)
        return Reg(f"<{', '.join(f'{element} {i}' for i in range(lanes))}>", vector(element, lanes))

    def lane_mask(self, lanes: int, count: int) -> Reg:
        """A mask that is true in the first ``count`` lanes."""
        if lanes == 1:
            return self.number("i1", count > 0)
        bits = ", ".join(f"i1 {'true' if i < count else 'false'}" for i in range(lanes))
        return Reg(f"<{bits}>", vector("i1", lanes))

    def fold_lanes(self, a: Reg, combine: Callable[[Reg, Reg], Reg]) -> Reg:
        """All lanes combined into a scalar, by halves: the shape of the tree depends on the number of lanes alone."""
        lanes = a.lanes
        while lanes > 1:
            half = lanes // 2
            low = self.shuffle(a, range(half))
            high = self.shuffle(a, range(half, lanes))
            a, lanes = combine(low, high), half
        return a

    def shuffle(self, a: Reg, order: Sequence[int], other: Reg | None = None) -> Reg:
        """The lanes ``order`` of ``a`` followed by ``other``; one lane of ``a`` alone is returned as a scalar."""
        if len(order) == 1 and other is None:
            return self.emit(a.element, f"extractelement {a.type} {a.text}, i32 {order[0]}")
        mask = ", ".join(f"i32 {i}" for i in order)
        kind = vector(a.element, len(order))
        second = other.text if other else "poison"
        return self.emit(
            kind, f"shufflevector {a.type} {a.text}, {a.type} {second}, <{len(order)} x i32> <{mask}>"
        )

    # --- memory ----------------------------------------------------------------------------------------

    def alloca(self, kind: str, count: int = 1) -> Reg:
        """A stack slot for ``count`` values (LLVM promotes it to a register if it can)."""
        name = f"%s{next(self._numbers)}"
        self._allocas.append(f"  {name} = alloca {kind}, i32 {count}, align 64")
        return Reg(name, "ptr")

    def at(self, base: Reg, element: str, index: Reg | int) -> Reg:
        """The address of ``base[index]`` in elements of type ``element``."""
        if isinstance(index, int):
            if index == 0:
                return base
            index = Reg(str(index), "i64")
        return self.emit("ptr", f"getelementptr {element}, ptr {base.text}, i64 {index.text}")

    def load(self, kind: str, address: Reg, align: int = 4) -> Reg:
        """Load a value of type ``kind``."""
        return self.emit(kind, f"load {kind}, ptr {address.text}, align {align}")

    def store(self, value: Reg, address: Reg, align: int = 4) -> None:
        """Store a value."""
        self.raw(f"store {value.type} {value.text}, ptr {address.text}, align {align}")

    def masked_store(self, value: Reg, address: Reg, mask: Reg, align: int = 4) -> None:
        """Store the lanes where ``mask`` is true; memory of the other lanes is not touched."""
        suffix = {"float": "f32", "double": "f64"}.get(value.element, value.element)
        name = f"llvm.masked.store.v{value.lanes}{suffix}.p0"
        self.declared.add(f"declare void @{name}({value.type}, ptr, i32 immarg, {mask.type})")
        self.raw(
            f"call void @{name}({value.type} {value.text}, ptr {address.text}, i32 {align}, "
            f"{mask.type} {mask.text})"
        )

    def copy(self, target: Reg, source: Reg, size: int) -> None:
        """Copy ``size`` bytes from ``source`` to ``target``, which must not overlap."""
        self.declared.add("declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)")
        self.raw(
            f"call void @llvm.memcpy.p0.p0.i64(ptr {target.text}, ptr {source.text}, i64 {size}, i1 false)"
        )

    def clear(self, target: Reg, size: int) -> None:
        """Set ``size`` bytes to zero."""
        self.declared.add("declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)")
        self.raw(f"call void @llvm.memset.p0.i64(ptr {target.text}, i8 0, i64 {size}, i1 false)")

    # --- control ---------------------------------------------------------------------------------------

    def label(self, name: str) -> str:
        """A new label that begins with ``name``."""
        return f"{name}{next(self._numbers)}"

    def start_block(self, name: str) -> None:
        """Begin the block ``name``, which may be entered from anywhere; the previous block must have ended."""
        self._shared.clear()
        self._begin(name)

    def _begin(self, name: str) -> None:
        self._lines.append(f"{name}:")
        self.block = name

    @contextmanager
    def _inside(self) -> Iterator[None]:
        """A part that may be skipped: instructions emitted in it are not shared after it."""
        shared_outside = self._shared
        self._shared = dict(shared_outside)
        yield
        self._shared = shared_outside

    @contextmanager
    def loop(self, stop: int | Reg, start: int | Reg = 0, step: int = 1) -> Iterator[Reg]:
        """``for i in range(start, stop, step)``, with at least one iteration. Yields ``i`` as an i64.

        A loop of one iteration is emitted without a loop, and ``i`` is a constant.
        """
        with self.loop_with([], stop, start, step) as (index, _):
            yield index

    @contextmanager
    def loop_with(
        self, values: Sequence[Reg], stop: int | Reg, start: int | Reg = 0, step: int = 1
    ) -> Iterator[tuple[Reg, list[Reg]]]:
        """A ``loop`` that carries values: yields the index and a list of registers.

        The body replaces the items of the list by the values for the next iteration. After the loop the items are the
        results.
        """
        carried = list(values)
        begin, end = (str(item) if isinstance(item, int) else item.text for item in (start, stop))
        if isinstance(stop, int) and isinstance(start, int) and start + step >= stop:
            yield Reg(begin, "i64"), carried
            return
        head, after = self.label("loop"), self.label("done")
        index, next_index = f"%i{next(self._numbers)}", f"%n{next(self._numbers)}"
        names = [f"%c{next(self._numbers)}" for _ in carried]
        carried[:] = [Reg(name, value.type) for name, value in zip(names, values, strict=True)]
        block_before = self.block
        self.raw(f"br label %{head}")
        self._begin(head)
        phi_line = len(self._lines)
        self._lines.append("")
        with self._inside():
            yield Reg(index, "i64"), carried
        self.raw(f"{next_index} = add nuw nsw i64 {index}, {step}")
        continues = self.emit("i1", f"icmp ult i64 {next_index}, {end}")
        self.raw(f"br i1 {continues.text}, label %{head}, label %{after}")
        self._lines[phi_line] = self._phis(block_before, (index, begin, next_index), names, values, carried)
        self._begin(after)

    @contextmanager
    def each_bit(self, word: Reg, values: Sequence[Reg]) -> Iterator[tuple[Reg, list[Reg]]]:
        """A loop over the set bits of an i64, the lowest first; it carries values as ``loop_with`` does."""
        head, inside, after = self.label("bits"), self.label("bit"), self.label("done")
        left, names = f"%b{next(self._numbers)}", [f"%c{next(self._numbers)}" for _ in values]
        results = [Reg(name, value.type) for name, value in zip(names, values, strict=True)]
        carried, before = list(results), self.block
        self.raw(f"br label %{head}")
        self._begin(head)
        phi_line = len(self._lines)
        self._lines.append("")
        any_left = self.emit("i1", f"icmp ne i64 {left}, 0")
        self.raw(f"br i1 {any_left.text}, label %{inside}, label %{after}")
        self._begin(inside)
        self.declared.add("declare i64 @llvm.cttz.i64(i64, i1)")
        with self._inside():
            bit = self.emit("i64", f"call i64 @llvm.cttz.i64(i64 {left}, i1 true)")
            yield bit, carried
        remaining = self.and_(Reg(left, "i64"), self.sub(Reg(left, "i64"), 1))
        self.raw(f"br label %{head}")
        self._lines[phi_line] = self._phis(before, (left, word.text, remaining.text), names, values, carried)
        self._begin(after)
        carried[:] = results

    def _phis(
        self,
        block_before: str,
        counter: tuple[str, str, str],
        names: Sequence[str],
        values: Sequence[Reg],
        carried: Sequence[Reg],
    ) -> str:
        """The phi nodes of a loop, for its i64 ``counter`` (name, first value, next value) and the carried values."""
        phis = [(counter[0], "i64", *counter[1:])]
        phis += [
            (name, first.type, first.text, following.text)
            for name, first, following in zip(names, values, carried, strict=True)
        ]
        return "\n".join(
            f"  {name} = phi {kind} [ {first}, %{block_before} ], [ {following}, %{self.block} ]"
            for name, kind, first, following in phis
        )

    @contextmanager
    def when(self, condition: Reg) -> Iterator[None]:
        """``if condition``, a scalar i1."""
        inside, after = self.label("then"), self.label("after")
        self.raw(f"br i1 {condition.text}, label %{inside}, label %{after}")
        self._begin(inside)
        with self._inside():
            yield
        self.raw(f"br label %{after}")
        self._begin(after)
