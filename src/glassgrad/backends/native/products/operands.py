"""The operands of a matrix product in memory, and the type of the callback that adds a term to its sums."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from glassgrad.backends.native.ir.function import Function
from glassgrad.backends.native.ir.panels import in_panel
from glassgrad.backends.native.ir.types import Reg
from glassgrad.backends.native.plan.tiling import ProductPlan


@dataclass(frozen=True)
class Operands:
    """The addresses of a product's operands and of its scratch memory.

    ``row_addresses`` is a table with the address of each stored row of A, if the rows are not contiguous; nothing
    beyond the end of such a row is read. ``background`` is the value of most elements of A, set if ``plan.has_base``.
    ``panel`` is the number of columns in a panel of B (see ``Buffer``), or 0 if B is row-major.
    """

    a: Reg
    b: Reg
    scratch: Reg
    row_addresses: Reg | None = None
    background: Reg | None = None
    panel: int = 0

    def column(self, f: Function, plan: ProductPlan, column: Reg) -> tuple[Reg, int]:
        """The address of ``column`` of B, and the distance between rows in elements."""
        product = plan.product
        if not self.panel:
            return f.at(self.b, product.element, column), product.n
        return f.at(self.b, product.element, in_panel(f, self.panel, product.k, column)), self.panel


# Maps (p, u, sums) to the sums with the term of k = p + u added.
AddTerm = Callable[[Reg, int, list[Reg]], list[Reg]]
