"""The paths of the chain rule from the loss back to one weight or input, strongest first.

The derivative is the sum over all paths of the product of the local derivatives along the path. The search is
best-first (A*; P. Hart, N. Nilsson and B. Raphael 1968). The bound of an unfinished path is its product so far times
the largest product of any path from there to the end. Dynamic programming computes these largest products for all
units. Because this bound is exact, the search returns the paths in order of size.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from glassgrad.backends.base import Array
from glassgrad.explain.links import EvaluatedNetwork, Link


@dataclass(frozen=True)
class Hop:
    """One unit on a path, and the local derivative of the previous unit (or of the loss) by this unit."""

    tensor_name: str
    unit: int
    kind: str
    derivative: float


@dataclass(frozen=True)
class Path:
    """A path: hops from the output back to the unit where the weight or input acts, and the last factor ``end``."""

    hops: tuple[Hop, ...]
    end: float
    product: float


class PathSearch:
    """All paths from ``output`` back to the units of ``tensor_name``; ``ends`` are the last factors there."""

    def __init__(
        self, evaluated: EvaluatedNetwork, tensor_name: str, ends: Array, output: str, seed: Array
    ) -> None:
        """``seed`` is the derivative of the loss by each unit of the output."""
        self.evaluated, self.tensor_name, self.ends = evaluated, tensor_name, ends
        self.output, self.seed = output, seed
        self.bounds: dict[str, Array] = {tensor_name: np.abs(ends)}
        self.sums: dict[str, Array] = {tensor_name: ends.copy()}
        # Python integers: the number of paths can exceed 2 ** 63.
        self.counts: dict[str, Array] = {tensor_name: (ends != 0).astype(object) + 0}
        self.links: dict[str, list[Link]] = {}
        names = list(evaluated.tensors)
        between = names[names.index(tensor_name) + 1 : names.index(output) + 1]
        links = self._relevant_links(between)
        for name in between:
            self._extend(name, links[name])

    def _relevant_links(self, between: Sequence[str]) -> dict[str, list[Link]]:
        """The links of the units with a nonzero path to the loss. The links of other units are not computed."""
        links: dict[str, list[Link]] = {}
        relevant = {
            name: np.zeros(self.evaluated.tensors[name].values.size, bool) for name in self.evaluated.tensors
        }
        relevant[self.output] = self.seed != 0
        for name in reversed(between):
            (rows,) = np.nonzero(relevant[name])
            links[name] = self.evaluated.links(name, rows) if len(rows) else []
            for link in links[name]:
                relevant[link.source][link.columns[relevant[name][link.rows]]] = True
        return links

    def _extend(self, name: str, links: Sequence[Link]) -> None:
        """Extend the bounds, sums and counts to the tensor ``name``."""
        reachable = [link for link in links if link.source in self.bounds]
        if not reachable:
            return
        size = self.evaluated.tensors[name].values.size
        bound, total, count = np.zeros(size), np.zeros(size), np.zeros(size, object)
        for link in reachable:
            rows = link.rows
            np.maximum.at(bound, rows, np.abs(link.values) * self.bounds[link.source][link.columns])
            np.add.at(total, rows, link.values * self.sums[link.source][link.columns])
            np.add.at(count, rows, self.counts[link.source][link.columns])
        self.links[name], self.bounds[name] = reachable, bound
        self.sums[name], self.counts[name] = total, count

    @property
    def total(self) -> float:
        """The sum over all paths."""
        return float(self.seed @ self.sums[self.output]) if self.output in self.sums else 0.0

    @property
    def count(self) -> int:
        """The number of paths without a factor of zero."""
        if self.output not in self.counts:
            return 0
        return int(sum(self.counts[self.output][self.seed != 0]))

    def strongest(self) -> Iterator[Path]:
        """The paths in order of the absolute value of their product, largest first."""
        if self.output not in self.bounds:
            return
        tie_breaker = itertools.count()
        queue: list[tuple[float, int, float, tuple[Hop, ...], bool]] = []

        def push(product: float, hops: tuple[Hop, ...]) -> None:
            hop = hops[-1]
            bound = abs(product) * float(self.bounds[hop.tensor_name][hop.unit])
            if bound > 0:
                heapq.heappush(queue, (-bound, next(tie_breaker), product, hops, False))

        for unit, value in enumerate(self.seed):
            if value:
                push(float(value), (Hop(self.output, unit, "loss", float(value)),))
        while queue:
            _, _, product, hops, finished = heapq.heappop(queue)
            hop = hops[-1]
            if finished:
                yield Path(hops, float(self.ends[hop.unit]), product * float(self.ends[hop.unit]))
                continue
            if hop.tensor_name == self.tensor_name:
                size = abs(product * float(self.ends[hop.unit]))
                heapq.heappush(queue, (-size, next(tie_breaker), product, hops, True))
                continue
            for link in self.links.get(hop.tensor_name, ()):
                columns, values = link.row(hop.unit)
                for column, value in zip(columns.tolist(), values.tolist(), strict=True):
                    push(product * value, (*hops, Hop(link.source, column, link.kind, value)))


def first_paths(paths: Iterator[Path], count: int) -> Sequence[Path]:
    """The first ``count`` paths."""
    return list(itertools.islice(paths, count))
