"""The plan of a matrix product: the size of its tiles, which operands are packed into panels, and the units.

The shapes alone decide. The measurements behind the choices are in the docstring of ``products.tiles``, which emits
the code.
"""

from __future__ import annotations

from dataclasses import dataclass

from glassgrad.backends.native.runtime.arguments import TICKETS_PER_KERNEL
from glassgrad.ops.op import ZERO

BYTES = {"float": 4, "double": 8}
PAGE = 4096  # bytes: rows this far apart compete for a few lines of the first cache
SKIPPING = 4  # least vectors in a row of C for which skipping the background of A pays
WORD = 64  # bits
SIDE = 4  # adjacent vectors that a unit of the base row sums together
LARGE = 1 << 20  # bytes that may exceed the second cache
UNIT = 1 << 18  # least multiply-adds that are worth a unit of their own
BLOCK = 512 << 10  # most bytes of A for the tiles of a unit: they read it repeatedly, from the second cache


@dataclass(frozen=True)
class Product:
    """C (m, n) = A (m, k) @ B (k, n), all row-major and contiguous.

    ``a_transposed``: A is stored (k, m). ``b_transposed``: B is stored (n, k). ``background``: the value of most
    elements of A, if known: ZERO, or the name of a hyperparameter (see ``products.sparse``).
    """

    m: int
    n: int
    k: int
    element: str = "float"
    a_transposed: bool = False
    b_transposed: bool = False
    background: str | None = None


