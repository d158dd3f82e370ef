"""Inputs of very different sizes."""

from __future__ import annotations

import numpy as np

from glassgrad.diagnosis.core.evidence import Intervention, Suspicion
from glassgrad.diagnosis.core.kinds import Kind
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.neurons.question import NeuronsMeasurement
from glassgrad.nn.layers.embedding import Embedding
from glassgrad.nn.network import INPUT

UNSCALED = 10.0
"""Ratio of input sizes from which inputs are suspected; the curvature differs by its square (Y. LeCun et al.,
Efficient backprop, 1998, 4.3)."""

LARGE, SMALL = 4.0, 0.1
"""Limits of the root mean square of the inputs; initializers assume about 1."""


def judge(m: NeuronsMeasurement, subject: Subject) -> list[Suspicion]:
    """Unscaled inputs that differ in size or are far from 1; for images only the second condition counts."""
    inputs = m.inputs
    embedded = any(
        isinstance(node.layer, Embedding) and INPUT in node.inputs for node in subject.network.nodes
    )
    if inputs.scaling != "none" or embedded or not len(inputs.sizes):
        return []
    size = float(np.sqrt(np.mean(inputs.sizes**2)))
    images = len(subject.task.parts.schema.feature_shape) > 1
    strength = max(0.0 if images else inputs.ratio / UNSCALED, size / LARGE, SMALL / max(size, 1e-30))
    if strength < 1:
        return []
    smallest, largest = (
        int(np.argmin(np.where(inputs.spreads > 0, inputs.sizes, np.inf))),
        int(np.argmax(inputs.sizes)),
    )
    text = (
        f"The inputs are not scaled: the typical size of {inputs.names[largest]} is {inputs.sizes[largest]:.3g}, and "
        f"that of {inputs.names[smallest]} is {inputs.sizes[smallest]:.3g}."
    )
    evidence = {
        "size": size,
        "largest": float(inputs.sizes[largest]),
        "smallest": float(inputs.sizes[smallest]),
    }
    source = "Y. LeCun et al., Efficient backprop, 1998, 4.3"
    return [Suspicion("", evidence, UNSCALED, source, strength, text)]


def prescribe(suspicion: Suspicion, m: NeuronsMeasurement, subject: Subject) -> list[Intervention]:
    """Standardized inputs, also with clipped gradients in case of outliers."""
    scaled = {"scaling": "standard"}
    text = "Standardize the inputs: mean 0 and standard deviation 1."
    clipped = " Clip gradients to a norm of 1 (clip_norm), because of outliers among the inputs."
    return [Intervention(scaled, text), Intervention({**scaled, "clip_norm": 1.0}, text + clipped)]


KIND = Kind(
    name="unscaled_inputs",
    question="neurons",
    meaning="inputs differ so much in size that no single step suits all of them",
    judge=judge,
    prescribe=prescribe,
    mechanism=True,
    refused_for="scaling",
    brings=("stuck", "flow", "wild", "init_too_large", "init_too_small", "batch_size"),
)
