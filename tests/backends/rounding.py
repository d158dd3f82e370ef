"""How far two backends may lie apart on one program: measured, by computing it with rounding errors at random.

Monte Carlo arithmetic (D. Stott Parker, "Monte Carlo arithmetic", 1997): the reference runs again, and after every
op each number is moved by a random amount as large as the op's own rounding error may be. What comes out spreads;
two honest backends differ by rounding errors of that size and no more, so they lie within a few such spreads of one
another. A fixed tolerance could not be right for every network: after a few steps of Adam, a gradient that is
nothing but rounding error has moved its weight as far as any other.

Where a number falls on a kink (a ReLU at zero, two equal maxima), the spread of what follows is as large as the jump
itself. Such a comparison shows next to nothing, and is counted as chaotic.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from glassgrad.backends.base import Feed, Result, collect, lay_out
from glassgrad.backends.reference import step_values
from glassgrad.graph.node import Graph, Node
from glassgrad.program import Program

Array = np.ndarray

# Units in the last place by which an op may be wrong. Arithmetic: half a unit on either side, and what a fused
# multiply-add saves. Functions: as in ``runners.FUNCTION_ULPS``.
ARITHMETIC = 2.0
FUNCTION = 8.0
_ARITHMETIC = ("add", "subtract", "multiply", "divide", "convert")
_FUNCTIONS = ("power", "exp", "log", "log1p", "expm1", "tanh", "sigmoid", "erf", "sqrt", "sin", "cos")

# A difference counts from this many spreads on. Both sides err once each, and the largest of a few random errors is
# below the largest possible: over thousands of networks, agreeing backends were at most 2.2 spreads apart, and a
# mistake is billions.
SPREADS = 4.0
# Beyond this share of a tensor's own size the spread says that the comparison shows nothing.
CHAOS = 1e-3


class Noise:
    """The reference with random rounding errors; with ``rng`` None, the reference itself."""

    def __init__(self, rng: np.random.Generator | None) -> None:
        self.rng = rng

    def evaluate(self, graph: Graph, arrays: Sequence[Array]) -> list[Array]:
        """The outputs of ``graph``, every float of every node moved at random."""
        known = {value: np.asarray(a, value.dtype) for value, a in zip(graph.inputs, arrays, strict=True)}
        for node in graph.nodes():
            if all(value in known for value in node.outputs):
                continue
            inputs = [known[value] for value in node.inputs]
            attributes = dict(node.attributes)
            if node.regions:
                attributes["regions"] = [self._function(region) for region in node.regions]
            with np.errstate(all="ignore"):
                reference: Callable[..., Any] = node.op.reference  # type: ignore[attr-defined]
                given = reference(*inputs, **attributes)
                for value, array in zip(
                    node.outputs, given if isinstance(given, tuple) else (given,), strict=True
                ):
                    known[value] = self._moved(node, inputs, np.asarray(array, value.dtype))
        return [known[value] for value in graph.outputs]

    def _function(self, region: Graph) -> Callable[..., list[Array]]:
        return lambda *arrays: self.evaluate(region, arrays)

    def _moved(self, node: Node, inputs: Sequence[Array], result: Array) -> Array:
        if self.rng is None or result.dtype.kind != "f":
            return result
        size = _error(node, inputs, result)
        if size is None:
            return result
        shake = self.rng.uniform(-1, 1, result.shape) * np.finfo(result.dtype).eps
        return np.asarray(result + size * shake, result.dtype)


def _error(node: Node, inputs: Sequence[Array], result: Array) -> Any:
    """The rounding error of one op in units of eps; None where it moves numbers and computes nothing.

    A sum of n terms: sqrt(n) sum |term|, as large as random rounding errors make it (N. Higham and T. Mary,
    "A new approach to probabilistic rounding error analysis", 2019).
    """
    name, a = node.op.name, node.attributes
    if name in _ARITHMETIC:
        return ARITHMETIC * np.abs(result)
    if name in _FUNCTIONS:
        return FUNCTION * np.abs(result)
    if name == "matmul":
        terms = inputs[0].shape[-1]
        return ARITHMETIC * math.sqrt(terms) * (np.abs(inputs[0]) @ np.abs(inputs[1]))
    if name in ("sum", "fold_windows", "cumsum", "scatter_add_rows"):
        terms = max(1.0, inputs[-1].size / result.size) if name != "cumsum" else inputs[0].shape[a["axis"]]
        sizes = [np.abs(item) if item.dtype.kind == "f" else item for item in inputs]
        reference: Callable[..., Any] = node.op.reference  # type: ignore[attr-defined]
        return ARITHMETIC * math.sqrt(terms) * reference(*sizes, **a)
    return None


def run(program: Program, feed: Feed, rng: np.random.Generator | None = None) -> Result:
    """``program`` on the reference backend; with ``rng``, with random rounding errors."""
    noise, chunk, graph = Noise(rng), lay_out(program, feed), program.graph
    params = {item.name: np.array(feed.params[item.name]) for item in program.params}
    state = {item.name: np.array(feed.state[item.name]) for item in program.state}
    stacked: dict[str, list[Array]] = {item.name: [] for item in program.outputs}
    for step in range(chunk.steps):
        outputs = noise.evaluate(graph, step_values(program, feed, chunk, step, params, state))
        for name, array in zip(program.updates, outputs, strict=False):
            (params if name in params else state)[name] = array
        for item, array in zip(program.outputs, outputs[len(program.updates) :], strict=True):
            stacked[item.name].append(array)
    joined = {name: np.stack(arrays) for name, arrays in stacked.items()}
    return Result(params, state, collect(program, len(feed.order), joined))


def tensors(result: Result) -> dict[str, Array]:
    """All results of a run, by name."""
    return (
        {f"param {name}": array for name, array in result.params.items()}
        | {f"state {name}": array for name, array in result.state.items()}
        | {f"output {name}": array for name, array in result.outputs.items()}
    )


@dataclass
class Comparison:
    """How a result compares: the tensors that are too far off (in spreads), and those of which nothing is known."""

    wrong: dict[str, float] = field(default_factory=dict)
    chaotic: list[str] = field(default_factory=list)
    worst: float = 0.0
    compared: int = 0


def compare(
    program: Program, feed: Feed, found: Result, *, samples: int, seed: int = 0, wanted: Result | None = None
) -> Comparison:
    """``found`` against the reference, within the spread of ``samples`` runs with random rounding errors."""
    centre = tensors(wanted or run(program, feed))
    noisy = [tensors(run(program, feed, np.random.default_rng([seed, i]))) for i in range(samples)]
    got = tensors(found)
    result = Comparison()
    assert got.keys() == centre.keys()
    for name, want in centre.items():
        have = got[name]
        assert (have.shape, have.dtype) == (want.shape, want.dtype), name
        others = [item[name] for item in noisy]
        if want.dtype.kind != "f":
            if not np.array_equal(have, want):
                result.wrong[name] = math.inf
            continue
        result.compared += 1
        _compare_one(name, have, want, others, result)
    return result


def _compare_one(name: str, have: Array, want: Array, others: Sequence[Array], result: Comparison) -> None:
    finite = np.isfinite(want)
    if any((np.isfinite(item) != finite).any() for item in others):
        result.chaotic.append(name)  # whether it overflows depends on the rounding
        return
    if not np.array_equal(have[~finite], want[~finite], equal_nan=True):
        result.wrong[name] = math.inf
        return
    if not finite.any():
        return
    wanted = want[finite].astype(np.float64)
    apart = float(np.abs(have[finite] - wanted).max())
    size, info = float(np.abs(wanted).max()), np.finfo(want.dtype)
    spread = max(float(np.abs(item[finite] - wanted).max()) for item in others)
    # A tensor without noise is exact up to its last bit; below the normal numbers it has no exact digits.
    spread = max(spread, ARITHMETIC * float(info.eps) * size, float(info.tiny))
    if spread > CHAOS * size:
        result.chaotic.append(name)
    ratio = math.inf if math.isnan(apart) else apart / spread
    result.worst = max(result.worst, ratio)
    if not ratio <= SPREADS:
        result.wrong[name] = ratio


def same_bits(a: Result, b: Result) -> list[str]:
    """The names of the tensors that are not equal bit by bit."""
    left, right = tensors(a), tensors(b)
    return [name for name in left if left[name].tobytes() != right[name].tobytes()]
