"""Matrix products of the native backend: values, remainders, forms, packing, units, and memory accesses."""

from __future__ import annotations

import dataclasses
import itertools
import platform
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glassgrad.backends.native.ir.compiler import compile_text
from glassgrad.backends.native.ir.function import Function
from glassgrad.backends.native.ir.types import Reg
from glassgrad.backends.native.plan.tiling import Product, ProductPlan, plan_product
from glassgrad.backends.native.products.operands import Operands
from glassgrad.backends.native.products.tiles import Tile, emit_pack, emit_product
from glassgrad.backends.native.runtime.machine import Library, host, machine

DTYPE = {"float": np.float32, "double": np.float64}
HOST = host().vector_bytes
FORMS = [(False, False), (False, True), (True, False), (True, True)]
X86 = platform.machine() in ("x86_64", "AMD64")


def storing(f: Function, c: Reg, product: Product, tiles: list[Tile]) -> Callable[[Tile], None]:
    def finish(tile: Tile) -> None:
        tiles.append(tile)
        assert len(tile.values) == tile.rows
        for i, values in enumerate(tile.values):
            row = f.add(f.mul(f.add(tile.row, i), product.n), tile.column)
            for (offset, lanes, mask), value in zip(tile.vectors, values, strict=True):
                assert value.lanes == lanes
                place = f.at(f.at(c, product.element, row), product.element, offset)
                if mask is None:
                    f.store(value, place)
                else:
                    f.masked_store(value, place, mask)

    return finish


def text_of(chosen: ProductPlan) -> tuple[str, list[Tile]]:
    """``pack`` and ``run``, each for a range of units."""
    texts, tiles, declared = [], list[Tile](), set[str]()
    first, last = Reg("%first", "i64"), Reg("%last", "i64")
    for name in ("pack", "run"):
        f = Function(name, [("ptr noalias", p) for p in "abcs"] + [("i64", "first"), ("i64", "last")])
        a, b, c, scratch = (Reg(f"%{p}", "ptr") for p in "abcs")
        if name == "pack":
            emit_pack(f, chosen, Operands(a, b, scratch), first=first, last=last)
        else:
            finish = storing(f, c, chosen.product, tiles)
            emit_product(f, chosen, Operands(a, b, scratch), finish, first=first, last=last)
        texts.append(f.text())
        declared |= f.declared
    return "\n".join([*texts, *sorted(declared)]), tiles


@cache
def compiled(chosen: ProductPlan, target: str = "host") -> Library:
    return Library(compile_text(text_of(chosen)[0], machine(target)))


def placed(values: np.ndarray) -> np.ndarray:
    """A copy on a cache line, with NaN in the 64 bytes behind it, which may be read."""
    raw = np.full(values.nbytes + 128, 0xFF, np.uint8)
    start = -raw.ctypes.data % 64
    copy = raw[start : start + values.nbytes].view(values.dtype).reshape(values.shape)
    copy[...] = values
    return copy


def matrices(product: Product) -> tuple[np.ndarray, np.ndarray]:
    """A and B as (m, k) and (k, n)."""
    random = np.random.default_rng(product.m * 10007 + product.n * 101 + product.k)
    a = random.standard_normal((product.m, product.k)).astype(DTYPE[product.element])
    b = random.standard_normal((product.k, product.n)).astype(DTYPE[product.element])
    return a, b


def computed(
    chosen: ProductPlan, target: str = "host", cuts: tuple[int, ...] = (), pack_cuts: tuple[int, ...] = ()
) -> np.ndarray:
    """C, with the units (and the packing) split at ``cuts``; checks that nothing else is written."""
    product = chosen.product
    a, b = matrices(product)
    a, b = placed(a.T if product.a_transposed else a), placed(b.T if product.b_transposed else b)
    c = placed(np.full(product.m * product.n + 64, 7, a.dtype))
    scratch = placed(np.full(chosen.scratch_bytes + 64, 9, np.uint8))
    library = compiled(chosen, target)
    pointers = [array.ctypes.data for array in (a, b, c, scratch)]
    for name, ends in (("pack", (0, *pack_cuts, chosen.pack_units)), ("run", (0, *cuts, chosen.units))):
        call = library.function(name, 6)
        for first, last in reversed(list(itertools.pairwise(ends))):
            call(*pointers, first, last)
    assert (c[product.m * product.n :] == 7).all(), "written behind C"
    assert (scratch[chosen.scratch_bytes :] == 9).all(), "written behind the scratch memory"
    return c[: product.m * product.n].reshape(product.m, product.n)


def assert_right(chosen: ProductPlan, target: str = "host", **cuts: tuple[int, ...]) -> None:
    a, b = (x.astype(np.float64) for x in matrices(chosen.product))
    limit = chosen.product.k * np.finfo(DTYPE[chosen.product.element]).eps * (np.abs(a) @ np.abs(b))
    wrong = ~(np.abs(computed(chosen, target, **cuts) - a @ b) <= limit)
    assert not wrong.any(), f"{chosen}: wrong at {np.argwhere(wrong)[:4].tolist()}"


