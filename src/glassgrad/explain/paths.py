"""The paths of the chain rule: from the loss back to one weight or input, the strongest first.

The derivative is the sum, over all paths through units, of the product of the local derivatives along the path. The
search keeps the best unfinished path in front (best-first). What a path can still become is bounded from above by
its product so far times the largest product of any way from there to the end, which a dynamic programme finds once
for all units (P. Hart, N. Nilsson and B. Raphael 1968: such a bound makes the first path found the strongest).
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
    """One unit that a path goes through, and the local derivative by which it came there (None: from the loss)."""

    place: str
    unit: int
    kind: str
    derivative: float


@dataclass(frozen=True)
class Path:
    """A path: hops from the output back to where the weight or input acts, and the last factor ``end``."""

    hops: tuple[Hop, ...]
    end: float
    product: float


class Ways:
    """All ways from the units of ``place`` (with the factors ``ends`` there) up to the output ``output``."""

    def __init__(self, anatomy: Anatomy, place: str, ends: Array, output: str, seed: Array) -> None:
        """``seed`` is the derivative of the loss by each unit of the output."""
        self.anatomy, self.place, self.ends, self.output, self.seed = anatomy, place, ends, output, seed
        self.bounds: dict[str, Array] = {place: np.abs(ends)}
        self.sums: dict[str, Array] = {place: ends.copy()}
        # Python's own integers: there are soon more paths than 2 ** 63.
        self.counts: dict[str, Array] = {place: (ends != 0).astype(object) + 0}
        self.links: dict[str, list[Link]] = {}
        names = list(anatomy.places)
        between = names[names.index(place) + 1 : names.index(output) + 1]
        found = self._matter(between)
        for name in between:
            self._reach(name, found[name])

    def _matter(self, between: Sequence[str]) -> dict[str, list[Link]]:
        """The links of the units that the loss answers to by any path: those of all others need not be known."""
        found: dict[str, list[Link]] = {}
        alive = {name: np.zeros(self.anatomy.places[name].values.size, bool) for name in self.anatomy.places}
        alive[self.output] = self.seed != 0
        for name in reversed(between):
            (rows,) = np.nonzero(alive[name])
            found[name] = self.anatomy.links(name, rows) if len(rows) else []
            for link in found[name]:
                alive[link.source][link.columns[alive[name][link.rows]]] = True
        return found

    def _reach(self, name: str, links: Sequence[Link]) -> None:
        """Extend the dynamic programmes to a place."""
        found = [link for link in links if link.source in self.bounds]
        if not found:
            return
        size = self.anatomy.places[name].values.size
        bound, total, count = np.zeros(size), np.zeros(size), np.zeros(size, object)
        for link in found:
            rows = link.rows
            np.maximum.at(bound, rows, np.abs(link.values) * self.bounds[link.source][link.columns])
            np.add.at(total, rows, link.values * self.sums[link.source][link.columns])
            np.add.at(count, rows, self.counts[link.source][link.columns])
        self.links[name], self.bounds[name] = found, bound
        self.sums[name], self.counts[name] = total, count

    @property
    def total(self) -> float:
        """The sum over all paths."""
        return float(self.seed @ self.sums[self.output]) if self.output in self.sums else 0.0

    @property
    def count(self) -> int:
        """How many paths there are whose factors are all different from zero."""
        if self.output not in self.counts:
            return 0
        return int(sum(self.counts[self.output][self.seed != 0]))

    def strongest(self) -> Iterator[Path]:
        """The paths, the largest product (in size) first."""
        if self.output not in self.bounds:
            return
        ticket = itertools.count()
        queue: list[tuple[float, int, float, tuple[Hop, ...], bool]] = []

        def push(product: float, hops: tuple[Hop, ...]) -> None:
            hop = hops[-1]
            reach = abs(product) * float(self.bounds[hop.place][hop.unit])
            if reach > 0:
                heapq.heappush(queue, (-reach, next(ticket), product, hops, False))

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
                reach = abs(product * float(self.ends[hop.unit]))
                heapq.heappush(queue, (-reach, next(ticket), product, hops, True))
                continue
            for link in self.links.get(hop.place, ()):
                columns, values = link.row(hop.unit)
                for column, value in zip(columns.tolist(), values.tolist(), strict=True):
                    push(product * value, (*hops, Hop(link.source, column, link.kind, value)))


def take(paths: Iterator[Path], count: int) -> Sequence[Path]:
    """The first ``count`` paths."""
    return list(itertools.islice(paths, count))
