"""The matrix products of a graph: the plan of each, and its requirements on the memory of its operands."""

from __future__ import annotations

import math

from glassgrad.backends.native.ir.types import ELEMENT
from glassgrad.backends.native.plan.fusion import Group, look_through, operand
from glassgrad.backends.native.plan.items import PlannedKernel
from glassgrad.backends.native.plan.memory import memory_of
from glassgrad.backends.native.plan.tiling import UNIT, Product, ProductPlan, plan_product
from glassgrad.graph.node import Node, Value


def product_of(node: Node) -> Product:
    """The shape of a matrix product; for a batched product, that of one product of the batch."""
    a_transposed, b_transposed = (operand(value)[1] for value in node.inputs)
    m, n = node.types[0].shape[-2:]
    background = None if len(node.types[0].shape) > 2 else background_of(node)
    return Product(
        m, n, node.inputs[0].shape[-1], ELEMENT[node.types[0].dtype], a_transposed, b_transposed, background
    )


def background_of(node: Node) -> str | None:
    """The background of a product's first operand (the value of most of its elements), if it is an input with one."""
    a = memory_of(operand(node.inputs[0])[0]).node
    return a.attributes.get("background") if a.op.name == "input" else None


def plan_of(kernel: PlannedKernel, node: Node, vector_bytes: int) -> ProductPlan:
    """The plan of the product ``node`` of ``kernel``."""
    return plan_product(product_of(node), vector_bytes, kernel.block, kernel.blocks)


def scratch_bytes(kernel: PlannedKernel, vector_bytes: int) -> int:
    """The size of the scratch memory that a kernel needs."""
    products = [node for node in kernel.group.nodes if node.op.name == "matmul"]
    return sum(plan_of(kernel, node, vector_bytes).scratch_bytes for node in products)


def can_read_in_place(kernel: PlannedKernel, node: Node, vector_bytes: int) -> bool:
    """Whether ``node`` of ``kernel`` is a product that can read A through a table of row addresses."""
    if node.op.name != "matmul" or len(node.types[0].shape) != 2:
        return False
    plan = plan_of(kernel, node, vector_bytes)
    return not (plan.folded or plan.upright or plan.pack_a)


def panel_width(kernel: PlannedKernel, value: Value, vector_bytes: int) -> int:
    """The number of columns of the matrix ``value`` that a unit of ``kernel`` covers; 0 if it cannot lie in panels.

    ``value`` may be the second operand of a product, or an operand in its epilogue.
    """
    group, product = kernel.group, product_in(kernel.group)
    if group.kind != "product" or product is None or kernel.blocks:
        return 0
    plan = plan_of(kernel, product, vector_bytes)
    size = math.prod(product.types[0].shape) * product.inputs[0].shape[-1]
    if size < UNIT or plan.columns < 2 or plan.folded or plan.upright:
        return 0
    for node in group.nodes:
        if node is product:
            (a, _), (b, b_transposed) = map(operand, node.inputs)
            if memory_of(a) is value or (
                memory_of(b) is value and (b is not value or b_transposed or plan.pack_b)
            ):
                return 0
            continue
        for operand_value in node.inputs:
            source = look_through(operand_value).value
            if memory_of(source) is value and (
                source is not value or group.kind_of(node) != "m" or value.shape != group.shape
            ):
                return 0
    return plan.width


def product_in(group: Group) -> Node | None:
    """The matrix product of a group, if it has one."""
    return next((node for node in group.nodes if node.op.name == "matmul"), None)
