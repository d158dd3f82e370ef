"""Where NaN or Inf began: the epoch is run again (to the same bits) up to the step, and that step is read.

The replay starts from the weights before the epoch, so nothing has to be watched while all is well.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from glassgrad.backends.base import Array, Executable, Feed, Result, lay_out
from glassgrad.backends.reference import evaluate, step_values
from glassgrad.common.frozen import frozen
from glassgrad.graph.node import Node
from glassgrad.program import Program

SECTIONS = {"forward": "the forward pass", "backward": "the gradient", "update": "the update"}


@frozen
class Divergence:
    """The first step (from 0, since the start of the training) that met NaN or Inf, and what to keep."""

    step: int
    where: str
    params: dict[str, Array]
    state: dict[str, Array]

    def __str__(self) -> str:
        return (
            f"training met NaN or Inf at step {self.step} (from 0): it began in {self.where}; "
            "the last good weights are kept (try a lower learning rate, clipping, or another initialization)"
        )


def is_finite(arrays: Mapping[str, Array]) -> bool:
    """Whether every float of every array is finite.

    NaN and infinities stay in a sum of squares, whatever is added. So one that is finite answers for all of them; one
    that is not may be of numbers that are merely large.
    """
    with np.errstate(all="ignore"):
        return all(
            array.dtype.kind != "f" or math.isfinite(np.vdot(array, array)) or bool(np.isfinite(array).all())
            for array in arrays.values()
        )


def locate(executable: Executable, feed: Feed, before: Feed | None = None) -> Divergence:
    """Find the step of ``feed`` that went wrong, by running its steps again one at a time.

    A step is bad when its loss is not finite, or a weight or state after it is not. A bad loss comes of
    weights that were bad before, if finite: then those before them are kept. ``before`` is the feed of the
    call before, and is asked for where that step lies in it.
    """
    batch = executable.program.batch
    good, previous = feed, None
    steps = -(-len(feed.order) // batch)
    for step in range(steps):
        result = executable.run(_step(good, batch))
        bad_loss = not np.isfinite(result.outputs["loss"]).all()
        if bad_loss or step == steps - 1 or not (is_finite(result.params) and is_finite(result.state)):
            break
        previous, good = good, _advance(good, result, batch)
    if previous is None and before is not None:
        previous = _last(executable, before)
    where = _first_bad(executable.program, _step(good, batch), _step(previous, batch) if previous else None)
    keep = previous if bad_loss and previous is not None else good
    return Divergence(good.first_step, where, dict(keep.params), dict(keep.state))


def _last(executable: Executable, feed: Feed) -> Feed:
    """``feed`` as its last step finds it."""
    batch = executable.program.batch
    steps = -(-len(feed.order) // batch) - 1
    if steps == 0:
        return feed
    head = replace(feed, order=feed.order[: steps * batch], hyper=_cut(feed, slice(0, steps)))
    result = executable.run(head)
    return replace(
        feed,
        order=feed.order[steps * batch :],
        hyper=_cut(feed, slice(steps, None)),
        params=result.params,
        state=result.state,
        first_step=feed.first_step + steps,
    )


def _step(feed: Feed, batch: int) -> Feed:
    return replace(feed, order=feed.order[:batch], hyper=_cut(feed, slice(0, 1)))


def _advance(feed: Feed, result: Result, batch: int) -> Feed:
    return replace(
        feed,
        order=feed.order[batch:],
        hyper=_cut(feed, slice(1, None)),
        params=result.params,
        state=result.state,
        first_step=feed.first_step + 1,
    )


def _cut(feed: Feed, part: slice) -> dict[str, float | Array]:
    return {key: item[part] if isinstance(item, np.ndarray) else item for key, item in feed.hyper.items()}


def _first_bad(program: Program, feed: Feed, before: Feed | None) -> str:
    """Section and layer of the first node that is not finite, but for those that were so in a good step."""
    usual = set(_bad_nodes(program, before)) if before is not None else set()
    for node in _bad_nodes(program, feed):
        if node not in usual:
            part = f" of {node.scope.layer}" if node.scope.layer else ""
            return f"{SECTIONS[node.scope.section]}{part} ({node.op.name})"
    return "the update (rounding differs from the reference backend)"


def _bad_nodes(program: Program, feed: Feed) -> list[Node]:
    found: list[Node] = []

    def watch(node: Node, arrays: tuple[Array, ...]) -> None:
        if any(array.dtype.kind == "f" and not np.isfinite(array).all() for array in arrays):
            found.append(node)

    chunk = lay_out(program, feed)
    evaluate(program.graph, step_values(program, feed, chunk, 0, dict(feed.params), dict(feed.state)), watch)
    return found