@dataclass(frozen=True)
class ProductPlan:
    """The plan of a product: C in tiles of ``rows`` x ``vectors`` registers. A unit is part of a column of tiles."""

    product: Product
    lanes: int
    rows: int
    vectors: int
    pack_a: bool = False  # A (stored transposed) is first copied into panels as high as a tile
    pack_b: bool = False  # B is first copied or transposed into panels as wide as a tile
    row_block: int = 1  # tiles of a unit, one below the other
    blocks: int = 0  # the number of units along m, if the caller fixes it, else 0
    is_sparse: bool = False  # skips the k at which A equals its background

    @property
    def width(self) -> int:
        """Columns of a tile."""
        return self.vectors * self.lanes

    @property
    def columns(self) -> int:
        """Tiles side by side."""
        return ceil(self.product.n, self.width)

    @property
    def row_blocks(self) -> int:
        """Units along m; the last one has all remaining rows."""
        return self.blocks or max(1, ceil(self.product.m // self.rows, self.row_block))

    @property
    def units(self) -> int:
        """Independent pieces of C, fixed by the shapes."""
        return self.row_blocks * self.columns

    @property
    def folded(self) -> bool:
        """Whether C is one column and A's rows are contiguous: the lanes run along k and are summed at the end."""
        return self.product.n == 1 and self.lanes > 1 and not self.product.a_transposed

    @property
    def upright(self) -> bool:
        """Whether C is one column and A's columns are contiguous: the lanes run along the rows of C."""
        return self.product.n == 1 and self.lanes > 1 and self.product.a_transposed

    @property
    def has_base(self) -> bool:
        """Whether the sums of C start from the base row: the contribution of the background.

        It may differ from zero for two reasons. The background is not zero; or the product is a gradient (A is the
        batch, transposed), where B may hold Inf or NaN, and zero times Inf is NaN.
        """
        return self.is_sparse and (self.product.background != ZERO or self.product.a_transposed)

    @property
    def fetches(self) -> bool:
        """Whether the product prefetches rows of the next batch."""
        return self.is_sparse and self.product.a_transposed

    # --- scratch memory: the panels of B, those of A, the bits of a sparse A, and the base row ---------------

    @property
    def piece(self) -> int:
        """Lanes of a piece of a transposition: 16 bytes, at most a vector."""
        return min(self.lanes, 16 // BYTES[self.product.element])

    @property
    def depth(self) -> int:
        """Rows of a panel of B: k, rounded up to whole pieces."""
        return ceil(self.product.k, self.piece) * self.piece if self.product.b_transposed else self.product.k

    @property
    def b_size(self) -> int:
        """Elements of packed B."""
        return self.columns * self.width * self.depth if self.pack_b else 0

    @property
    def a_step(self) -> int:
        """Elements between the rows of a packed panel of A."""
        if self.rows < self.lanes:
            return 1 << (self.rows - 1).bit_length()
        return ceil(self.rows, self.lanes) * self.lanes

    @property
    def a_panels(self) -> int:
        """The number of packed panels of A."""
        return ceil(self.product.m, self.rows) if self.pack_a else 0

    @property
    def strip(self) -> int:
        """Rows of C whose bits one unit computes if A is stored transposed: the elements in 64 bytes."""
        return 64 // BYTES[self.product.element]

    @property
    def words(self) -> int:
        """Words of bits per row of tiles; a bit for each k."""
        return ceil(self.product.k, WORD)

    @property
    def tall(self) -> int:
        """The number of rows of tiles."""
        return ceil(self.product.m, self.rows)

    @property
    def bits_start(self) -> int:
        """The offset of the bits in bytes."""
        elements = self.b_size + self.a_panels * self.a_step * self.product.k
        return ceil(elements * BYTES[self.product.element], 64) * 64

    @property
    def base_start(self) -> int:
        """The offset of the base row in bytes. Strips of bits are stored whole."""
        rows = self.bit_units * (self.strip // self.rows) if self.product.a_transposed else self.tall
        return self.bits_start + (ceil(rows * self.words * 8, 64) * 64 if self.is_sparse else 0)

    @property
    def scratch_bytes(self) -> int:
        """Bytes of scratch memory, a multiple of 64. Its address must be a multiple of 64 too."""
        base = ceil(self.product.n * BYTES[self.product.element], 64) * 64 + 64
        return self.base_start + (base if self.has_base else 0)

    @property
    def bit_units(self) -> int:
        """Independent units of computing the bits: rows of tiles, or strips of them."""
        if not self.is_sparse:
            return 0
        return ceil(self.product.m, self.strip) if self.product.a_transposed else self.tall

    @property
    def base_units(self) -> int:
        """Independent units of computing the base row: ``SIDE`` vectors each."""
        return ceil(self.product.n, SIDE * self.lanes) if self.has_base else 0

    @property
    def b_pack_units(self) -> int:
        """Independent units of packing B: strips one vector wide if it is transposed, else panels."""
        if not self.pack_b:
            return 0
        return ceil(self.product.n, self.lanes) if self.product.b_transposed else self.columns

    @property
    def pack_units(self) -> int:
        """Independent units of all packing; 0 if nothing is packed."""
        return self.b_pack_units + self.a_panels + self.bit_units + self.base_units

    def __str__(self) -> str:
        p = self.product
        form = "NT"[p.a_transposed] + "NT"[p.b_transposed]
        if self.folded or self.upright:
            how = f"{self.rows} rows at a time, lanes along {'k' if self.folded else 'the rows'}"
        else:
            packed = " and ".join(name for name, used in (("A", self.pack_a), ("B", self.pack_b)) if used)
            how = f"tiles of {self.rows} rows x {self.vectors} vectors of {self.lanes}"
            how += f", {packed} packed ({self.scratch_bytes} bytes)" if packed else ""
            how += f", only where A is not {self.product.background}" if self.is_sparse else ""
        units = (
            f"{self.units} unit{'s' * (self.units > 1)} of {self.row_block} tile{'s' * (self.row_block > 1)}"
        )
        return f"{form} {p.m} x {p.k} x {p.n} {p.element}: {how}, {units}"


def ceil(count: int, size: int) -> int:
    """The number of pieces of ``size`` that hold ``count``: count / size, rounded up."""
    return -(-count // size)


# --- choosing --------------------------------------------------------------------------------------------


def plan_product(product: Product, vector_bytes: int, height: int = 0, blocks: int = 0) -> ProductPlan:
    """The plan for ``product`` on a machine with vectors of ``vector_bytes`` bytes, by the shapes alone.

    With ``blocks`` the plan has that many units along m, each but the last of ``height`` rows, a multiple of 16.
    """
    m, n, k, size = product.m, product.n, product.k, BYTES[product.element]
    lanes = max(1, vector_bytes // size)
    if product.background is not None and not blocks and _skips(product, lanes):
        return _sparse_plan(product, vector_bytes, lanes)
    if n == 1 and lanes > 1:
        rows, vectors = min(m, 8, lanes if product.a_transposed else 8), 1
    else:
        rows, vectors = _tile(product, lanes, vector_bytes, height)
    pack_a, pack_b = (False, False) if n == 1 and lanes > 1 else _packs(product, size)
    if blocks:
        return ProductPlan(product, lanes, rows, vectors, pack_a, pack_b, height // rows, blocks)
    tiles = max(1, m // rows)
    block = min(tiles, max(1, BLOCK // (rows * k * size)))
    block = ceil(tiles, ceil(tiles, block))
    columns = ceil(n, vectors * lanes)
    while block > 1 and ceil(tiles, block) * columns < 8 and block * rows * vectors * lanes * k >= 2 * UNIT:
        block = ceil(block, 2)
    return ProductPlan(product, lanes, rows, vectors, pack_a, pack_b, block)


def _skips(product: Product, lanes: int) -> bool:
    """Whether skipping the background of A pays."""
    return product.n > 1 and product.n >= SKIPPING * lanes and not product.b_transposed


def _sparse_plan(product: Product, vector_bytes: int, lanes: int) -> ProductPlan:
    """Low tiles of few vectors. Wider tiles read A less often, but then threads share columns of B."""
    m, n, size = product.m, product.n, BYTES[product.element]
    rows, vectors = 2 if product.a_transposed else 4, min(4 if vector_bytes == 64 else 2, ceil(n, lanes))
    columns = ceil(n, vectors * lanes)
    pack_b = product.a_transposed and columns > 1 and n * size % (PAGE // 2) == 0
    block = ceil(ceil(m, rows), max(1, TICKETS_PER_KERNEL // columns))
    return ProductPlan(product, lanes, rows, vectors, pack_b=pack_b, row_block=block, is_sparse=True)


def _packs(product: Product, size: int) -> tuple[bool, bool]:
    """Whether to pack A, and whether to pack B: whether that is cheaper than reading the operand where it lies.

    ``size`` is the bytes of an element.
    """
    m, n, k = product.m, product.n, product.k
    a_is_slow = (k >= 128 and m * size % PAGE == 0) or (m * k * size >= LARGE and m * size % (PAGE // 2) == 0)
    pack_a = product.a_transposed and n >= 64 and a_is_slow
    b_is_slow = (k >= 128 and n * size % PAGE == 0) or (n * k * size >= 3 * LARGE and m >= 256)
    pack_b = k > 1 if product.b_transposed else m >= 64 and b_is_slow
    return pack_a, pack_b


def _tile(product: Product, lanes: int, vector_bytes: int, height: int) -> tuple[int, int]:
    """Rows and vectors of the cheapest tile that fits into the registers, and whose rows divide ``height``."""
    registers = 32 if vector_bytes == 64 else 16
    spare = 1 if vector_bytes >= 32 else 2  # without fused multiply-add, a product needs a register too
    choices = [
        (_cost(product, lanes, rows, vectors), rows, vectors)
        for vectors in range(1, min(8, ceil(product.n, lanes)) + 1)
        for rows in range(1, min(product.m, 8 if product.m > 14 and vectors > 1 else 16) + 1)
        if rows * vectors + vectors + spare <= registers and height % rows == 0
    ]
    return min(choices)[1:]


def _cost(product: Product, lanes: int, rows: int, vectors: int) -> float:
    """Estimated cycles: two multiply-adds or two loads per cycle, more for loads of B, and a constant per tile.

    Each distinct body of code adds 5 %, since it has to be compiled.
    """
    width = vectors * lanes
    heights = [(rows, product.m // rows), (product.m % rows, 1)]
    widths = [(vectors, product.n // width), (ceil(product.n % width, lanes), 1)]
    cycles, bodies = 0.0, 0
    for r, down in heights:
        for v, across in widths:
            if r * v * down * across:
                bodies += 1
                iteration = max(r * v, r + v) / 2 + 0.05 * r + 0.5 * v
                cycles += down * across * (iteration * product.k + r * v + 10)
    return cycles * (1 + 0.05 * bodies)
