"""The paths of the chain rule: from the loss back to one weight or input, the strongest first.

The derivative is the sum, over all paths through units, of the product of the local derivatives along the path. The
search is best-first: it always extends the unfinished path with the largest bound. The bound is the product so far
times the largest product of any continuation, which dynamic programming computes once for all units. With such an
upper bound the first finished path is the strongest (A* search: P. Hart, N. Nilsson and B. Raphael, 1968).
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from glassgrad.backends.base import Array
from glassgrad.explain.links import Anatomy, Link


@dataclass(frozen=True)
class Hop:
    """One unit of a path, and the local derivative by it of the unit before (for the first unit: of the loss)."""

    place: str
    unit: int
    kind: str
    derivative: float


@dataclass(frozen=True)
class Path:
    """A path: hops from the output back to a unit that the weight or input acts on, and the last factor ``end``."""

    hops: tuple[Hop, ...]
    end: float
    product: float


class PathSearch:
    """All paths from the output ``output`` back to the units of ``place``, whose last factors are ``ends``."""

    def __init__(self, anatomy: Anatomy, place: str, ends: Array, output: str, seed: Array) -> None:
        """``seed`` is the derivative of the loss by each unit of the output, flat. Raises TooLarge."""
        self.anatomy, self.place, self.ends, self.output, self.seed = anatomy, place, ends, output, seed
        self.bounds: dict[str, Array] = {place: np.abs(ends)}
        self.sums: dict[str, Array] = {place: ends.copy()}
        # Python integers, since the number of paths can exceed 2 ** 63.
        self.counts: dict[str, Array] = {place: (ends != 0).astype(object) + 0}
        self.links: dict[str, list[Link]] = {}
        names = list(anatomy.places)
        between = names[names.index(place) + 1 : names.index(output) + 1]
        links = self._relevant_links(between)
        for name in between:
            self._extend(name, links[name])

    def _relevant_links(self, between: Sequence[str]) -> dict[str, list[Link]]:
        """The links, by place, of the units that the loss depends on. Other links need not be computed."""
        links: dict[str, list[Link]] = {}
        alive = {name: np.zeros(self.anatomy.places[name].values.size, bool) for name in self.anatomy.places}
        alive[self.output] = self.seed != 0
        for name in reversed(between):
            (rows,) = np.nonzero(alive[name])
            links[name] = self.anatomy.links(name, rows) if len(rows) else []
            for link in links[name]:
                alive[link.source][link.columns[alive[name][link.rows]]] = True
        return links

    def _extend(self, name: str, links: Sequence[Link]) -> None:
        """Compute the bounds, sums and counts of paths of the place ``name`` from those of the places before it."""
        links = [link for link in links if link.source in self.bounds]
        if not links:
            return
        size = self.anatomy.places[name].values.size
        bound, total, count = np.zeros(size), np.zeros(size), np.zeros(size, object)
        for link in links:
            rows = link.rows
            np.maximum.at(bound, rows, np.abs(link.values) * self.bounds[link.source][link.columns])
            np.add.at(total, rows, link.values * self.sums[link.source][link.columns])
            np.add.at(count, rows, self.counts[link.source][link.columns])
        self.links[name], self.bounds[name] = links, bound
        self.sums[name], self.counts[name] = total, count

    @property
    def total(self) -> float:
        """The sum over all paths."""
        return float(self.seed @ self.sums[self.output]) if self.output in self.sums else 0.0

    @property
    def count(self) -> int:
        """The number of paths whose factors are all different from zero."""
        if self.output not in self.counts:
            return 0
        return int(sum(self.counts[self.output][self.seed != 0]))

    def strongest(self) -> Iterator[Path]:
        """The paths, by descending absolute value of the product."""
        if self.output not in self.bounds:
            return
        tie_breaker = itertools.count()
        queue: list[tuple[float, int, float, tuple[Hop, ...], bool]] = []

        def push(product: float, hops: tuple[Hop, ...]) -> None:
            hop = hops[-1]
            bound = abs(product) * float(self.bounds[hop.place][hop.unit])
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
            if hop.place == self.place:
                size = abs(product * float(self.ends[hop.unit]))
                heapq.heappush(queue, (-size, next(tie_breaker), product, hops, True))
                continue
            for link in self.links.get(hop.place, ()):
                columns, values = link.row(hop.unit)
                for column, value in zip(columns.tolist(), values.tolist(), strict=True):
                    push(product * value, (*hops, Hop(link.source, column, link.kind, value)))


def take(paths: Iterator[Path], count: int) -> Sequence[Path]:
    """The first ``count`` paths."""
    return list(itertools.islice(paths, count))
