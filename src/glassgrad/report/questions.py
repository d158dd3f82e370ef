"""The five questions, as every report asks them."""

from __future__ import annotations

from collections.abc import Sequence

from glassgrad.report.page import Block, Section, Verdict

# name: (title, question, what the idea is, for a beginner)
QUESTIONS: dict[str, tuple[str, str, str]] = {
    "neurons": (
        "Neurons",
        "What does each neuron compute, and is it alive?",
        "A neuron adds up its inputs, each times a weight, and hands the sum on through its activation. One that "
        "hands on the same for every row is of no use to the layers after it.",
    ),
    "learning_rate": (
        "Learning rate",
        "Is the step right?",
        "The gradient says in which direction every weight should move; the learning rate says how far. Too far, and "
        "the loss jumps about or grows; not far enough, and it hardly falls.",
    ),
    "initialization": (
        "Initialization",
        "Do the weights start right?",
        "Before the first step the weights are random numbers. Their size decides whether values keep their size "
        "from layer to layer, or fade away, or blow up before anything is learned.",
    ),
    "loss": (
        "Loss",
        "Is it the right measure, and how low can it go?",
        "The loss is the one number that training makes small. It means little by itself; it means something next to "
        "what a guess that looks at nothing would reach.",
    ),
    "chain_rule": (
        "Chain rule",
        "Does the gradient reach every layer?",
        "The gradient of an early weight is a product of one factor for each layer after it. If the factors are "
        "small the product vanishes, and the layer stops learning; if they are large it explodes.",
    ),
}


def section(name: str, sentence: str, blocks: Sequence[Block], verdict: Verdict | None = None) -> Section:
    """The section for one of ``QUESTIONS``."""
    title, question, idea = QUESTIONS[name]
    return Section(name, title, question, sentence, blocks, verdict, idea)
