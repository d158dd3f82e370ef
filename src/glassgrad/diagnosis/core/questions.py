"""The five questions in the order of the answers: names, titles and wording."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Heading:
    """The title of a question, and its full text."""

    title: str
    question: str

    def __str__(self) -> str:
        return f"{self.title}: {self.question[0].lower()}{self.question[1:]}"


QUESTIONS: Mapping[str, Heading] = {
    "neurons": Heading("Neurons", "What does each neuron compute, and is it alive?"),
    "learning_rate": Heading("Learning rate", "Is the step right?"),
    "initialization": Heading("Initialization", "Do the weights start right?"),
    "loss": Heading("Loss", "Is it the right measure, and how low can it go?"),
    "chain_rule": Heading("Chain rule", "Does the gradient reach every layer?"),
}
