"""The sections of the five questions, as every report has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from glassgrad.diagnosis.core.questions import QUESTIONS
from glassgrad.report.page import Block, Section, Verdict

IDEAS: Mapping[str, str] = {
    "neurons": (
        "A neuron adds up its inputs, each times a weight, and hands the sum on through its activation. One that "
        "hands on the same for every row is of no use to the layers after it."
    ),
    "learning_rate": (
        "The gradient says in which direction every weight should move; the learning rate says how far. Too far, and "
        "the loss jumps about or grows; not far enough, and it hardly falls."
    ),
    "initialization": (
        "Before the first step the weights are random numbers. Their size decides whether values keep their size "
        "from layer to layer, or fade away, or blow up before anything is learned."
    ),
    "loss": (
        "The loss is the one number that training makes small. It means little by itself; it means something next to "
        "what a guess that looks at nothing would reach."
    ),
    "chain_rule": (
        "The gradient of an early weight is a product of one factor for each layer after it. If the factors are "
        "small the product vanishes, and the layer stops learning; if they are large it explodes."
    ),
}
"""What the idea of each question is, for a beginner."""


def section(name: str, sentence: str, blocks: Sequence[Block], verdict: Verdict | None = None) -> Section:
    """The section for one of ``QUESTIONS``."""
    heading = QUESTIONS[name]
    return Section(name, heading.title, heading.question, sentence, blocks, verdict, IDEAS[name])
