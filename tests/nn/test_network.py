"""Networks: chains, the functional form, names, documents, and refusals."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import glassgrad as gg
from glassgrad.backends.reference import evaluate
from glassgrad.graph.node import Graph
from glassgrad.nn.activations import ACTIVATIONS
from glassgrad.nn.layer import LAYERS, Layer
from glassgrad.nn.layers.dense import Dense
from glassgrad.nn.layers.reshaping import Flatten
from glassgrad.nn.network import LayerNode, Network, activation_of, from_document, own_activation
from glassgrad.ops.op import constant, make_input
from registries import restore_afterwards


def layer_names(network):
    return [node.name for node in network.nodes]


def outputs_of(network, x, weights):
    """The outputs of all layers in prediction."""
    features = make_input("features", x.shape, "float64")
    params = {name: make_input(name, array.shape, "float64") for name, array in weights.items()}
    row_mask = constant(np.ones(len(x), bool), "bool")
    built = network.build(features, params, {}, row_mask=row_mask)
    graph = Graph((features, *params.values()), tuple(built.outputs.values()))
    return dict(zip(built.outputs, evaluate(graph, [x, *weights.values()]), strict=True))


# --- the two forms -----------------------------------------------------------------------------------------


def test_a_chain_names_layers_by_kind_and_keeps_explicit_names():
    network = gg.Sequential(
        gg.nn.Dense(3), ("gate", gg.nn.Dropout()), gg.nn.Dense(2), gg.nn.Conv2D(1), gg.nn.Dense(1)
    )
    assert layer_names(network) == ["dense_1", "gate", "dense_2", "conv2d_1", "dense_3"]
    assert [node.inputs for node in network.nodes[:3]] == [("input",), ("dense_1",), ("gate",)]
    assert network.output == "dense_3"


def test_automatic_names_avoid_explicit_names():
    network = gg.Sequential(("dense_2", gg.nn.Dense(3)), gg.nn.Dense(2), gg.nn.Dense(1))
    assert layer_names(network) == ["dense_2", "dense_3", "dense_4"]
    assert layer_names(gg.Sequential(gg.nn.Dense(3), gg.nn.Dense(2), ("dense_1", gg.nn.Dense(1)))) == [
        "dense_2",
        "dense_3",
        "dense_1",
    ]
    layers = [{"type": "dense", "units": 1}, {"type": "dense", "name": "dense_1", "units": 1}]
    assert layer_names(from_document({"layers": layers})) == ["dense_2", "dense_1"]


def test_residual_and_concatenated_connections_match_numpy():
    start = gg.Input()
    hidden = gg.nn.Dense(4, "tanh")(start, name="hidden")
    second = gg.nn.Dense(4)(hidden)
    total = gg.nn.Add()(hidden, second)
    joined = gg.nn.Concatenate()(total, start)
    network = gg.functional(start, gg.nn.Dense(2)(joined, name="out"))
    assert layer_names(network) == ["hidden", "dense_2", "add_1", "concatenate_1", "out"]
    shapes = network.shapes((3,))
    assert shapes["concatenate_1"] == (7,)
    assert shapes["out"] == (2,)

    generator = np.random.default_rng(0)
    w = {name: generator.normal(size=item.shape) for name, item in network.weights((3,)).items()}
    assert list(w) == [
        f"{name}.{part}" for name in ("hidden", "dense_2", "out") for part in ("weights", "bias")
    ]
    x = generator.normal(size=(5, 3))
    outputs = outputs_of(network, x, w)
    h = np.tanh(x @ w["hidden.weights"] + w["hidden.bias"])
    added = h + (h @ w["dense_2.weights"] + w["dense_2.bias"])
    np.testing.assert_allclose(outputs["add_1"], added)
    joined = np.concatenate([added, x], axis=1)
    np.testing.assert_allclose(outputs["out"], joined @ w["out.weights"] + w["out.bias"])


def test_a_deep_chain_needs_no_recursion():
    network = gg.Sequential(*(gg.nn.Dense(1) for _ in range(3000)))
    assert len(network.nodes) == 3000
    assert network.output == "dense_3000"


def test_layers_off_the_path_to_the_output_are_left_out():
    start = gg.Input()
    hidden = gg.nn.Dense(3)(start)
    gg.nn.Dense(100)(hidden, name="aside")
    assert layer_names(gg.functional(start, gg.nn.Dense(2)(hidden))) == ["dense_1", "dense_2"]


def test_one_layer_object_used_twice_is_two_layers():
    layer = gg.nn.Dense(3)
    network = gg.Sequential(layer, layer)
    assert list(network.weights((3,))) == [
        "dense_1.weights",
        "dense_1.bias",
        "dense_2.weights",
        "dense_2.bias",
    ]


# --- refusals ----------------------------------------------------------------------------------------------


def two_inputs():
    return gg.functional(gg.Input(), gg.nn.Add()(gg.nn.Dense(2)(gg.Input()), gg.nn.Dense(2)(gg.Input())))


TENSOR = gg.Input()
REFUSED = [
    (gg.Sequential, "at least one layer"),
    (lambda: gg.Sequential("dense"), "takes layers or pairs .name, layer., not 'dense'"),
    (lambda: gg.Sequential((gg.nn.Dense(1),)), "takes layers"),
    (lambda: gg.Sequential((1, gg.nn.Dense(1))), "1 is not a valid layer name"),
    (lambda: gg.Sequential(("a b", gg.nn.Dense(1))), "'a b' is not a valid layer name"),
    (lambda: gg.Sequential(("a.b", gg.nn.Dense(1))), "is not a valid layer name"),
    (lambda: gg.Sequential(("input", gg.nn.Dense(1))), "not 'input'"),
    (
        lambda: gg.Sequential(("same", gg.nn.Dense(1)), ("same", gg.nn.Dense(1))),
        "two layers are named 'same'",
    ),
    (lambda: gg.nn.Dense(1)("input"), "Dense takes symbolic tensors, such as Input.., not 'input'"),
    (lambda: gg.functional(gg.Input(), gg.Input()), "an Input.. that is not the start"),
    (lambda: gg.functional(TENSOR, TENSOR), "does not depend on the input"),
    (two_inputs, "an Input.. that is not the start of the network"),
    (
        lambda: Network((LayerNode("a", gg.nn.Dense(1), ("b",)), LayerNode("b", gg.nn.Dense(1), ("a",)))),
        "unknown input 'b'",
    ),
    (lambda: Network((LayerNode("a", gg.nn.Dense(1), ("a",)),)), "layer 'a': unknown input 'a'"),
    (lambda: Network((LayerNode("a", gg.nn.Dense(1), ()),)), "layer 'a' has no inputs"),
    (lambda: gg.Sequential(gg.nn.Dense(1))["dense_9"], "unknown layer 'dense_9'; did you mean 'dense_1'"),
]


@pytest.mark.parametrize(("make", "message"), REFUSED)
def test_invalid_networks_are_refused(make, message):
    with pytest.raises(gg.InputError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_a_layer_that_does_not_fit_is_named_with_its_input_shapes():
    start = gg.Input()
    network = gg.functional(start, gg.nn.Add()(gg.nn.Dense(3)(start), gg.nn.Dense(4)(start), name="sum"))
    with pytest.raises(gg.InputError, match=r"layer 'sum' \(add\) on \(3,\) and \(4,\): .*one shape"):
        network.shapes((2,))


DENSE = {"type": "dense", "units": 2}
BAD_DOCUMENTS = [
    ([DENSE], "a table with the entry 'layers', not list"),
    ({"layer": [DENSE]}, "unknown entry 'layer'; did you mean 'layers'"),
    ({}, "list 'layers' with at least one layer"),
    ({"layers": []}, "at least one layer"),
    ({"layers": "dense"}, "at least one layer"),
    ({"layers": [DENSE, "dense"]}, "layer 2: needs a text entry 'type'"),
    ({"layers": [{"units": 2}]}, "layer 1: needs a text entry 'type'"),
    ({"layers": [DENSE, {"type": "densse"}]}, "layer 2: unknown layer 'densse'; did you mean 'dense'"),
    (
        {"layers": [{"type": "dense", "unit": 2}]},
        "layer 1: layer 'dense': unknown option 'unit'; did you mean 'units'",
    ),
    ({"layers": [{"type": "dense"}]}, "layer 1: layer 'dense' takes units"),
    ({"layers": [DENSE | {"units": "2"}]}, "layer 1: Dense: units must be a whole number"),
    ({"layers": [DENSE | {"activation": "rel"}]}, "layer 1: unknown activation 'rel'; did you mean 'relu'"),
    ({"layers": [DENSE | {"name": 3}]}, "layer 1: 3 is not a valid layer name"),
    ({"layers": [DENSE | {"name": "in put"}]}, "layer 1: 'in put' is not a valid layer name"),
    ({"layers": [DENSE | {"inputs": [1]}]}, "layer 1: 'inputs' is a list of layer names"),
    ({"layers": [DENSE | {"inputs": []}]}, "layer 1: 'inputs' is a list of layer names"),
    ({"layers": [DENSE | {"inputs": ["dense_7"]}]}, "layer 'dense_1': unknown input 'dense_7'"),
    ({"layers": [DENSE | {"name": "a"}, DENSE | {"name": "a"}]}, "two layers are named 'a'"),
    ({"layers": [{"type": "reshape", "shape": 3}]}, "layer 1: Reshape"),
]


@pytest.mark.parametrize(("document", "message"), BAD_DOCUMENTS)
def test_invalid_documents_are_refused_with_the_layer_and_the_entry(document, message):
    with pytest.raises(gg.InputError, match=message) as caught:
        from_document(document)
    assert "\n" not in str(caught.value)


def test_a_short_document_uses_defaults():
    network = from_document(
        {"layers": [{"type": "dense", "units": 3}, {"type": "dropout", "inputs": "input"}]}
    )
    assert network.nodes[1].inputs == ("input",)
    assert network.nodes[0].layer == gg.nn.Dense(3)


# --- round trip through documents -------------------------------------------------------------------------------

SIZES = st.integers(1, 9)
PAIRS = SIZES | st.tuples(SIZES, SIZES)
ACTIVATION = st.sampled_from(list(ACTIVATIONS)) | st.just("leaky_relu(0.3)") | st.just("elu(0.5)")
INIT = st.sampled_from(["zeros", "he_normal", "lsuv", "glorot_uniform", "normal(0.2)", "uniform(-1.0, 1.0)"])
EPSILON = st.floats(1e-9, 1.0)
LAYER = st.one_of(
    st.builds(gg.nn.Dense, SIZES, ACTIVATION, INIT, bias=st.booleans()),
    st.builds(gg.nn.ActivationLayer, ACTIVATION),
    st.builds(gg.nn.Dropout, st.floats(0, 0.99)),
    st.builds(gg.nn.BatchNorm, st.floats(0, 0.99), EPSILON),
    st.builds(gg.nn.LayerNorm, EPSILON),
    st.builds(gg.nn.Flatten),
    st.builds(gg.nn.Reshape, st.lists(SIZES, max_size=3).flatmap(lambda s: st.sampled_from([s, [-1, *s]]))),
    st.builds(gg.nn.Add),
    st.builds(gg.nn.Multiply),
    st.builds(gg.nn.Concatenate),
    st.builds(gg.nn.Embedding, SIZES, SIZES, INIT),
    st.builds(gg.nn.SimpleRNN, SIZES, ACTIVATION, last=st.booleans()),
    st.builds(gg.nn.Conv2D, SIZES, PAIRS, PAIRS, st.sampled_from(["valid", "same"]), ACTIVATION),
    st.builds(gg.nn.MaxPool2D, PAIRS, st.none() | PAIRS),
    st.builds(gg.nn.AveragePool2D, PAIRS, st.none() | PAIRS),
    st.builds(gg.nn.GlobalAveragePool2D),
)


@st.composite
def networks(draw):
    """Layers in a random order, each connected to earlier layers only, so that the graph is acyclic."""
    steps = []
    for number in range(draw(st.integers(1, 8))):
        earlier = ["input", *(step.name for step in steps)]
        sources = draw(st.lists(st.sampled_from(earlier), min_size=1, max_size=3))
        name = draw(st.sampled_from([f"layer{number}", f"x-{number}", f"_{number}", f"dense_{number}"]))
        steps.append(LayerNode(name, draw(LAYER), tuple(sources)))
    return Network(tuple(steps))


@given(networks())
def test_a_network_survives_the_round_trip_through_its_document(network):
    document = network.to_document()
    assert from_document(json.loads(json.dumps(document))) == network
    assert from_document(document).to_document() == document


def test_the_document_names_all_layers_and_omits_default_inputs():
    start = gg.Input()
    hidden = gg.nn.Dense(2)(start)
    document = gg.functional(start, gg.nn.Add()(hidden, gg.nn.Dense(2)(hidden))).to_document()
    assert [entry["name"] for entry in document["layers"]] == ["dense_1", "dense_2", "add_1"]
    assert [entry.get("inputs") for entry in document["layers"]] == [None, None, ["dense_1", "dense_2"]]


# --- the last activation, and custom layers -----------------------------------------------------------------


def test_the_final_activation_is_that_of_the_last_layer_that_computes():
    assert gg.Sequential(gg.nn.Dense(2, "softmax")).final_activation().name == "softmax"
    assert gg.Sequential(gg.nn.Dense(2), gg.nn.ActivationLayer("tanh")).final_activation().name == "tanh"
    assert gg.Sequential(gg.nn.Dense(2, "tanh"), gg.nn.BatchNorm()).final_activation().name == "identity"
    assert gg.Sequential(gg.nn.Dense(2, "softmax"), gg.nn.Flatten()).final_activation().name == "softmax"
    assert gg.Sequential(gg.nn.Dropout(), gg.nn.Flatten()).final_activation().name == "identity"
    assert gg.Sequential(gg.nn.SimpleRNN(2, "sigmoid", last=True)).final_activation().name == "sigmoid"


@dataclass(frozen=True)
class Twice(Layer):
    """A layer that is not registered."""

    def output_shape(self, inputs):
        return inputs[0]

    def build(self, context, inputs, weights, state):
        return inputs[0] * 2.0, {}


def test_an_unregistered_layer_works_but_has_no_document():
    network = gg.Sequential(Twice(), Twice())
    assert layer_names(network) == ["twice_1", "twice_2"]
    outputs = outputs_of(network, np.ones((1, 2)), {})
    np.testing.assert_array_equal(outputs["twice_2"], [[4.0, 4.0]])
    with pytest.raises(gg.InputError, match="Twice is not a registered layer; register it"):
        network.to_document()


def test_a_layer_registered_later_is_named_by_its_registered_name(monkeypatch):
    assert layer_names(gg.Sequential(Twice())) == ["twice_1"]
    restore_afterwards(monkeypatch, LAYERS)
    gg.register("layer", "doubled", Twice)
    network = gg.Sequential(Twice())
    assert layer_names(network) == ["doubled_1"]
    assert from_document(network.to_document()) == network


def test_the_activation_of_a_layer_is_its_option_or_the_identity():
    relu = ACTIVATIONS.make("relu")
    assert own_activation(Dense(3, "relu")) == activation_of(Dense(3, "relu")) == relu
    assert own_activation(Flatten()) is None
    assert activation_of(Flatten()) == ACTIVATIONS.make("identity")

    class Labelled(Flatten):
        activation = "relu"  # a string, not an Activation

    assert own_activation(Labelled()) is None
