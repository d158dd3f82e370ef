"""Inputs of very different size."""

from __future__ import annotations

import numpy as np

from glassgrad.diagnosis.core.evidence import Intervention, Suspicion
from glassgrad.diagnosis.core.kinds import Kind
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.neurons.question import NeuronsMeasurement
from glassgrad.nn.layers.embedding import Embedding
from glassgrad.nn.network import INPUT

UNSCALED = 10.0
"""Inputs whose sizes differ by this factor make the curvature differ by its square (Y. LeCun et al., Efficient
backprop, 1998, 4.3)."""

LARGE, SMALL = 4.0, 0.1
"""Inputs of a root mean square beyond these, where about 1 is what initializers are made for."""


def judge(m: NeuronsMeasurement, subject: Subject) -> list[Suspicion]:
    """Inputs that are not scaled, and differ in size or are far from 1; of images only the latter."""
    inputs = m.inputs
    looked_up = any(isinstance(s.layer, Embedding) and INPUT in s.inputs for s in subject.network.nodes)
    if inputs.scaling != "none" or looked_up or not len(inputs.sizes):
        return []
    size = float(np.sqrt(np.mean(inputs.sizes**2)))
    images = len(subject.task.parts.schema.feature_shape) > 1
    strength = max(0.0 if images else inputs.ratio / UNSCALED, size / LARGE, SMALL / max(size, 1e-30))
    if strength < 1:
        return []
    least, most = (
        int(np.argmin(np.where(inputs.spreads > 0, inputs.sizes, np.inf))),
        int(np.argmax(inputs.sizes)),
    )
    text = (
        f"Inputs come as they are: {inputs.names[most]} is {inputs.sizes[most]:.3g} in size, and "
        f"{inputs.names[least]} "
        f"{inputs.sizes[least]:.3g}."
    )
    evidence = {"size": size, "largest": float(inputs.sizes[most]), "smallest": float(inputs.sizes[least])}
    source = "Y. LeCun et al., Efficient backprop, 1998, 4.3"
    return [Suspicion("", evidence, UNSCALED, source, strength, text)]


def prescribe(suspicion: Suspicion, m: NeuronsMeasurement, subject: Subject) -> list[Intervention]:
    """Standardized inputs, with clipped gradients besides for outliers."""
    scaled = {"scaling": "standard"}
    text = "Standardize the inputs: mean 0 and standard deviation 1."
    calm = " Cut gradients to a norm of 1 (clip_norm), for the few inputs that stay far out."
    return [Intervention(scaled, text), Intervention({**scaled, "clip_norm": 1.0}, text + calm)]


KIND = Kind(
    name="unscaled_inputs",
    question="neurons",
    meaning="inputs differ in size by so much that no one step suits all of them",
    judge=judge,
    prescribe=prescribe,
    mechanism=True,
    refused_for="scaling",
    brings=("stuck", "flow", "wild", "init_too_large", "init_too_small", "batch_size"),
)
