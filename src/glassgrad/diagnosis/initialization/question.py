"""Do the weights start right? Compares their size with what the activation needs, and finds duplicate neurons.

A layer multiplies the size of its inputs by its ``gain``, the root mean square of its weights times sqrt(fan). Values
keep their size from layer to layer if the gain compensates for the activation: forward it needs 1 / sqrt(E[f(z)^2]),
backward 1 / sqrt(E[f'(z)^2]), for z from a standard normal. For relu both are sqrt(2) (K. He et al., Delving deep
into rectifiers, 2015). Linear layers need 1, with the fan-in forward and the fan-out backward (X. Glorot and Y.
Bengio, Understanding the difficulty of training deep feedforward neural networks, 2010). Preactivations are also
measured on the user's rows, and the user's network is trained from the usual initializers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from glassgrad.common.errors import GraphError, InputError
from glassgrad.common.frozen import frozen
from glassgrad.diagnosis.core import wording
from glassgrad.diagnosis.core.findings import Fault
from glassgrad.diagnosis.core.other_networks import restart
from glassgrad.diagnosis.core.plain import plain_object
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.core.trials import FEWEST_SEEDS
from glassgrad.diagnosis.measures.first_weights import Start, growth, product, starts
from glassgrad.diagnosis.measures.flow import LayerFlow, flow_of
from glassgrad.init.initializers import INITIALIZERS, initializer

FINE = (0.3, 3.0)
"""Sizes of preactivations that count as about 1."""

TRIED = ("he_normal", "xavier_uniform", "lsuv")
"""The initializers to compare; LSUV: D. Mishkin and J. Matas, All you need is a good init, 2016."""

GIVEN = "as given"

SHARE = 0.4
"""Share of the measuring time for the comparison of initializers."""


@frozen
class Initialization:
    """The measurement: every weight matrix, every layer on the rows, and full runs from other initializers.

    ``tried`` maps initializers ("as given" among them) to validation losses, one per seed, after ``tried_epochs``
    epochs. ``loss`` is the loss of the initial weights, ``constant`` that of the baseline.
    """

    init: str
    starts: tuple[Start, ...]
    layers: tuple[LayerFlow, ...]
    rows: int
    loss: float
    constant: float
    tried: Mapping[str, tuple[float, ...]]
    tried_epochs: int
    pretrained: bool

    @property
    def hidden(self) -> tuple[Start, ...]:
        """The weights of all layers but the last."""
        return tuple(start for start in self.starts if start.hidden)

    @property
    def product(self) -> float:
        """The product of the hidden gains, each relative to its need (1: values keep their size)."""
        return product(self.starts)

    @property
    def growth(self) -> tuple[float, str]:
        """The largest preactivation size relative to the network's inputs, and its layer."""
        return growth(self.layers)

    @property
    def best(self) -> list[str]:
        """The initializers that were tried, the lowest mean validation loss first."""
        means = {name: float(np.mean(scores)) for name, scores in self.tried.items() if name != GIVEN}
        return sorted((name for name in means if math.isfinite(means[name])), key=lambda name: means[name])

    def document(self) -> dict[str, Any]:
        """As plain values."""
        return plain_object(
            {
                "init": self.init,
                "weights": [start.document() for start in self.starts],
                "layers": [layer.document() for layer in self.layers],
                "rows": self.rows,
                "loss_at_start": self.loss,
                "constant_loss": self.constant,
                "product_of_gains": self.product,
                "growth": self.growth[0],
                "validation_loss_by_init": dict(self.tried),
                "epochs_by_init": self.tried_epochs,
            }
        )


# --- measuring -----------------------------------------------------------------------------------------------


def measure(subject: Subject) -> Initialization:
    """Measure the initial weights, the preactivations on the rows, and runs from the usual initializers."""
    flow = flow_of(subject, subject.start)
    settings = subject.settings
    tried, epochs = _try_initializers(subject)
    return Initialization(
        init=_name(settings.init) if settings.network is None else "as in the network",
        starts=starts(subject.start.network, subject.start.weights, subject.start.schema.feature_shape, flow),
        layers=flow.layers,
        rows=flow.rows,
        loss=flow.loss,
        constant=subject.constant["loss"],
        tried=tried,
        tried_epochs=epochs,
        pretrained=settings.init_from is not None,
    )


def _name(init: Any) -> str:
    if isinstance(init, str):
        return init
    kind = type(initializer(init))
    return INITIALIZERS.name_of(kind) or kind.__name__


def _try_initializers(subject: Subject) -> tuple[dict[str, tuple[float, ...]], int]:
    """Validation losses of the user's network and from other initializers, and the number of epochs.

    They use the seeds of the trials, and fewer epochs if there is no time for full runs.
    """
    trials, seconds = subject.trials, SHARE * subject.clock.left()
    epochs, seeds = max(trials.settings.epochs, 1), trials.seeds()
    each = trials.seconds({"init": TRIED[0]}, 1) * (len(TRIED) + 1)
    seconds -= trials.seconds_compiling
    base: dict[str, Any] = {}
    if each * len(seeds) > seconds:
        seeds = seeds[:FEWEST_SEEDS]
        epochs = int(epochs * seconds / (each * len(seeds)))
        if epochs < 1:
            subject.skip("runs from other initializers")
            return {}, 0
        if epochs < trials.settings.epochs:
            base = {"epochs": epochs}
    epochs = min(epochs, trials.settings.epochs)
    try:
        outcomes = trials.run([base, *(base | restart(subject.settings, name) for name in TRIED)], seeds)
    except (InputError, GraphError) as error:
        subject.skip(f"runs from other initializers: {error}")
        return {}, 0
    scores = {
        name: tuple(math.inf if o is None else o.score("loss") for o in side)
        for name, side in zip((GIVEN, *TRIED), outcomes, strict=True)
    }
    return scores, epochs


# --- the answer ----------------------------------------------------------------------------------------------


def sentence(measurement: Initialization, faults: Sequence[Fault]) -> str:
    """The first suspicion, or the size of the preactivations."""
    if faults:
        return wording.suspected(faults[0])
    m = measurement
    sizes = [layer.preactivation for layer in m.layers if layer.preactivation >= 0]
    if not sizes:
        return "This network has no preactivations whose size could be wrong."
    if not m.hidden:
        return "The network has a single layer of weights, which learns from any start of a reasonable size."
    low, high = f"{min(sizes):.2g}", f"{max(sizes):.2g}"
    span = low if low == high else f"{low} to {high}"
    text = f"on your rows, the preactivations have a typical size of {span}"
    if FINE[0] <= min(sizes) and max(sizes) <= FINE[1]:
        return f"The weights start right: {text}; about 1 is right."
    return f"The weights start well enough: {text}. About 1 would be best, but training compensates for that."
