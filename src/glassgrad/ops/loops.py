"""scan: a loop whose body is a graph. It carries values from step to step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from glassgrad.common.errors import GraphError
from glassgrad.graph.node import Graph, Type, Value
from glassgrad.graph.rebuild import inline
from glassgrad.ops.op import Context, Maybe, Op, Rule, expect, make_input, record
from glassgrad.ops.structure import zeros_like

# Inputs of a scan: carries, sequences, constants. Inputs of its body: carries, one element per sequence, constants.
# Outputs of a scan: the final carries, the stacked results, and the history, which is the stacked carries at the
# start of each step. The history costs memory, but the derivative then does not repeat the forward pass.


def _infer_scan(
    types: Sequence[Type], attributes: Mapping[str, Any], regions: Sequence[Graph]
) -> tuple[Type, ...]:
    (body,), length = regions, attributes["length"]
    carries, sequences = attributes["carries"], attributes["sequences"]
    stacked = types[carries : carries + sequences]
    expect(all(item.shape[:1] == (length,) for item in stacked), f"every sequence needs {length} elements")
    elements = [Type(item.shape[1:], item.dtype) for item in stacked]
    body_inputs = [*types[:carries], *elements, *types[carries + sequences :]]
    expect(
        [value.type for value in body.inputs] == body_inputs, "the types of the body's inputs do not match"
    )
    body_outputs = [value.type for value in body.outputs]
    expect(
        body_outputs[:carries] == body_inputs[:carries],
        "the body must return its carries with the types that it takes",
    )
    results = [Type((length, *item.shape), item.dtype) for item in body_outputs[carries:]]
    history = [Type((length, *item.shape), item.dtype) for item in body_inputs[:carries]]
    return (*body_outputs[:carries], *results, *history)


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
    results_and_history: list[list[np.ndarray]] = []
    order = range(length)[::-1] if backwards else range(length)
    for t in order:
        outputs = list(body(*carry, *(item[t] for item in stacked), *constants))
        results_and_history.append(outputs[carries:] + carry)
        carry = outputs[:carries]
    if backwards:
        results_and_history.reverse()
    return (*carry, *(np.stack(column) for column in zip(*results_and_history, strict=True)))


def _reverse(
    ctx: Context, cotangents: Sequence[Maybe], outputs: Sequence[Value], inputs: Sequence[Value]
) -> Sequence[Maybe]:
    """A scan in the opposite direction, whose body is the reverse sweep through the body (back-propagation in time).

    Its carries are the cotangents of the carries and the summed cotangents of the constants. Its sequences are the
    history, the elements, and the cotangents of the results and the history.
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
    # Positions of float inputs of the body. Only these get cotangents.
    float_carries = [i for i in floats if i < carries]
    float_elements = [i for i in floats if carries <= i < carries + sequences]
    float_constants = [i for i in floats if i >= carries + sequences]
    final_cts = [filled[i] for i in float_carries]
    result_cts = [item for item in filled[carries : carries + results] if item is not None]
    history_cts = [filled[carries + results + i] for i in float_carries]

    def step(*operands: Value) -> Sequence[Value]:
        values = iter(operands)
        step_carry_cts = [next(values) for _ in float_carries]
        constant_sums = [next(values) for _ in float_constants]
        carries_and_elements = [next(values) for _ in range(carries + sequences)]
        step_result_cts = [next(values) for _ in result_cts]
        step_history_cts = [next(values) for _ in float_carries]
        arguments = [*carries_and_elements, *values]
        body_outputs = inline(body, arguments)
        output_cts: list[Maybe] = [None] * len(body_outputs)
        for i, ct in zip(float_carries, step_carry_cts, strict=True):
            output_cts[i] = ct
        float_results = [i for i in range(carries, len(body_outputs)) if body_outputs[i].type.is_float]
        for i, ct in zip(float_results, step_result_cts, strict=True):
            output_cts[i] = ct
        argument_cts = ctx.vjp(body_outputs, output_cts, [arguments[i] for i in floats])
        input_ct = {
            i: ct if ct is not None else zeros_like(arguments[i])
            for i, ct in zip(floats, argument_cts, strict=True)
        }
        return [
            *(input_ct[i] + ct for i, ct in zip(float_carries, step_history_cts, strict=True)),
            *(total + input_ct[i] for i, total in zip(float_constants, constant_sums, strict=True)),
            *(input_ct[i] for i in float_elements),
        ]

    initial = [item for item in final_cts if item is not None]
    initial += [zeros_like(inputs[i]) for i in float_constants]
    stacked = [*history, *inputs[carries : carries + sequences], *result_cts]
    stacked += [item for item in history_cts if item is not None]
    final, per_step = scan(
        step, initial, stacked, inputs[carries + sequences :], length=length, backwards=not a["backwards"]
    )
    cotangent_of = dict(zip([*float_carries, *float_constants], final, strict=True))
    cotangent_of |= dict(zip(float_elements, per_step, strict=True))
    return [cotangent_of.get(i) for i in range(len(inputs))]


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
    """Run ``body(*carry, *elements, *constants)`` once per element of ``sequences`` along their first axis.

    The body returns the new carries, followed by any results. Returns (final carries, results stacked along a new
    first axis). The body may use outside values only through ``constants``. ``length`` is needed if there are no
    sequences. With ``backwards`` the loop runs from the last element to the first; results keep the order of the
    sequences. Raises GraphError for types that do not match.
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
    """The graph of ``function``, which is called once with inputs of ``types``.

    Raises GraphError if the function uses an input of an outer graph.
    """
    inputs = tuple(make_input(f"a{i}", item.shape, item.dtype) for i, item in enumerate(types))
    results = function(*inputs)
    graph = Graph(inputs, (results,) if isinstance(results, Value) else tuple(results))
    for node in graph.nodes():
        if node.op.name == "input" and node.outputs[0] not in inputs:
            name = node.attributes["name"]
            raise GraphError(
                f"a body uses {name!r} from outside; pass it in as an argument (a constant of the scan)"
            )
    return graph
