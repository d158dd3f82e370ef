"""The sum over paths equals the sweeps and central differences, for every kind of layer.

This is one file because all tests share the explained networks and the brute-force derivatives.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import glassgrad as gg
from glassgrad.explain import links
from glassgrad.explain.explain import explain_derivative, telling_weight
from glassgrad.explain.explanation import Explanation
from glassgrad.explain.links import EvaluatedNetwork
from glassgrad.explain.paths import PathSearch
from glassgrad.nn.activations import ACTIVATIONS
from glassgrad.nn.layer import LAYERS, Layer
from glassgrad.training.model import Model
from glassgrad.training.run import Run

DIFFERENTIABLE = [name for name in ACTIVATIONS if name not in ("step",)]


@dataclass(frozen=True)
class Twist(Layer):
    """A custom layer: every value times the next one, plus its sine."""

    def output_shape(self, inputs: Any) -> Any:
        return inputs[0]

    def build(self, context: Any, inputs: Any, weights: Any, state: Any) -> Any:
        (x,) = inputs
        shifted = gg.ops.concatenate(
            [gg.ops.slice_axis(x, -1, 1, x.shape[-1]), gg.ops.slice_axis(x, -1, 0, 1)], axis=-1
        )
        return x * shifted + gg.ops.sin(x), {}


def dense(name: str) -> gg.Network:
    return gg.Sequential(gg.nn.Dense(4, activation=name), gg.nn.Dense(3), gg.nn.Dense(2))


def branches() -> gg.Network:
    x = gg.Input()
    a, b = gg.nn.Dense(4, activation="tanh")(x), gg.nn.Dense(4, activation="silu")(x)
    joined = gg.nn.Concatenate()(gg.nn.Add()(a, b), gg.nn.Multiply()(a, b), gg.nn.Multiply()(a, a))
    return gg.functional(x, gg.nn.Dense(2)(joined))


def sequence(width: int) -> gg.Network:
    return gg.Sequential(gg.nn.Reshape((width, 1)), gg.nn.SimpleRNN(3), gg.nn.Flatten(), gg.nn.Dense(2))


NETWORKS: dict[str, Callable[[], gg.Network]] = {
    **{f"dense {name}": partial(dense, name) for name in DIFFERENTIABLE},
    "dense on sequences": lambda: gg.Sequential(
        gg.nn.Reshape((3, 2)), gg.nn.Dense(3, activation="softmax"), gg.nn.Flatten(), gg.nn.Dense(2)
    ),
    "activations alone": lambda: gg.Sequential(
        gg.nn.Dense(4),
        gg.nn.ActivationLayer("gelu"),
        gg.nn.ActivationLayer("identity"),
        gg.nn.ActivationLayer("softmax"),
        gg.nn.Dense(2),
    ),
    "normalization": lambda: gg.Sequential(
        gg.nn.Dense(4),
        gg.nn.BatchNorm(),
        gg.nn.ActivationLayer("relu"),
        gg.nn.LayerNorm(),
        gg.nn.Dropout(0.4),
        gg.nn.Dense(2),
    ),
    "branches": branches,
    "recurrent": lambda: sequence(6),
    "custom": lambda: gg.Sequential(gg.nn.Dense(4), Twist(), gg.nn.Dense(2)),
    "convolution": lambda: gg.Sequential(
        gg.nn.Reshape((6, 1, 1)),
        gg.nn.Conv2D(3, kernel_size=(3, 1), padding="same", activation="tanh"),
        gg.nn.MaxPool2D((2, 1)),
        gg.nn.Conv2D(2, kernel_size=(2, 1)),
        gg.nn.AveragePool2D((2, 1), stride=1),
        gg.nn.Flatten(),
        gg.nn.Dense(2),
    ),
    "strides": lambda: gg.Sequential(
        gg.nn.Reshape((3, 2, 1)),
        gg.nn.Conv2D(3, kernel_size=2, stride=2, padding="same"),
        gg.nn.GlobalAveragePool2D(),
        gg.nn.Dense(2),
    ),
}
numbers = np.random.default_rng(0)
X = numbers.normal(size=(40, 6))
Y = X[:, :2] @ numbers.normal(size=(2, 2)) + X[:, 2:4]


def fitted(network: gg.Network, targets: Any = Y, **options: Any) -> Run:
    settings: dict[str, Any] = {"epochs": 2, "backend": "reference", "validation": 0.0, "test": 0.0}
    run: Run = gg.train(gg.from_arrays(X, targets), network=network, **(settings | options))
    return run


def some_weights(model: Model) -> list[str]:
    """The first and the last element of each weight."""
    names = []
    for name, array in model.weights.items():
        ends = [np.unravel_index(flat, array.shape) for flat in sorted({0, array.size - 1})]
        names += [f"{name}[{','.join(map(str, map(int, index)))}]" for index in ends]
    return names


def check_explanation(explanation: Explanation) -> None:
    assert explanation.forward_error <= 1e-10
    assert explanation.central_error <= 1e-6 or explanation.kink
    assert explanation.paths_error is not None
    assert explanation.paths_error <= 1e-10
    assert explanation.shown + explanation.remainder == pytest.approx(
        explanation.derivative, rel=1e-12, abs=1e-300
    )
    sizes = [abs(line.product) for line in explanation.lines]
    assert sizes == sorted(sizes, reverse=True)
    for line in explanation.lines:
        assert np.prod([factor.value for factor in line.factors]) == pytest.approx(line.product, rel=1e-12)


@pytest.mark.parametrize("case", NETWORKS)
def test_paths_add_up_and_every_check_agrees(case: str) -> None:
    model = fitted(NETWORKS[case]()).model
    for weight in some_weights(model):
        check_explanation(explain_derivative(model, X, targets=Y, row=3, weight=weight))
    explanation = explain_derivative(model, X, targets=Y, row=3, input="x[1]", paths=10_000)
    check_explanation(explanation)
    if explanation.paths is not None and explanation.paths <= 10_000:
        assert len(explanation.lines) == explanation.paths
        assert explanation.shown == pytest.approx(explanation.derivative, rel=1e-9, abs=1e-14)
        assert len({line.units for line in explanation.lines}) == explanation.paths


def test_an_embedding_has_paths_from_its_rows() -> None:
    tokens = numbers.integers(0, 5, (30, 4))
    network = gg.Sequential(gg.nn.Embedding(5, 3), gg.nn.SimpleRNN(4), gg.nn.Flatten(), gg.nn.Dense(3))
    data = gg.from_arrays(tokens, tokens[:, 0] % 3)
    run = gg.train(data, network=network, epochs=1, backend="reference", scaling="none", validation=0, test=0)
    token = int(tokens[2, 1])
    explanation = explain_derivative(
        run.model, tokens, targets=tokens[:, 0] % 3, row=2, weight=f"embedding_1.weights[{token},1]"
    )
    check_explanation(explanation)
    assert explanation.paths


def test_all_layer_kinds_are_covered() -> None:
    kinds = {
        LAYERS.config(node.layer)["name"]
        for make in NETWORKS.values()
        for node in make().nodes
        if type(node.layer) is not Twist
    }
    built_in = {name for name in LAYERS if LAYERS[name].__module__.startswith("glassgrad.")}
    assert built_in - kinds == {"embedding"}


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_search_matches_an_exhaustive_search(seed: int) -> None:
    """On small random dense networks, compared with the sorted list of all paths."""
    rng = np.random.default_rng(seed)
    shape = [int(n) for n in rng.integers(1, 4, 4)]
    kind = rng.choice(["relu", "tanh", "softmax"])
    network = gg.Sequential(*(gg.nn.Dense(n, activation=str(kind)) for n in shape[1:]))
    weights = {name: rng.normal(size=item.shape) for name, item in network.weights((shape[0],)).items()}
    evaluated = EvaluatedNetwork(network, weights, {}, rng.normal(size=shape[0]))
    seed_values = rng.normal(size=shape[-1])
    ends = np.zeros(shape[0])
    ends[0] = 1.0
    search = PathSearch(evaluated, "input", ends, network.output, seed_values)
    places = list(evaluated.tensors)
    matrices = []
    for target, source in zip(places[:0:-1], places[-2::-1], strict=True):
        (link,) = evaluated.links(target)
        full = np.zeros((evaluated.tensors[target].values.size, evaluated.tensors[source].values.size))
        full[link.rows, link.columns] = link.values
        matrices.append(full)
    products = []
    for units in itertools.product(
        *(range(evaluated.tensors[name].values.size) for name in reversed(places))
    ):
        if units[-1] == 0:
            product = seed_values[units[0]]
            for matrix, (target, source) in zip(matrices, itertools.pairwise(units), strict=True):
                product *= matrix[target, source]
            if product:
                products.append(product)
    search_products = [path.product for path in search.strongest()]
    assert search.count == len(products) == len(search_products)
    assert np.abs(search_products) == pytest.approx(sorted(np.abs(products), reverse=True), rel=1e-12)
    assert search.total == pytest.approx(sum(products), rel=1e-9, abs=1e-12)


def test_a_shared_weight_has_paths_to_all_units_on_which_it_acts() -> None:
    network = gg.Sequential(
        gg.nn.Reshape((6, 1, 1)), gg.nn.Conv2D(1, kernel_size=(2, 1)), gg.nn.Flatten(), gg.nn.Dense(2)
    )
    model = fitted(network).model
    explanation = explain_derivative(
        model, X, targets=Y, row=0, weight="conv2d_1.weights[1,0,0,0]", paths=100
    )
    assert explanation.paths == 5 * 2
    values = {line.factors[-1].symbol for line in explanation.lines}
    assert values == {f"reshape_1[{i}, 0, 0]" for i in range(1, 6)}
    weights = {
        factor.symbol for line in explanation.lines for factor in line.factors if factor.kind == "weight"
    }
    assert weights == {f"dense_1.weights[{i},{j}]" for i in range(5) for j in range(2)}


def test_the_weights_of_a_convolution_have_their_names() -> None:
    model = fitted(NETWORKS["convolution"]()).model
    explanation = explain_derivative(model, X, targets=Y, row=0, input="x[0]", paths=1000)
    for line in explanation.lines:
        for factor in line.factors:
            if factor.kind == "weight":
                name, _, index = factor.symbol.rstrip("]").partition("[")
                assert model.weights[name][tuple(map(int, index.split(",")))] == pytest.approx(factor.value)
    assert any("conv2d_1.weights" in factor.symbol for factor in explanation.lines[0].factors)


def test_a_dead_unit_has_no_path_and_the_reason_is_given() -> None:
    model = fitted(gg.Sequential(gg.nn.Dense(3, activation="relu"), gg.nn.Dense(2))).model
    model.weights["dense_1.bias"][1] = -100.0
    explanation = explain_derivative(model, X, targets=Y, row=0, weight="dense_1.weights[2,1]")
    assert (explanation.derivative, explanation.paths, explanation.lines) == (0.0, 0, ())
    assert explanation.zero is not None
    assert "the relu of dense_1[1] has slope 0 at" in explanation.zero
    zeros = np.zeros((2, 6))
    model.schema.feature_mean[:] = 0
    multiplied_by_zero = explain_derivative(model, zeros, targets=Y[:2], row=0, weight="dense_1.weights[2,0]")
    assert multiplied_by_zero.zero == "dense_1.weights[2,0] is multiplied by 0 in this row"


def test_a_kink_is_detected() -> None:
    run = fitted(gg.Sequential(gg.nn.Dense(2, activation="relu"), gg.nn.Dense(2)), scaling="none")
    run.model.weights["dense_1.weights"][:, 0] = 0
    run.model.weights["dense_1.bias"][0] = 0
    explanation = explain_derivative(run.model, X, targets=Y, row=0, weight="dense_1.bias[0]")
    assert explanation.kink
    assert explanation.forward_error <= 1e-10


def test_a_layer_that_is_too_large_is_skipped_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    model = fitted(gg.Sequential(gg.nn.Dense(9), gg.nn.Dense(9), gg.nn.Dense(2))).model
    monkeypatch.setattr(links, "LARGEST", 50)
    explanation = explain_derivative(model, X, targets=Y, input="x[0]")
    assert explanation.paths is None
    assert explanation.omitted is not None
    assert "dense_2" in explanation.omitted
    assert explanation.forward_error <= 1e-10
    assert explain_derivative(model, X, targets=Y, weight="dense_3.bias[0]").paths == 1


def test_the_search_can_be_skipped() -> None:
    explanation = explain_derivative(
        fitted(gg.Sequential(gg.nn.Dense(2))).model, X, targets=Y, input="x[0]", paths=0
    )
    assert (explanation.paths, explanation.path_total, explanation.lines) == (None, None, ())


OPTIMIZERS: Mapping[str, dict[str, Any]] = {
    "sgd": {"optimizer": "sgd", "learning_rate": 0.1},
    "momentum": {"optimizer": "sgd", "learning_rate": 0.1, "momentum": 0.9},
    "nesterov": {"optimizer": "sgd(0.1, momentum=0.9, nesterov=True)"},
    "decay": {"optimizer": "sgd", "learning_rate": 0.1, "weight_decay": 0.1},
    "adam": {"optimizer": "adam"},
    "adamw": {"optimizer": "adamw"},
    "rmsprop": {"optimizer": "rmsprop"},
    "adagrad": {"optimizer": "adagrad"},
    "clipped by norm": {"optimizer": "sgd", "learning_rate": 0.1, "clip_norm": 0.01},
    "clipped by value": {"optimizer": "adam", "clip_value": 0.001},
}


@pytest.mark.parametrize("case", OPTIMIZERS)
def test_the_step_equals_training_on_the_row(case: str) -> None:
    network = gg.Sequential(gg.nn.Dense(3, activation="tanh"), gg.nn.Dense(2))
    one_step = {"epochs": 1, "dtype": "float64", "backend": "reference", "validation": 0.0, "test": 0.0}
    unscaled = {"schedule": "constant", "keep": "last", "scaling": "none"}
    data = gg.from_arrays(X[:1], Y[:1])
    run = gg.train(data, network=network, **one_step, **unscaled, **OPTIMIZERS[case])
    assert run.start is not None
    start = run.start
    start.training = run.model.training
    for weight, index in (("dense_1.weights", (2, 1)), ("dense_2.bias", (1,))):
        name = f"{weight}[{','.join(map(str, index))}]"
        step = explain_derivative(start, X[:1], targets=Y[:1], weight=name).step
        assert step is not None
        assert step.new == pytest.approx(float(run.model.weights[weight][index]), rel=1e-12)
        values = {term.name: term.value for term in step.terms[:-1]}
        assert step.new == pytest.approx(values["w"] - values["step"] - values.get("decay", 0.0), rel=1e-12)
        if "step" in values and "(g + " not in step.terms[-2].formula:
            assert _computed(step.terms, values) == pytest.approx(values["step"], rel=1e-6)


def _computed(terms: Any, values: Mapping[str, float]) -> float:
    """The step computed by the displayed formula."""
    formula = next(term.formula for term in terms if term.name == "step")
    for symbol, code in (("×", "*"), ("√S", "S**0.5"), ("√s", "s**0.5"), ("ε", "1e-8")):
        formula = formula.replace(symbol, code)
    return float(eval(formula, {}, dict(values)))


def test_a_frozen_layer_has_no_step() -> None:
    run = fitted(gg.Sequential(gg.nn.Dense(3), gg.nn.Dense(2)), freeze=("dense_1",))
    assert explain_derivative(run.model, X, targets=Y, weight="dense_1.bias[0]").step is None


def test_the_telling_weight_has_the_largest_derivative() -> None:
    model = fitted(gg.Sequential(gg.nn.Dense(3, activation="tanh"), gg.nn.Dense(2))).model
    name = telling_weight(model, X, targets=Y, row=1)
    assert name is not None
    best = abs(explain_derivative(model, X, targets=Y, row=1, weight=name).derivative)
    others = [
        explain_derivative(model, X, targets=Y, row=1, weight=f"dense_1.weights[{i},{j}]")
        for i in range(6)
        for j in range(3)
    ]
    assert best == max(abs(other.derivative) for other in others)


def test_a_row_of_a_table_by_frame_or_columns() -> None:
    columns = {
        "age": [20.0 + i % 40 for i in range(60)],
        "kind": ["a" if i % 3 else "b" for i in range(60)],
        "y": [float(i % 40) / 7 for i in range(60)],
    }
    run = gg.train(columns, target="y", epochs=2, layers=(4,), backend="reference")
    explanation = explain_derivative(run.model, columns, row=5, input="age")
    assert explanation.given == 25.0
    assert explanation.unit is not None
    raised = dict(columns, age=[20.0 + i % 40 + 1e-4 for i in range(60)])
    slope = (explain_derivative(run.model, raised, row=5, input="age").loss - explanation.loss) / 1e-4
    assert explanation.per_unit == pytest.approx(slope, rel=1e-2, abs=1e-6)
    pandas = pytest.importorskip("pandas")
    assert (
        explain_derivative(run.model, pandas.DataFrame(columns), row=5, input="age").derivative
        == explanation.derivative
    )
    assert explain_derivative(run.model, columns, row=5, input="kind=a").given == "a"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight": "dense_1.weights"}, "does not name a weight"),
        ({"weight": "dense_9.weights[0,0]"}, "unknown weight"),
        ({"weight": "dense_1.weights[6,0]"}, "go from dense_1.weights[0,0] to dense_1.weights[5,1]"),
        ({"weight": "dense_1.weights[0]"}, "go from"),
        ({"input": "x[6]"}, "its inputs go from x[0] to x[5]"),
        ({"input": "x[0]", "row": 40}, "rows 0 to 39"),
        ({"input": "x[0]", "row": -1}, "rows 0 to 39"),
        ({"input": "x[0]", "paths": -1}, "paths"),
        ({}, "one weight"),
        ({"input": "x[0]", "weight": "dense_1.bias[0]"}, "one weight"),
        ({"input": "x[0]", "targets": None}, "no targets"),
    ],
)
def test_invalid_arguments_are_refused(options: dict[str, Any], message: str) -> None:
    model = fitted(gg.Sequential(gg.nn.Dense(2))).model
    with pytest.raises(gg.InputError, match=message.replace("[", r"\[")) as refused:
        explain_derivative(model, X, **({"targets": Y} | options))
    assert "\n" not in str(refused.value)


def test_a_data_set_is_a_source() -> None:
    data = gg.load_source("digits")
    run = gg.train(data, layers=[4], epochs=1)
    explanation = gg.explain_derivative(run.model, data, row=3, weight="dense_1.weights[10,2]")
    assert (
        explanation.derivative
        == gg.explain_derivative(run.model, "digits", row=3, weight="dense_1.weights[10,2]").derivative
    )


def test_an_index_into_an_embedding_has_no_derivative() -> None:
    tokens = np.random.default_rng(0).integers(0, 5, (40, 3)).astype(np.float64)
    data = gg.from_arrays(tokens, np.arange(40) % 2, name="tokens")
    network = gg.Sequential(gg.nn.Embedding(5, 4), gg.nn.Flatten(), gg.nn.Dense(1))
    run = gg.train(data, network=network, scaling="none", epochs=1)
    with pytest.raises(gg.InputError, match=r"x\[1\] is an index into layer 'embedding_1'"):
        gg.explain_derivative(run.model, data, input="x[1]")


def test_paths_are_counted_exactly() -> None:
    data = gg.load_source("digits")
    run = gg.train(data, layers=[7] * 22, activation="tanh", epochs=0)
    explanation = gg.explain_derivative(run.model, data, row=0, weight="dense_1.weights[20,0]", paths=1)
    assert explanation.paths == 10 * 7**21, "more than a float64 can count"
