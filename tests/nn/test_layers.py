"""All layers: shapes, forward pass compared with plain NumPy, gradient, refusals, configuration.

This is one file because all tests share the table of cases, one per layer.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import glassgrad as gg
from glassgrad.autodiff.sweeps import gradient
from glassgrad.backends.reference import evaluate
from glassgrad.graph.node import Graph
from glassgrad.nn.layer import LAYERS, BuildContext, Layer, Randomness
from glassgrad.nn.network import LayerNode, Network
from glassgrad.ops.op import constant, make_input
from glassgrad.ops.structure import reduce_sum

BATCH = 3


def random_arrays(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {name: generator.normal(size=shape) for name, shape in shapes.items()}


def make_context(
    training: bool = False, row_mask: Any = None, rows: Any = None, batch: int = BATCH, step: int = 3
) -> BuildContext:
    row_mask = np.ones(batch, bool) if row_mask is None else np.asarray(row_mask)
    random = Randomness(
        constant(np.array([7, 0]), "uint32"),
        constant(step, "uint32"),
        constant(np.arange(batch) if rows is None else rows, "uint32"),
    )
    return BuildContext("here", 11, training, constant(row_mask, "bool"), random if training else None)


def run(
    layer: Layer,
    inputs: list[np.ndarray],
    weights: dict[str, np.ndarray] | None = None,
    state: dict[str, np.ndarray] | None = None,
    **context: Any,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The output and the new buffers of ``layer``, in float64."""
    context.setdefault("batch", len(inputs[0]))
    weights, state = weights or {}, state or {}

    def values(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
        return {name: make_input(name, array.shape, "float64") for name, array in arrays.items()}

    named_inputs = {f"x{i}": array for i, array in enumerate(inputs)}
    x, w, s = values(named_inputs), values(weights), values(state)
    out, updates = layer.build(make_context(**context), list(x.values()), w, s)
    graph = Graph((*x.values(), *w.values(), *s.values()), (out, *updates.values()))
    arrays = evaluate(graph, [*named_inputs.values(), *weights.values(), *state.values()])
    return arrays[0], dict(zip(updates, arrays[1:], strict=True))


def slow_conv(x, w, stride, padding):
    """A convolution by its definition: one product per output position."""
    rows, high, wide, _ = x.shape
    kh, kw, _, filters = w.shape
    out = [n if padding == "same" else n - k + 1 for n, k in ((high, kh), (wide, kw))]
    out = [-(-n // s) for n, s in zip(out, stride, strict=True)]
    if padding == "same":
        padding_sizes = [
            max((o - 1) * s + k - n, 0)
            for o, s, k, n in zip(out, stride, (kh, kw), (high, wide), strict=True)
        ]
        x = np.pad(x, ((0, 0), *((n // 2, n - n // 2) for n in padding_sizes), (0, 0)))
    result = np.zeros((rows, *out, filters))
    for r in range(rows):
        for i in range(out[0]):
            for j in range(out[1]):
                window = x[r, i * stride[0] : i * stride[0] + kh, j * stride[1] : j * stride[1] + kw]
                for f in range(filters):
                    result[r, i, j, f] = np.sum(window * w[..., f])
    return result


def slow_pool(x, size, stride, function):
    out = [(n - k) // s + 1 for n, k, s in zip(x.shape[1:3], size, stride, strict=True)]
    result = np.zeros((x.shape[0], *out, x.shape[3]))
    for i in range(out[0]):
        for j in range(out[1]):
            window = x[:, i * stride[0] : i * stride[0] + size[0], j * stride[1] : j * stride[1] + size[1]]
            result[:, i, j] = function(window, axis=(1, 2))
    return result


def slow_recurrent(x, w):
    h = np.zeros((x.shape[0], w["bias"].size))
    states = []
    for t in range(x.shape[1]):
        h = np.tanh(x[:, t] @ w["weights"] + h @ w["recurrent"] + w["bias"])
        states.append(h)
    return np.stack(states, axis=1)


def normalized(x, axes, epsilon):
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + epsilon)


@dataclass
class Case:
    """A layer, the shapes of its input rows, and its formula in plain NumPy."""

    layer: Layer
    shapes: list[tuple[int, ...]]
    numpy: Any  # (inputs, weights) -> output
    weights: dict[str, tuple[int, ...]] = field(default_factory=dict)
    training: bool = False
    inputs: Any = None  # None: random numbers
    smooth: bool = True  # whether the gradient by the inputs is checked too

    def arrays(self) -> list[np.ndarray]:
        if self.inputs is not None:
            return [np.asarray(item, dtype=np.float64) for item in self.inputs]
        generator = np.random.default_rng(1)
        return [generator.normal(size=(BATCH, *shape)) for shape in self.shapes]


TOKENS = [[0, 3, 3], [4, 1, 0], [2, 2, 2]]
CASES: dict[str, Case] = {
    "dense": Case(
        gg.nn.Dense(4, "tanh"),
        [(5,)],
        lambda x, w: np.tanh(x[0] @ w["weights"] + w["bias"]),
        {"weights": (5, 4), "bias": (4,)},
    ),
    "dense without bias": Case(
        gg.nn.Dense(2, bias=False), [(3,)], lambda x, w: x[0] @ w["weights"], {"weights": (3, 2)}
    ),
    "dense on a sequence": Case(
        gg.nn.Dense(2),
        [(4, 3)],
        lambda x, w: x[0] @ w["weights"] + w["bias"],
        {"weights": (3, 2), "bias": (2,)},
    ),
    "activation": Case(gg.nn.ActivationLayer("sigmoid"), [(2, 3)], lambda x, w: 1 / (1 + np.exp(-x[0]))),
    "dropout": Case(gg.nn.Dropout(0.3), [(4,)], lambda x, w: x[0]),
    "batch_norm": Case(
        gg.nn.BatchNorm(epsilon=0.1),
        [(4,)],
        lambda x, w: normalized(x[0], 0, 0.1) * w["scale"] + w["shift"],
        {"scale": (4,), "shift": (4,)},
        training=True,
    ),
    "batch_norm of images": Case(
        gg.nn.BatchNorm(),
        [(2, 3, 4)],
        lambda x, w: normalized(x[0], (0, 1, 2), 1e-5) * w["scale"] + w["shift"],
        {"scale": (4,), "shift": (4,)},
        training=True,
    ),
    "layer_norm": Case(
        gg.nn.LayerNorm(epsilon=0.01),
        [(2, 5)],
        lambda x, w: normalized(x[0], -1, 0.01) * w["scale"] + w["shift"],
        {"scale": (5,), "shift": (5,)},
    ),
    "flatten": Case(gg.nn.Flatten(), [(2, 3, 2)], lambda x, w: x[0].reshape(BATCH, 12)),
    "reshape": Case(gg.nn.Reshape([3, -1]), [(2, 6)], lambda x, w: x[0].reshape(BATCH, 3, 4)),
    "add": Case(gg.nn.Add(), [(4,), (4,), (4,)], lambda x, w: x[0] + x[1] + x[2]),
    "multiply": Case(gg.nn.Multiply(), [(2, 2), (2, 2)], lambda x, w: x[0] * x[1]),
    "concatenate": Case(gg.nn.Concatenate(), [(2, 3), (2, 1)], lambda x, w: np.concatenate(x, axis=-1)),
    "embedding": Case(
        gg.nn.Embedding(5, 2),
        [(3,)],
        lambda x, w: w["weights"][x[0].astype(int)],
        {"weights": (5, 2)},
        inputs=[TOKENS],
        smooth=False,
    ),
    "simple_rnn": Case(
        gg.nn.SimpleRNN(3),
        [(4, 2)],
        lambda x, w: slow_recurrent(x[0], w),
        {"weights": (2, 3), "recurrent": (3, 3), "bias": (3,)},
    ),
    "simple_rnn, last": Case(
        gg.nn.SimpleRNN(3, last=True),
        [(4, 2)],
        lambda x, w: slow_recurrent(x[0], w)[:, -1],
        {"weights": (2, 3), "recurrent": (3, 3), "bias": (3,)},
    ),
    "conv2d": Case(
        gg.nn.Conv2D(2, kernel_size=(2, 3), activation="tanh"),
        [(4, 5, 2)],
        lambda x, w: np.tanh(slow_conv(x[0], w["weights"], (1, 1), "valid") + w["bias"]),
        {"weights": (2, 3, 2, 2), "bias": (2,)},
    ),
    "conv2d with stride": Case(
        gg.nn.Conv2D(1, 2, stride=(2, 3)),
        [(5, 6, 2)],
        lambda x, w: slow_conv(x[0], w["weights"], (2, 3), "valid") + w["bias"],
        {"weights": (2, 2, 2, 1), "bias": (1,)},
    ),
    "conv2d same": Case(
        gg.nn.Conv2D(2, (3, 2), padding="same"),
        [(3, 4, 1)],
        lambda x, w: slow_conv(x[0], w["weights"], (1, 1), "same") + w["bias"],
        {"weights": (3, 2, 1, 2), "bias": (2,)},
    ),
    "conv2d same with stride": Case(
        gg.nn.Conv2D(1, 3, stride=(2, 3), padding="same"),
        [(5, 4, 1)],
        lambda x, w: slow_conv(x[0], w["weights"], (2, 3), "same") + w["bias"],
        {"weights": (3, 3, 1, 1), "bias": (1,)},
    ),
    "conv2d same, window larger than the image": Case(
        gg.nn.Conv2D(1, 5, padding="same"),
        [(3, 2, 1)],
        lambda x, w: slow_conv(x[0], w["weights"], (1, 1), "same") + w["bias"],
        {"weights": (5, 5, 1, 1), "bias": (1,)},
    ),
    "max_pool2d": Case(gg.nn.MaxPool2D(2), [(4, 5, 2)], lambda x, w: slow_pool(x[0], (2, 2), (2, 2), np.max)),
    "max_pool2d with stride": Case(
        gg.nn.MaxPool2D((2, 3), stride=1), [(3, 4, 1)], lambda x, w: slow_pool(x[0], (2, 3), (1, 1), np.max)
    ),
    "average_pool2d": Case(
        gg.nn.AveragePool2D((3, 2), (1, 2)),
        [(4, 4, 2)],
        lambda x, w: slow_pool(x[0], (3, 2), (1, 2), np.mean),
    ),
    "global_average_pool2d": Case(
        gg.nn.GlobalAveragePool2D(), [(3, 2, 4)], lambda x, w: x[0].mean(axis=(1, 2))
    ),
}


def test_every_layer_has_a_case():
    covered = {LAYERS.config(case.layer)["name"] for case in CASES.values()}
    assert covered == set(LAYERS)


@pytest.fixture(params=CASES, ids=str)
def case(request):
    return CASES[request.param]


def test_the_forward_pass_matches_numpy(case):
    weights = random_arrays(case.weights)
    state = {
        name: np.full(item.shape, item.fill) for name, item in case.layer.statistics(case.shapes).items()
    }
    output, _ = run(case.layer, case.arrays(), weights, state, training=case.training)
    np.testing.assert_allclose(output, case.numpy(case.arrays(), weights), rtol=1e-10, atol=1e-12)


def test_actual_shapes_match_the_declared_shapes(case):
    declared = {name: item.shape for name, item in case.layer.weights(case.shapes).items()}
    assert declared == case.weights
    state = {
        name: np.full(item.shape, item.fill) for name, item in case.layer.statistics(case.shapes).items()
    }
    output, updates = run(case.layer, case.arrays(), random_arrays(declared), state, training=case.training)
    assert output.shape == (BATCH, *case.layer.output_shape(case.shapes))
    assert {name: array.shape for name, array in updates.items()} == {
        name: array.shape for name, array in state.items()
    }


def test_the_gradient_matches_central_differences(case):
    state = case.layer.statistics(case.shapes)
    weights = random_arrays(case.weights)
    tokens = [constant(array, "float64") for array in case.arrays()]

    def function(*values):
        inputs = values[: len(case.shapes)] if case.smooth else tokens
        weight_values = values[len(case.shapes) :] if case.smooth else values
        buffers = {name: constant(np.full(item.shape, item.fill), "float64") for name, item in state.items()}
        return case.layer.build(
            make_context(case.training), inputs, dict(zip(weights, weight_values, strict=True)), buffers
        )[0]

    arrays = [*(case.arrays() if case.smooth else []), *weights.values()]
    assert gg.check_derivative(function, *arrays) < 1e-6


def test_the_configuration_makes_an_equal_layer(case):
    config = json.loads(json.dumps(LAYERS.config(case.layer)))
    assert LAYERS.make(config) == case.layer


IMAGE = (4, 4, 1)
WRONG: dict[str, tuple[Layer, list[tuple[int, ...]], str]] = {
    "dense": (gg.nn.Dense(2), [(3,), (3,)], "one input, not 2"),
    "dense on scalars": (gg.nn.Dense(2), [()], "at least one axis"),
    "activation": (gg.nn.ActivationLayer("relu"), [(3,), (3,)], "one input, not 2"),
    "dropout": (gg.nn.Dropout(), [(3,), (3,)], "one input, not 2"),
    "batch_norm": (gg.nn.BatchNorm(), [()], "at least one axis"),
    "layer_norm": (gg.nn.LayerNorm(), [()], "at least one axis"),
    "flatten": (gg.nn.Flatten(), [(3,), (3,)], "one input, not 2"),
    "reshape": (gg.nn.Reshape((4, -1)), [(3, 5)], r"\(3, 5\) cannot be reshaped to \(4, -1\)"),
    "reshape to more": (gg.nn.Reshape((20, -1)), [(3, 5)], "cannot be reshaped to"),
    "add": (gg.nn.Add(), [(3,), (4,)], r"one shape, not \[\(3,\), \(4,\)\]"),
    "add of one": (gg.nn.Add(), [(3,)], "two or more"),
    "multiply": (gg.nn.Multiply(), [(3,), (1,)], r"one shape, not \[\(3,\), \(1,\)\]"),
    "concatenate": (gg.nn.Concatenate(), [(2, 3), (3, 3)], r"not \[\(2, 3\), \(3, 3\)\]"),
    "concatenate scalars": (gg.nn.Concatenate(), [(), ()], "two or more inputs"),
    "embedding": (gg.nn.Embedding(3, 2), [(3,), (3,)], "one input, not 2"),
    "simple_rnn": (gg.nn.SimpleRNN(2), [(3,)], r"rows with 2 axes, not rows of shape \(3,\)"),
    "conv2d": (gg.nn.Conv2D(2), [(4, 4)], r"rows with 3 axes, not rows of shape \(4, 4\)"),
    "conv2d too large": (
        gg.nn.Conv2D(2, 5),
        [IMAGE],
        r"window of \(5, 5\) does not fit in an image of \(4, 4\)",
    ),
    "max_pool2d": (gg.nn.MaxPool2D(5), [IMAGE], "does not fit in an image"),
    "average_pool2d": (gg.nn.AveragePool2D((1, 9)), [IMAGE], "does not fit in an image"),
    "global_average_pool2d": (gg.nn.GlobalAveragePool2D(), [(4,)], "rows with 3 axes"),
}


def test_every_layer_refuses_something():
    assert {LAYERS.config(layer)["name"] for layer, _, _ in WRONG.values()} == set(LAYERS)


@pytest.mark.parametrize("name", WRONG)
def test_wrong_inputs_are_refused_with_layer_and_shapes(name):
    layer, shapes, message = WRONG[name]
    with pytest.raises(gg.InputError, match=message):
        layer.output_shape(shapes)
    if len(set(shapes)) == 1:
        network = Network((LayerNode("wrong", layer, ("input",) * len(shapes)),))
        with pytest.raises(gg.InputError) as caught:
            network.shapes(shapes[0])
        kind = LAYERS.config(layer)["name"]
        assert str(caught.value).startswith(f"layer 'wrong' ({kind}) on {shapes[0]}")
        assert "\n" not in str(caught.value)


BAD_OPTIONS = [
    (gg.nn.Dense, {"units": 0}, "units must be a whole number from 1 to 2147483647, not 0"),
    (gg.nn.Dense, {"units": 2.0}, "units"),
    (gg.nn.Dense, {"units": True}, "units"),
    (gg.nn.Dense, {"units": 2, "activation": "rellu"}, "did you mean 'relu'"),
    (gg.nn.Dense, {"units": 2, "init": "he"}, "unknown initializer 'he'"),
    (gg.nn.Dropout, {"rate": 1.0}, "rate must be a number of at least 0 and below 1, not 1.0"),
    (gg.nn.Dropout, {"rate": -0.1}, "rate"),
    (gg.nn.Dropout, {"rate": "half"}, "rate"),
    (gg.nn.Dropout, {"rate": False}, "rate"),
    (gg.nn.BatchNorm, {"momentum": 1}, "momentum"),
    (gg.nn.BatchNorm, {"epsilon": 0}, "epsilon must be a number above 0"),
    (gg.nn.LayerNorm, {"epsilon": -1.0}, "LayerNorm: epsilon"),
    (gg.nn.LayerNorm, {"epsilon": float("nan")}, "epsilon"),
    (gg.nn.Reshape, {"shape": (-1, -1)}, "not a shape"),
    (gg.nn.Reshape, {"shape": (0,)}, "not a shape"),
    (gg.nn.Reshape, {"shape": 4}, "list of sizes, not 4"),
    (gg.nn.Embedding, {"entries": 0, "dimension": 2}, "entries"),
    (gg.nn.SimpleRNN, {"units": -1}, "units"),
    (gg.nn.Conv2D, {"filters": 0}, "filters"),
    (gg.nn.Conv2D, {"filters": 1, "kernel_size": (3, 3, 3)}, "size is one number or two"),
    (gg.nn.Conv2D, {"filters": 1, "stride": 0}, "stride"),
    (
        gg.nn.Conv2D,
        {"filters": 1, "padding": "full"},
        r"unknown Conv2D: padding 'full' \(known: same, valid\)",
    ),
    (gg.nn.MaxPool2D, {"pool_size": 0}, "size"),
    (gg.nn.AveragePool2D, {"stride": (1, "2")}, "stride"),
]


@pytest.mark.parametrize(("cls", "options", "message"), BAD_OPTIONS)
def test_invalid_options_are_refused(cls, options, message):
    with pytest.raises(gg.InputError, match=message):
        cls(**options)


# --- batch normalization --------------------------------------------------------------------------------


def batch_norm(x, row_mask=None, training=True, momentum=0.1, state=None, seed=5):
    width = x.shape[-1]
    weights = random_arrays({"scale": (width,), "shift": (width,)}, seed)
    state = state or {"running_mean": np.full(width, 0.5), "running_variance": np.full(width, 2.0)}
    layer = gg.nn.BatchNorm(momentum=momentum)
    return run(layer, [x], weights, state, training=training, row_mask=row_mask)


@pytest.mark.parametrize("shape", [(5, 3), (5, 2, 2, 3)])
def test_running_statistics_move_by_momentum_to_mean_and_unbiased_variance(shape):
    x = np.random.default_rng(0).normal(2, 3, size=shape)
    _, state = batch_norm(x, momentum=0.25)
    flat = x.reshape(-1, 3)
    np.testing.assert_allclose(state["running_mean"], 0.75 * 0.5 + 0.25 * flat.mean(0))
    np.testing.assert_allclose(state["running_variance"], 0.75 * 2.0 + 0.25 * flat.var(0, ddof=1))


@pytest.mark.parametrize("shape", [(4, 3), (4, 2, 3)])
def test_padded_rows_do_not_count(shape):
    x = np.random.default_rng(0).normal(size=shape)
    padded = np.concatenate([x, np.full((3, *shape[1:]), 1e6)])
    unpadded, state = batch_norm(x)
    with_padding, padded_state = batch_norm(padded, row_mask=np.arange(7) < 4)
    np.testing.assert_allclose(with_padding[:4], unpadded, rtol=1e-12)
    for name, array in state.items():
        np.testing.assert_allclose(padded_state[name], array, rtol=1e-12)


def test_padded_rows_have_zero_gradient():
    x = make_input("x", (5, 2), "float64")
    row_mask = np.array([True, True, True, False, False])
    weights = {name: constant(np.ones(2), "float64") for name in ("scale", "shift")}
    state = {name: constant(np.ones(2), "float64") for name in ("running_mean", "running_variance")}
    out, _ = gg.nn.BatchNorm().build(make_context(True, row_mask, batch=5), [x], weights, state)
    factor = np.random.default_rng(1).normal(size=(5, 2)) * row_mask[:, None]
    (slope,) = gradient(reduce_sum(out * constant(factor, "float64")), [x])
    (array,) = evaluate(Graph((x,), (slope,)), [np.random.default_rng(0).normal(size=(5, 2))])
    assert (array[3:] == 0).all()
    assert (array[:3] != 0).all()


def test_one_valid_row_gives_the_shift():
    output, state = batch_norm(np.array([[3.0, -1.0], [9.0, 9.0]]), row_mask=[True, False])
    np.testing.assert_allclose(output[0], random_arrays({"scale": (2,), "shift": (2,)}, 5)["shift"])
    assert np.isfinite(state["running_variance"]).all()


def test_prediction_uses_the_running_statistics_and_does_not_update_them():
    x = np.random.default_rng(0).normal(size=(3, 2))
    running = {"running_mean": np.array([1.0, -2.0]), "running_variance": np.array([4.0, 0.25])}
    output, updates = batch_norm(x, training=False, state=running)
    weights = random_arrays({"scale": (2,), "shift": (2,)}, 5)
    expected = (x - running["running_mean"]) / np.sqrt(running["running_variance"] + 1e-5)
    np.testing.assert_allclose(output, expected * weights["scale"] + weights["shift"])
    assert updates == {}


# --- dropout --------------------------------------------------------------------------------


def dropout_output(rows, step=3, rate=0.25, width=50):
    x = np.ones((len(rows), width))
    return run(gg.nn.Dropout(rate), [x], training=True, rows=np.asarray(rows), step=step)[0]


def test_dropout_zeroes_at_its_rate_and_scales_the_rest():
    output = dropout_output(range(400))
    assert set(np.unique(output)) == {0.0, 1 / 0.75}
    zeros = (output == 0).mean()
    assert abs(zeros - 0.25) < 4 * np.sqrt(0.25 * 0.75 / output.size)


def test_the_mask_depends_on_seed_step_and_row_not_on_the_batch():
    one_batch = dropout_output(range(12))
    parts = np.concatenate(
        [dropout_output([0, 1, 2, 3, 4]), dropout_output([5]), dropout_output(range(6, 12))]
    )
    np.testing.assert_array_equal(one_batch, parts)
    np.testing.assert_array_equal(dropout_output([7, 2]), one_batch[[7, 2]])
    assert (dropout_output(range(12), step=4) != one_batch).any()


def test_the_mask_differs_between_layers_and_seeds():
    shape, rows = (40,), constant(np.arange(5), "uint32")

    def mask(stream, seed):
        random = Randomness(constant(np.array([seed, 0]), "uint32"), constant(0, "uint32"), rows)
        value = BuildContext("d", stream, True, constant(np.ones(5, bool), "bool"), random).mask(shape, 0.5)
        return evaluate(Graph((), (value,)), [])[0]

    assert (mask(1, 0) == mask(1, 0)).all()
    assert (mask(1, 0) != mask(2, 0)).any()
    assert (mask(1, 0) != mask(1, 1)).any()


def test_dropout_is_off_in_prediction_and_at_rate_zero():
    x = np.random.default_rng(0).normal(size=(3, 4))
    np.testing.assert_array_equal(run(gg.nn.Dropout(0.9), [x])[0], x)
    np.testing.assert_array_equal(run(gg.nn.Dropout(0.0), [x], training=True)[0], x)


def test_random_numbers_outside_training_are_refused():
    with pytest.raises(gg.InputError, match="'here' draws random numbers outside training"):
        make_context().mask((2,), 0.5)


# --- embedding, recurrent --------------------------------------------------------------------------------


def test_an_embedding_clips_its_index_and_adds_up_gradients():
    table = np.arange(6.0).reshape(3, 2)
    output, _ = run(gg.nn.Embedding(3, 2), [np.array([[-5.0, 99.0]])], {"weights": table})
    np.testing.assert_array_equal(output[0], table[[0, 2]])
    weights = make_input("weights", (5, 2), "float64")
    out, _ = gg.nn.Embedding(5, 2).build(
        make_context(), [constant(np.array(TOKENS), "float64")], {"weights": weights}, {}
    )
    (slope,) = gradient(reduce_sum(out), [weights])
    (array,) = evaluate(Graph((weights,), (slope,)), [np.zeros((5, 2))])
    np.testing.assert_array_equal(array[:, 0], np.bincount(np.ravel(TOKENS), minlength=5))


def test_recurrent_states_are_causal():
    weights = random_arrays({"weights": (2, 3), "recurrent": (3, 3), "bias": (3,)})
    x = np.random.default_rng(3).normal(size=(1, 5, 2))
    changed = x.copy()
    changed[:, 3] += 1
    before, after = (run(gg.nn.SimpleRNN(3), [item], weights)[0] for item in (x, changed))
    np.testing.assert_array_equal(before[:, :3], after[:, :3])
    assert (before[:, 3:] != after[:, 3:]).all()


def test_fans_match_the_literature():
    dense = gg.nn.Dense(4).weights([(7,)])
    assert dense["weights"].fans == dense["bias"].fans == (7, 4)
    assert gg.nn.Conv2D(8, (3, 2)).weights([(9, 9, 5)])["weights"].fans == (30, 48)
