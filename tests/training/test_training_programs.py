"""The printed program of a training step: forward pass, backward pass and update, in this order."""

from __future__ import annotations

import numpy as np
import pytest

import glassgrad as gg
from glassgrad.losses.table import LOSSES
from glassgrad.nn.layer import Weightless
from glassgrad.optim.gradients import GradientTransformation
from glassgrad.optim.optimizers import OPTIMIZERS
from glassgrad.training.programs import evaluation_program, training_program
from training.small import blobs, train

SECTIONS = ["forward:", "backward:", "update:"]


def program(network=None, optimizer="sgd", loss="categorical_cross_entropy", **options):
    network = network or gg.Sequential(gg.nn.Dense(3, "relu"), gg.nn.Dense(2))
    options = {"batch": 4, "targets": None} | options
    return training_program(network, (5,), LOSSES.make(loss), OPTIMIZERS.make(optimizer), **options)


def sections(text):
    return [line for line in text.splitlines() if line in SECTIONS]


@pytest.mark.parametrize("optimizer", list(OPTIMIZERS))
def test_the_sections_come_in_order_each_once(optimizer):
    network = gg.Sequential(
        gg.nn.Dense(3, "gelu"), gg.nn.BatchNorm(), gg.nn.Dropout(0.2), gg.nn.LayerNorm(), gg.nn.Dense(2)
    )
    found = program(
        network,
        optimizer,
        transformation=GradientTransformation(clip_norm=1.0, clip_value=2.0),
        weighted=True,
    )
    assert sections(str(found)) == SECTIONS


def test_a_frozen_layer_has_no_backward_and_no_update():
    text = str(program(frozen=["dense_1"]))
    assert "dense_1.weights <-" not in text
    assert "dense_2.weights <-" in text
    backward = text[text.index("backward:") : text.index("update:")]
    assert "dense_1" not in backward


def test_programs_have_no_ops_that_only_the_chain_rule_reads():
    own = gg.ops.custom_op(
        lambda x: gg.ops.stop_gradient(gg.ops.floor(x)), derivative=lambda ctx, cts, ys, xs: cts
    )

    class Rounded(Weightless):
        def output_shape(self, inputs):
            return inputs[0]

        def apply(self, inputs):
            return own(inputs[0])

    network = gg.Sequential(
        gg.nn.Dense(3), ("rounded", Rounded()), gg.nn.BatchNorm(), gg.nn.Dense(2, "softmax")
    )
    for made in (
        program(network, loss="cross_entropy"),
        evaluation_program(network, (5,), LOSSES.make("cross_entropy"), batch=2),
    ):
        names = {node.op.name for node in made.graph.nodes()}
        assert "floor" in names
        assert not names & {"stop_gradient", "call"}


def test_an_evaluation_has_no_backward():
    network = gg.Sequential(gg.nn.Dense(3, "relu"), gg.nn.Dense(2))
    found = evaluation_program(network, (5,), None, batch=2, inside=["dense_1", "dense_1.preactivation"])
    assert sections(str(found)) == ["forward:"]
    assert [output.name for output in found.outputs] == [
        "output",
        "inside/dense_1",
        "inside/dense_1.preactivation",
    ]


GOLDEN = """\
forward:
  # dense_1
  %1 = features @ dense_1.weights                        : float32[4, 3]
  %2 = broadcast(dense_1.bias, shape=(4, 3), axes=(1))   : float32[4, 3]
  %3 = %1 + %2                                           : float32[4, 3]
  %4 = %3 <= 0                                           : bool[4, 3]
  %5 = select(%4, 0, %3)                                 : float32[4, 3]
  # dense_2
  %6 = %5 @ dense_2.weights                              : float32[4, 2]
"""


def test_the_text_of_a_small_program():
    text = str(program())
    assert text.startswith("program train, batch 4\ninputs:\n  features         : float32[4, 5]  (data)\n")
    assert GOLDEN in text
    assert "\nupdates, applied together at the end of the step:\n  dense_1.weights <- %" in text
    assert "\noutputs:\n  loss = %" in text
    assert text.endswith(" : float32  (per step)")


def test_a_user_prints_the_program_of_a_model():
    model = train(blobs(), layers=[4], epochs=0).model
    text = str(model.program())
    assert "features @ dense_1.weights" in text
    assert text.splitlines()[0] == "program evaluate, batch 1"


def test_hyperparameters_and_seed_are_inputs_of_the_program():
    found = program(optimizer="adam", transformation=GradientTransformation(clip_norm=1.0))
    assert [item.name for item in found.hyper] == ["learning_rate", "beta1", "beta2", "epsilon", "clip_norm"]
    constants = [
        float(node.attributes["value"])
        for node in found.graph.nodes()
        if node.op.name == "constant" and np.size(node.attributes["value"]) == 1
    ]
    assert 0.9 not in constants
    assert 0.001 not in constants


def test_a_run_shows_its_step() -> None:
    run = gg.train("digits", layers=[8], epochs=1)
    text = str(run.program)
    places = [text.index(f"\n{section}:") for section in ("forward", "backward", "update")]
    assert places == sorted(places)
    assert "dense_1.weights <- " in text
