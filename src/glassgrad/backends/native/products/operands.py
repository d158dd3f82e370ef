"""What the code of a product works on: where its operands lie, and how a sum grows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from glassgrad.backends.native.ir.function import Function
from glassgrad.backends.native.ir.panels import in_panel
from glassgrad.backends.native.ir.types import Reg
from glassgrad.backends.native.plan.tiling import ProductPlan


@dataclass(frozen=True)
class Operands:
    """Where the operands of a product are, and its workspace.

    ``row_addresses`` is a table of the address of each row of A as it is stored, where the rows do not lie one behind
    the other: nothing behind such a row is read. ``background`` is what most elements of A are, where
    ``plan.has_base``. ``panel`` is the number of columns in a panel of B (see ``Buffer``); 0: B lies row by row.
    """

    a: Reg
    b: Reg
    scratch: Reg
    row_addresses: Reg | None = None
    background: Reg | None = None
    panel: int = 0

    def column(self, f: Function, plan: ProductPlan, column: Reg) -> tuple[Reg, int]:
        """Where ``column`` of B begins, and how many elements lie from row to row."""
        product = plan.product
        if not self.panel:
            return f.at(self.b, product.element, column), product.n
        return f.at(self.b, product.element, in_panel(f, self.panel, product.k, column)), self.panel


# (p, u, sums) to the sums with the term of k = p + u added.
AddTerm = Callable[[Reg, int, list[Reg]], list[Reg]]
