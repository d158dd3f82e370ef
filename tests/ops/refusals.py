"""Inputs and attributes that the shape rule of each op must reject."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from glassgrad.graph.node import DType, Type


@dataclass(frozen=True)
class Refusal:
    """Input types and attributes that ``op`` must reject."""

    op: str
    types: tuple[Type, ...]
    attributes: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.op}({', '.join(map(str, self.types))})"


def _type(text: str) -> Type:
    """The type that a text such as ``f32 3 5`` stands for."""
    name, *extents = text.split()
    dtypes: dict[str, DType] = {
        "f32": "float32",
        "f64": "float64",
        "i32": "int32",
        "u32": "uint32",
        "bool": "bool",
    }
    return Type(tuple(map(int, extents)), dtypes[name])


def refusals() -> list[Refusal]:
    def no(op: str, *types: str, **attributes: Any) -> Refusal:
        return Refusal(op, tuple(map(_type, types)), attributes)

    numbers = ["add", "subtract", "multiply", "divide", "power", "maximum", "minimum"]
    numbers += ["less", "less_equal", "greater", "greater_equal", "equal"]
    floats = ["exp", "log", "log1p", "expm1", "tanh", "sigmoid", "erf", "sqrt", "sin", "cos"]
    floats += ["absolute", "sign", "floor", "is_finite"]
    return [
        *(no(op, "f32 3", "f32 4") for op in numbers),
        *(no(op, "f32 3", "f64 3") for op in numbers),
        *(no(op, "bool 3", "bool 3") for op in numbers),
        *(no(op, "i32 3") for op in floats),
        no("negate", "bool 3"),
        no("logical_and", "f32 3", "f32 3"),
        no("logical_or", "bool 3", "bool 2"),
        no("logical_not", "i32 3"),
        no("shift_right", "i32 3", "i32 3"),
        no("select", "f32 3", "f32 3", "f32 3"),
        no("select", "bool 3", "f32 3", "f64 3"),
        no("select", "bool 3", "f32 4", "f32 4"),
        no("broadcast", "f32 3", shape=(2, 4), axes=(1,)),
        no("broadcast", "f32 3 4", shape=(4, 3), axes=(1, 0)),
        no("sum", "f32 3", axes=(1,)),
        no("sum", "bool 3", axes=(0,)),
        no("max", "f32 3 4", axes=(0, 2)),
        no("argmax", "bool 3", axis=0),
        no("argmax", "f32 3", axis=1),
        no("cumsum", "f32 3", axis=1),
        no("cumsum", "bool 3", axis=0),
        no("reshape", "f32 3 4", shape=(5, 2)),
        no("transpose", "f32 3 4", order=(0, 0)),
        no("reverse", "f32 3", axis=1),
        no("slice", "f32 3", starts=(2,), stops=(4,), steps=(1,)),
        no("slice", "f32 3", starts=(0, 0), stops=(1, 1), steps=(1, 1)),
        no("pad", "f32 3", before=(-1,), after=(0,), inner=(0,)),
        no("pad", "f32 3", before=(1, 1), after=(0, 0), inner=(0, 0)),
        no("concatenate", "f32 3 4", "f32 2 5", axis=0),
        no("concatenate", "f32 3", "f64 3", axis=0),
        no("convert", "f32 3", dtype="float16"),
        no("gather_rows", "f32 3 4", "f32 2"),
        no("gather_rows", "f32", "i32 2"),
        no("scatter_add_rows", "i32 3", "f32 4 2", rows=5),
        no("one_hot", "f32 3", classes=4, dtype="float32"),
        no("top_k", "f32 3", k=4),
        no("top_k", "i32 3", k=1),
        no("iota", size=0, dtype="int32"),
        no("constant", value=np.zeros(3, np.int8)),
        no("matmul", "f32 3 4", "f32 5 3"),
        no("matmul", "f32 3", "f32 3"),
        no("matmul", "f32 2 3 4", "f32 3 4 2"),
        no("matmul", "i32 3 4", "i32 4 3"),
        no("random_bits", "u32", "u32", "u32 3", stream=0, shape=()),
        no("random_bits", "u32 2", "u32", "i32 3", stream=0, shape=()),
        no("windows", "f32 2 4 4 1", size=(5, 1), stride=(1, 1)),
        no("windows", "f32 4 4", size=(1, 1), stride=(1, 1)),
        no("fold_windows", "f32 2 3 3 2 2 1", image=(9, 9), stride=(1, 1)),
        no("fold_windows", "f32 2 3 3", image=(9, 9), stride=(1, 1)),
    ]


REFUSALS = tuple(refusals())

# Ops that accept any type. scan and call are tested with their bodies.
REFUSES_NOTHING = ("input", "stop_gradient", "scan", "call")
