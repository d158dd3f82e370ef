"""scan: a body of graph, run once per step, that carries values from step to step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from glassgrad.common.errors import GraphError
from glassgrad.graph.node import Graph, Type, Value
from glassgrad.graph.rebuild import inline
from glassgrad.ops.op import Context, Maybe, Op, Rule, expect, make_input, record
from glassgrad.ops.structure import zeros_like

# Inputs of a scan, and of its body: carries, sequences (body: one element of each), constants.
# Outputs: the last carries, the stacked results, and the stacked carries as each step found them. The last
# group costs memory only, and saves the derivative from running the forward pass once more.


def _infer_scan(
    types: Sequence[Type], attributes: Mapping[str, Any], regions: Sequence[Graph]
) -> tuple[Type, ...]:
    (body,), length = regions, attributes["length"]
    carries, sequences = attributes["carries"], attributes["sequences"]
    stacked = types[carries : carries + sequences]
    expect(all(item.shape[:1] == (length,) for item in stacked), f"every sequence needs {length} elements")
    elements = [Type(item.shape[1:], item.dtype) for item in stacked]
    wanted = [*types[:carries], *elements, *types[carries + sequences :]]
    expect([value.type for value in body.inputs] == wanted, "the body's inputs do not fit")
    given = [value.type for value in body.outputs]
    expect(given[:carries] == wanted[:carries], "the body must give its carries back with the same types")
    results = [Type((length, *item.shape), item.dtype) for item in given[carries:]]
    history = [Type((length, *item.shape), item.dtype) for item in wanted[:carries]]
    return (*given[:carries], *results, *history)


def _reference(
    *arrays: np.ndarray,
    length: int,
    carries: int,
    sequences: int,
    backwards: bool,
    regions: Sequence[Callable[..., Sequence[np.ndarray]]],
) -> tuple[np.ndarray, ...]:
    (body,) = regions
    carry = list(arrays[:carries])
    stacked, constants = arrays[carries : carries + sequences], arrays[carries + sequences :]
    found: list[list[np.ndarray]] = []
    order = range(length)[::-1] if backwards else range(length)
    for t in order:
        outputs = list(body(*carry, *(item[t] for item in stacked), *constants))
        found.append(outputs[carries:] + carry)
        carry = outputs[:carries]
    if backwards:
        found.reverse()
    return (*carry, *(np.stack(column) for column in zip(*found, strict=True)))


def _reverse(
    ctx: Context, cotangents: Sequence[Maybe], outputs: Sequence[Value], inputs: Sequence[Value]
) -> Sequence[Maybe]:
    """A scan in the other direction, whose body is the derivative of the body.

    It carries the cotangents of the carries and the sums for the constants; its sequences are the carries
    as each step found them, the elements, and the cotangents of results and history.
    """
    a, (body,) = ctx.attributes, ctx.node.regions
    carries, sequences, length = a["carries"], a["sequences"], a["length"]
    results = len(body.outputs) - carries
    history = outputs[carries + results :]
    filled = [
        ct if ct is not None else zeros_like(y) if y.type.is_float else None
        for ct, y in zip(cotangents, outputs, strict=True)
    ]
    floats = [i for i, value in enumerate(body.inputs) if value.type.is_float]
    moving = [i for i in floats if i < carries]
    shared = [i for i in floats if i >= carries + sequences]
    last = [filled[i] for i in moving]
    results_ct = [item for item in filled[carries : carries + results] if item is not None]
    history_ct = [filled[carries + results + i] for i in moving]

    def step(*given: Value) -> Sequence[Value]:
        values = iter(given)
        carry_ct = [next(values) for _ in moving]
        sums = [next(values) for _ in shared]
        here = [next(values) for _ in range(carries + sequences)]
        result_ct = [next(values) for _ in results_ct]
        found_ct = [next(values) for _ in moving]
        arguments = [*here, *values]
        calculated = inline(body, arguments)
        wanted: list[Maybe] = [None] * len(calculated)
        for i, ct in zip(moving, carry_ct, strict=True):
            wanted[i] = ct
        spots = [i for i in range(carries, len(calculated)) if calculated[i].type.is_float]
        for i, ct in zip(spots, result_ct, strict=True):
            wanted[i] = ct
        found = dict(zip(floats, ctx.vjp(calculated, wanted, [arguments[i] for i in floats]), strict=True))
        back = {i: ct if ct is not None else zeros_like(arguments[i]) for i, ct in found.items()}
        return [
            *(back[i] + ct for i, ct in zip(moving, found_ct, strict=True)),
            *(total + back[i] for i, total in zip(shared, sums, strict=True)),
            *(back[i] for i in floats if carries <= i < carries + sequences),
        ]

    carried = [item for item in last if item is not None] + [zeros_like(inputs[i]) for i in shared]
    stacked = [*history, *inputs[carries : carries + sequences], *results_ct]
    stacked += [item for item in history_ct if item is not None]
    final, per_step = scan(
        step, carried, stacked, inputs[carries + sequences :], length=length, backwards=not a["backwards"]
    )
    answers = dict(zip([*moving, *shared], final, strict=True))
    answers |= dict(zip([i for i in floats if carries <= i < carries + sequences], per_step, strict=True))
    return [answers.get(i) for i in range(len(inputs))]


SCAN = record(Op("scan", _infer_scan, _reference, Rule(_reverse), outputs=None))


def scan(
    body: Callable[..., Sequence[Value]],
    carry: Sequence[Value],
    sequences: Sequence[Value],
    constants: Sequence[Value] = (),
    *,
    length: int | None = None,
    backwards: bool = False,
) -> tuple[tuple[Value, ...], tuple[Value, ...]]:
    """Run ``body(*carry, *elements, *constants)`` for every element of ``sequences`` along their first axis.

    The body returns the new carries, then any results. Returns (last carries, stacked results). A value
    from outside must come in through ``constants``.
    """
    if length is None:
        if not sequences:
            raise GraphError("scan: needs a length or at least one sequence")
        length = sequences[0].shape[0]
    elements = [Type(item.shape[1:], item.dtype) for item in sequences]
    types = [*(v.type for v in carry), *elements, *(v.type for v in constants)]
    region = trace(body, types)
    attributes = {
        "length": length,
        "carries": len(carry),
        "sequences": len(sequences),
        "backwards": backwards,
    }
    outputs = SCAN.apply([*carry, *sequences, *constants], attributes, [region])
    return outputs[: len(carry)], outputs[len(carry) : len(region.outputs)]


def trace(function: Callable[..., Value | Sequence[Value]], types: Sequence[Type]) -> Graph:
    """``function`` as a graph: called once with inputs of ``types``. Refuses values caught from outside."""
    inputs = tuple(make_input(f"a{i}", item.shape, item.dtype) for i, item in enumerate(types))
    given = function(*inputs)
    graph = Graph(inputs, (given,) if isinstance(given, Value) else tuple(given))
    for node in graph.nodes():
        if node.op.name == "input" and node.outputs[0] not in inputs:
            name = node.attributes["name"]
            raise GraphError(
                f"a body uses {name!r} from outside; pass it in as an argument (a constant of the scan)"
            )
    return graph
