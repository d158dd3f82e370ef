"""Neurons that start as copies of each other, with zero or equal weights."""

from __future__ import annotations

from collections.abc import Sequence

from glassgrad.diagnosis.core.evidence import Intervention, Suspicion
from glassgrad.diagnosis.core.kinds import Kind
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.initialization.question import Initialization
from glassgrad.diagnosis.initialization.weights import (
    copied,
    joined,
    layer_names,
    only_layer,
    other_initializers,
)
from glassgrad.diagnosis.measures.first_weights import COPIES, Start

SOURCE_COPIES = (
    "neurons with equal weights get equal gradients (I. Goodfellow et al., Deep Learning, 2016, section 8.4)"
)


def judge_zero(m: Initialization, subject: Subject) -> list[Suspicion]:
    """Hidden layers whose initial weights are all zero."""
    zeros = [start for start in copied(m) if start.size == 0]
    return _suspicion(zeros, "All weights of {} start at zero")


def judge_constant(m: Initialization, subject: Subject) -> list[Suspicion]:
    """Hidden layers whose neurons start as copies of each other, with weights other than zero."""
    equal = [start for start in copied(m) if start.size > 0]
    return _suspicion(equal, "The neurons of {} start as copies of each other")


def _suspicion(copies: Sequence[Start], text: str) -> list[Suspicion]:
    if not copies:
        return []
    names = layer_names(copies)
    evidence = {
        "layers": names,
        "distinct": {start.layer: start.distinct for start in copies},
        "size": {start.layer: start.size for start in copies},
    }
    sentence = text.format(joined(names)) + ", so they all get the same gradient and stay the same."
    return [Suspicion(only_layer(copies), evidence, COPIES, SOURCE_COPIES, 10.0, sentence)]


def prescribe(suspicion: Suspicion, m: Initialization, subject: Subject) -> list[Intervention]:
    """Other initializers."""
    return other_initializers(m, subject)


ZERO = Kind(
    name="zero_init",
    question="initialization",
    meaning="weights start at zero, so that all neurons of a layer learn the same, or nothing",
    judge=judge_zero,
    prescribe=prescribe,
    mechanism=True,
    brings=("stuck", "flow", "constant_init", "init_too_small"),
)
CONSTANT = Kind(
    name="constant_init",
    question="initialization",
    meaning="the weights of a layer start equal, so that its neurons remain copies of each other",
    judge=judge_constant,
    prescribe=prescribe,
    mechanism=True,
    brings=("stuck", "flow", "wild", "init_too_large", "init_too_small"),
)
