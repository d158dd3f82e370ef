"""Locates the step and the layer where NaN or Inf began.

The steps of the last call are run again, one at a time and to the same bits, up to the bad step. Then the values of
that step are read. So nothing has to be recorded during normal training.
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
    """The first step with NaN or Inf (from 0, since the start of the training), and the last good values."""

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

    A finite sum of squares proves that all elements are finite, and is fast. A sum that is not finite may come from
    large but finite elements, so the elements are then checked one by one.
    """
    with np.errstate(all="ignore"):
        return all(
            array.dtype.kind != "f" or math.isfinite(np.vdot(array, array)) or bool(np.isfinite(array).all())
            for array in arrays.values()
        )


def locate(executable: Executable, feed: Feed, before: Feed | None = None) -> Divergence:
    """Find the first bad step of ``feed`` by running its steps again one at a time.

    A step is bad if its loss, or a weight or state after it, is not finite. A bad loss means that the step before
    left unusable (though finite) weights, so the weights before that step are kept. That step may be the last one
    of ``before``, the feed of the preceding call.
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
        previous = _last_step(executable, before)
    where = _first_bad(executable.program, _step(good, batch), _step(previous, batch) if previous else None)
    last_good = previous if bad_loss and previous is not None else good
    return Divergence(good.first_step, where, dict(last_good.params), dict(last_good.state))


def _last_step(executable: Executable, feed: Feed) -> Feed:
    """The feed of the last step of ``feed``: its rows, with parameters and state after the steps before it."""
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
    """The first step of ``feed``."""
    return replace(feed, order=feed.order[:batch], hyper=_cut(feed, slice(0, 1)))


def _advance(feed: Feed, result: Result, batch: int) -> Feed:
    """``feed`` without its first step, which gave ``result``."""
    return replace(
        feed,
        order=feed.order[batch:],
        hyper=_cut(feed, slice(1, None)),
        params=result.params,
        state=result.state,
        first_step=feed.first_step + 1,
    )


def _cut(feed: Feed, part: slice) -> dict[str, float | Array]:
    """The hyperparameters of some steps of ``feed``."""
    return {key: item[part] if isinstance(item, np.ndarray) else item for key, item in feed.hyper.items()}


def _first_bad(program: Program, feed: Feed, before: Feed | None) -> str:
    """Section and layer of the first node that is not finite here, and was finite in the good step ``before``."""
    expected = set(_bad_nodes(program, before)) if before is not None else set()
    for node in _bad_nodes(program, feed):
        if node not in expected:
            part = f" of {node.scope.layer}" if node.scope.layer else ""
            return f"{SECTIONS[node.scope.section]}{part} ({node.op.name})"
    return "the update (rounding differs from the reference backend)"


def _bad_nodes(program: Program, feed: Feed) -> list[Node]:
    bad_nodes: list[Node] = []

    def watch(node: Node, arrays: tuple[Array, ...]) -> None:
        if any(array.dtype.kind == "f" and not np.isfinite(array).all() for array in arrays):
            bad_nodes.append(node)

    chunk = lay_out(program, feed)
    evaluate(program.graph, step_values(program, feed, chunk, 0, dict(feed.params), dict(feed.state)), watch)
    return bad_nodes
