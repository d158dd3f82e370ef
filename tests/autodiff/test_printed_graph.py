"""The printed form of a graph, pinned because people read it."""

from __future__ import annotations

import numpy as np

from glassgrad.autodiff.sweeps import gradient
from glassgrad.graph.node import Graph, scope
from glassgrad.graph.printer import format_graph
from glassgrad.ops import table as ops
from glassgrad.ops.op import constant, make_input
from glassgrad.passes.clean import clean

PRINTED = """\
forward:
  # dense
  %1 = x @ w                        : float32[2, 1]
  %2 = tanh(%1)                     : float32[2, 1]
  # loss
  %3 = %2 * %2                      : float32[2, 1]
  %4 = sum(%3, axes=(0, 1))         : float32
  loss = %4 * 0.5                   : float32
backward:
  # loss
  %6 = 0.5 * %2                     : float32[2, 1]
  %7 = %6 + %6                      : float32[2, 1]
  # dense
  %8 = 1 - %3                       : float32[2, 1]
  %9 = %7 * %8                      : float32[2, 1]
  %10 = transpose(x, order=(1, 0))  : float32[3, 2]
  %11 = %10 @ %9                    : float32[3, 1]
return loss, %11"""

SCANNED = """\
forward:
  %1, %2, %3 = scan(0, x, length=4, carries=1, sequences=1, backwards=False)  : float32, float32[4], float32[4]
    body(a0: float32, a1: float32):
      %1.1 = a0 * 0.5   : float32
      %1.2 = %1.1 + a1  : float32
      %1.3 = -a0        : float32
      give %1.2, %1.3
return %1"""


def test_forward_and_backward_are_printed_as_numbered_equations() -> None:
    x, w = make_input("x", (2, 3), "float32"), make_input("w", (3, 1), "float32")
    with scope("forward", "dense"):
        hidden = ops.tanh(x @ w)
    with scope("forward", "loss"):
        loss = ops.reduce_mean(hidden * hidden)
    (slope,) = gradient(loss, [w])
    cleaned = clean(Graph((x, w), (loss, slope)))
    assert format_graph(cleaned, names={cleaned.outputs[0]: "loss"}) == PRINTED


def test_the_body_of_a_scan_is_printed_below_it() -> None:
    x = make_input("x", (4,), "float32")
    (last,), _ = ops.scan(lambda s, x: [s * 0.5 + x, -s], [constant(np.float32(0), "float32")], [x])
    assert format_graph(Graph((x,), (last,))) == SCANNED