SHAPES = [  # m, n, k: dense layers, one row, one column, everything odd, more than one unit each way
    (32, 32, 64),
    (32, 10, 32),
    (1, 64, 64),
    (1, 1, 1),
    (7, 1, 19),
    (40, 1, 33),
    (10, 3, 1),
    (17, 17, 10),
    (33, 49, 19),
    (130, 140, 50),
    (200, 48, 600),
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", SHAPES)
def test_values_on_this_machine(shape: tuple[int, int, int], form: tuple[bool, bool]) -> None:
    assert_right(plan_product(Product(*shape, "float", *form), HOST))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", [(32, 10, 32), (7, 1, 19), (33, 49, 19)])
def test_values_in_double_precision(shape: tuple[int, int, int], form: tuple[bool, bool]) -> None:
    assert_right(plan_product(Product(*shape, "double", *form), HOST))


@settings(max_examples=40, deadline=None)
@given(
    m=st.integers(1, 40),
    n=st.integers(1, 40),
    k=st.integers(1, 40),
    element=st.sampled_from(["float", "double"]),
    form=st.sampled_from(FORMS),
    width=st.sampled_from([size for size in (4, 8, 16, 32, 64) if size <= HOST]),
)
def test_odd_shapes_at_any_width(
    m: int, n: int, k: int, element: str, form: tuple[bool, bool], width: int
) -> None:
    assert_right(plan_product(Product(m, n, k, element, *form), width))


@pytest.mark.skipif(not X86, reason="runs code for x86-64")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["avx2", "sse2"])
def test_values_of_narrower_machines(name: str, form: tuple[bool, bool]) -> None:
    if machine(name).vector_bytes > HOST:
        pytest.skip(f"this processor has no {name}")
    for shape in ((32, 10, 32), (19, 21, 23), (9, 1, 30)):
        assert_right(plan_product(Product(*shape, "float", *form), machine(name).vector_bytes), name)


@pytest.mark.parametrize("form", FORMS)
def test_code_for_another_architecture_compiles(form: tuple[bool, bool]) -> None:
    target = machine("aarch64")
    for shape in ((32, 10, 32), (19, 21, 23), (9, 1, 30)):
        assert compile_text(
            text_of(plan_product(Product(*shape, "float", *form), target.vector_bytes))[0], target
        )


@pytest.mark.parametrize("rows", [3, 8, 18])
@pytest.mark.parametrize("form", [(False, False), (True, False), (True, True)])
def test_packed_operands_give_the_bits_of_unpacked_ones(rows: int, form: tuple[bool, bool]) -> None:
    chosen = dataclasses.replace(
        plan_product(Product(45, 83, 29, "float", *form), HOST), rows=rows, vectors=1
    )
    packed = dataclasses.replace(chosen, pack_a=form[0], pack_b=True)
    assert packed.pack_units > 1
    assert_right(packed)
    np.testing.assert_array_equal(computed(packed), computed(chosen))


@given(data=st.data())
@settings(max_examples=25, deadline=None)
@pytest.mark.parametrize("form", FORMS)
def test_units_can_be_split_anywhere(form: tuple[bool, bool], data: st.DataObject) -> None:
    chosen = plan_product(Product(150, 211, 301, "float", *form), HOST)
    chosen = dataclasses.replace(chosen, row_block=4, pack_a=form[0], pack_b=True)
    assert min(chosen.units, chosen.pack_units) > 3
    cuts = data.draw(st.lists(st.integers(0, chosen.units), max_size=3).map(sorted))
    pack_cuts = data.draw(st.lists(st.integers(0, chosen.pack_units), max_size=3).map(sorted))
    split = computed(chosen, cuts=tuple(cuts), pack_cuts=tuple(pack_cuts))
    np.testing.assert_array_equal(split, computed(chosen))


def test_a_subset_of_the_units_writes_only_its_own_output() -> None:
    chosen = dataclasses.replace(plan_product(Product(64, 96, 20), HOST), row_block=2)
    a, b = (placed(x) for x in matrices(chosen.product))
    call = compiled(chosen).function("run", 6)
    written = np.zeros((64, 96), int)
    for unit in range(chosen.units):
        c = placed(np.full((64, 96), np.nan, np.float32))
        call(a.ctypes.data, b.ctypes.data, c.ctypes.data, c.ctypes.data, unit, unit + 1)
        written += ~np.isnan(c)
    assert chosen.units > 4
    assert (written == 1).all()


def test_usual_sizes_have_one_body_and_no_packing() -> None:
    for m, n, k in ((32, 32, 64), (32, 64, 64), (64, 128, 784), (128, 512, 512)):
        chosen = plan_product(Product(m, n, k), HOST)
        assert len(text_of(chosen)[1]) == 1
        assert chosen.scratch_bytes == 0


def test_the_plan_is_readable() -> None:
    text = str(plan_product(Product(32, 64, 10, "float", False, True), 64))
    assert text == (
        "NT 32 x 10 x 64 float: tiles of 8 rows x 2 vectors of 16, B packed (3072 bytes), 2 units of 4 tiles"
    )


def test_equal_addresses_are_shared_only_where_they_are_always_computed() -> None:
    f = Function("run", [("ptr", "a"), ("i64", "n")])
    a, n = Reg("%a", "ptr"), Reg("%n", "i64")
    outside = f.at(a, "float", f.add(n, 1))
    with f.when(f.compare("ult", n, 4)):
        assert f.at(a, "float", f.add(n, 1)) == outside
        inside = f.at(a, "float", f.add(n, 2))
        assert f.at(a, "float", f.add(n, 2)) == inside
    assert f.at(a, "float", f.add(n, 2)) != inside  # the branch may not have been taken
    number = f.number("float", 2.0)
    # Products of floats are not shared: LLVM fuses a product only if it has a single reader.
    assert f.fmul(number, number) != f.fmul(number, number)
