"""A small training program, built by hand from ops: linear regression, gradient descent with momentum."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from glassgrad.autodiff.sweeps import gradient
from glassgrad.backends.base import Feed
from glassgrad.graph.node import DType, Value, scope
from glassgrad.ops import table as ops
from glassgrad.ops.op import make_input
from glassgrad.program import Input, Output, Program, Role

BATCH, FEATURES, ROWS = 4, 3, 10
DROP, NOISE = 0.25, 7


def regression(dtype: DType = "float32") -> Program:
    """Weighted squares over the valid rows, inputs dropped at random, velocity as state."""
    inputs: list[Input] = []

    def given(name: str, role: Role, shape: tuple[int, ...], kind: DType) -> Value:
        inputs.append(Input(name, role, make_input(name, shape, kind)))
        return inputs[-1].value

    x = given("x", "data", (BATCH, FEATURES), dtype)
    y = given("y", "data", (BATCH,), dtype)
    w = given("w", "param", (FEATURES,), dtype)
    b = given("b", "param", (), dtype)
    velocity = given("velocity", "state", (FEATURES,), dtype)
    count = given("count", "state", (), "int32")
    rate = given("rate", "hyper", (), dtype)
    momentum = given("momentum", "hyper", (), dtype)
    row_mask = given("row_mask", "row_mask", (BATCH,), "bool")
    row = given("row", "row", (BATCH,), "uint32")
    seed = given("seed", "seed", (2,), "uint32")
    step = given("step", "step", (), "uint32")

    with scope("forward"):
        kept = ops.random_mask(seed, step, row, stream=NOISE, shape=(FEATURES,), probability=1 - DROP)
        prediction = ops.reshape(ops.select(kept, x, 0.0) @ ops.reshape(w, (FEATURES, 1)), (BATCH,)) + b
        exists = ops.convert(row_mask, dtype)
        error = (prediction - y) * exists
        loss = ops.reduce_sum(error * error) / ops.reduce_sum(exists)
    slope_w, slope_b = gradient(loss, [w, b])
    with scope("update"):
        moved = velocity * momentum - slope_w * rate
        updates = {
            "w": w + moved,
            "b": b - slope_b * rate,
            "velocity": moved,
            "count": count + ops.reduce_sum(ops.convert(row_mask, "int32")),
        }
    outputs = (
        Output("loss", loss),
        Output("prediction", prediction, per_row=True),
        Output("kept", kept, per_row=True),
        Output("row", row, per_row=True),
        Output("step", step),
        Output("w", w),
    )
    return Program("regression", BATCH, tuple(inputs), updates, outputs)


def feed(dtype: DType = "float32", rows: int = ROWS, epochs: int = 2) -> Feed:
    """Ten rows in batches of four, twice over: five steps without a row too many, the last one full."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, FEATURES)).astype(dtype)
    order = np.concatenate([rng.permutation(rows) for _ in range(epochs)]).astype(np.int32)
    return Feed(
        data={"x": x, "y": (x @ np.array([1, -2, 0.5]) + 3).astype(dtype)},
        order=order,
        params={"w": np.zeros(FEATURES, dtype), "b": np.zeros((), dtype)},
        state={"velocity": np.zeros(FEATURES, dtype), "count": np.array(0, np.int32)},
        hyper={"rate": np.linspace(0.1, 0.02, -(-order.size // BATCH)), "momentum": 0.5},
        seed=2**40 + 17,
        first_step=100,
    )


def shortened(whole: Feed, rows: int) -> Feed:
    """The first ``rows`` visits of ``whole``."""
    steps = -(-rows // BATCH)
    return replace(
        whole, order=whole.order[:rows], hyper={"rate": whole.hyper["rate"][:steps], "momentum": 0.5}
    )
