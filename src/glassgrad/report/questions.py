"""The sections of the five questions, which every report has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from glassgrad.diagnosis.core.questions import QUESTIONS
from glassgrad.report.page import Block, Section, Verdict

IDEAS: Mapping[str, str] = {
    "neurons": (
        "A neuron multiplies each input by a weight, adds up the products and passes the sum through its activation. "
        "A neuron whose output is the same for every row tells the next layers nothing."
    ),
    "learning_rate": (
        "The gradient gives the direction in which each weight should move; the learning rate sets how far. If the "
        "steps are too large, the loss jumps around or grows; if they are too small, it hardly falls."
    ),
    "initialization": (
        "Before the first step the weights are random numbers. Their scale decides whether values keep their size "
        "from layer to layer, shrink to nothing, or blow up before training has begun."
    ),
    "loss": (
        "The loss is the number that training minimizes. It means little by itself. Compare it with the loss of the "
        "best constant guess, which ignores the inputs."
    ),
    "chain_rule": (
        "The gradient of an early weight is a product with one factor for each later layer. If the factors are "
        "small, the gradient vanishes and the layer stops learning; if they are large, it explodes."
    ),
}
"""The background of each question, for beginners."""


def section(name: str, sentence: str, blocks: Sequence[Block], verdict: Verdict | None = None) -> Section:
    """The section of the question ``name``, a key of ``QUESTIONS``, with its answer ``sentence``."""
    heading = QUESTIONS[name]
    return Section(name, heading.title, heading.question, sentence, blocks, verdict, IDEAS[name])
