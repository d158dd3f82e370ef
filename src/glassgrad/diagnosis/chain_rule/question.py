"""Does the gradient reach every layer? Measures its size by layer, at the start, during training, and at the end.

By the chain rule, the gradient at a layer is the gradient at the output times the Jacobians of all layers in between
(S. Hochreiter, Untersuchungen zu dynamischen neuronalen Netzen, 1991; R. Pascanu et al., On the difficulty of
training recurrent neural networks, 2013). All sizes are relative to the gradient at the network's output: a network
that has learned has a small gradient in all layers, while a vanishing gradient is small in the first layers only.
Derivatives of custom parts are checked against central differences.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from glassgrad.common.frozen import frozen
from glassgrad.diagnosis.core import wording
from glassgrad.diagnosis.core.findings import Fault
from glassgrad.diagnosis.core.plain import plain_object
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.measures.custom_gradients import GradientCheck, check_custom_gradients
from glassgrad.diagnosis.measures.first_weights import size_of, starts
from glassgrad.diagnosis.measures.flow import Flow, LayerFlow, flow_of, jacobian_norms
from glassgrad.diagnosis.measures.pace import ended
from glassgrad.nn.network import Network, activation_of

Floats = npt.NDArray[np.float64]

VANISHES = 0.01
"""The gradient vanishes below this share of the gradient at the network's output. A usual layer changes it by at most
a factor of 3; eight sigmoid layers leave less than a thousandth (Glorot and Bengio, 2010)."""

LEARNED = 0.1
"""A run that ends below this share of the baseline's loss has learned, regardless of its gradient."""

WRONG = 0.01
"""A derivative is wrong above this relative error against central differences. Right derivatives have errors below
1e-6, and below 1e-3 next to the kinks of piecewise linear functions."""

KEPT = 60
"""Maximum number of points in time in the JSON document."""


@dataclass(frozen=True)
class Link:
    """One layer in the chain.

    ``start`` and ``end`` are the gradients at its preactivations (or its outputs, without preactivations) at the
    start and end of the run, relative to the gradient at the network's output. ``jacobian`` is the spectral norm of
    its Jacobian at the start. ``factor`` is the ratio of its gradient to that of the layers after it.
    """

    layer: str
    kind: str
    activation: str
    start: float
    end: float
    factor: float
    jacobian: float
    weighted: bool

    def document(self) -> dict[str, Any]:
        """As plain values."""
        return plain_object(vars(self))


@frozen
class ChainRule:
    """The measurement. ``links`` are the layers that the gradient must reach, in order.

    ``over_time`` maps layers to the gradients at their outputs [samples] at the steps ``steps`` [samples], relative
    to the gradient at the network's output. ``total`` [samples] is the norm of the gradient of all weights.
    ``at_output`` is the gradient at the output at the (start, end). ``product`` is the product of the Jacobian norms,
    an upper bound for the growth of the gradient of a typical row. ``parts`` are the checks of custom parts. ``size``
    says whether the initial weights are "large", "small" or "copies" of each other; otherwise it is "".
    """

    links: tuple[Link, ...]
    at_output: tuple[float, float]
    product: float
    steps: npt.NDArray[np.int64]
    over_time: Mapping[str, Floats]
    total: Floats
    diverged: bool
    loss: float
    constant: float
    parts: tuple[GradientCheck, ...]
    size: str
    rows: int

    @property
    def least(self) -> Link | None:
        """The layer with weights and the smallest gradient at the start."""
        weighted = [link for link in self.links if link.weighted and not math.isnan(link.start)]
        return min(weighted, key=lambda link: link.start, default=None)

    @property
    def most(self) -> Link | None:
        """The layer with the largest gradient at the start."""
        measured = [link for link in self.links if not math.isnan(link.start)]
        return max(measured, key=lambda link: link.start, default=None)

    @property
    def growth(self) -> float:
        """The largest gradient of the run relative to the first one, or to the median if that is larger."""
        finite = self.total[np.isfinite(self.total)]
        if len(finite) < len(self.total):
            return math.inf
        usual = max(float(finite[0]), float(np.median(finite))) if len(finite) else 0.0
        return float(finite.max()) / usual if usual > 0 else math.nan

    @property
    def learned(self) -> bool:
        """Whether the loss is so low that a small gradient is expected."""
        return self.loss <= LEARNED * self.constant

    @property
    def wrong(self) -> list[GradientCheck]:
        """The checks of custom parts with a wrong derivative, the worst first."""
        return sorted((p for p in self.parts if p.error > WRONG), key=lambda p: -p.error)

    def document(self) -> dict[str, Any]:
        """As plain values."""
        count = len(self.steps)
        shown = np.unique(np.linspace(0, max(count - 1, 0), KEPT).astype(np.int64))[:count]
        return plain_object(
            {
                "layers": [link.document() for link in self.links],
                "gradient_at_output": {"start": self.at_output[0], "end": self.at_output[1]},
                "product_of_jacobian_norms": self.product,
                "rows": self.rows,
                "steps": self.steps[shown],
                "relative_gradient": {name: values[shown] for name, values in self.over_time.items()},
                "gradient_norm": self.total[shown] if len(self.total) else [],
                "largest_growth": self.growth,
                "own_parts": [part.document() for part in self.parts],
            }
        )


# --- measuring -----------------------------------------------------------------------------------------------


def measure(subject: Subject) -> ChainRule:
    """Measure the gradients at the start and at the end, the lenses in between, and custom parts."""
    run = subject.run
    start, end = flow_of(subject, subject.start), flow_of(subject, run.model)
    jacobians: Mapping[str, float] = {}
    if subject.clock.allows(0.2, "the Jacobians of the layers"):
        jacobians = jacobian_norms(subject.start, start)
    steps, over_time, total = _over_time(subject)
    links = _links(subject.network, start, end, jacobians)
    norms = [link.jacobian for link in links]
    diverged = run.status == "diverged"
    return ChainRule(
        links=links,
        at_output=(_at_output(start, subject.network), _at_output(end, subject.network)),
        product=math.prod(norms) if norms else math.nan,
        steps=steps,
        over_time=over_time,
        total=total,
        diverged=diverged,
        loss=ended(run.history, diverged),
        constant=subject.constant["loss"],
        parts=tuple(check_custom_gradients([(subject.start, start), (run.model, end)], subject.probe[1])),
        size=_size(subject, start),
        rows=start.rows,
    )


def _size(subject: Subject, flow: Flow) -> str:
    """What is wrong with the initial weights, which are then the cause; "" for nothing."""
    model = subject.start
    initial_weights = starts(model.network, model.weights, model.schema.feature_shape, flow)
    return size_of(initial_weights, flow.layers)


def _at_output(flow: Flow, network: Network) -> float:
    return flow[network.output].gradient


def _gradient(layer: LayerFlow) -> float:
    return layer.gradient if math.isnan(layer.sum_gradient) else layer.sum_gradient


def _links(network: Network, start: Flow, end: Flow, jacobians: Mapping[str, float]) -> tuple[Link, ...]:
    links = []
    bases = [_at_output(flow, network) for flow in (start, end)]
    consumers = {name: [node.name for node in network.nodes if name in node.inputs] for name in start.outputs}
    for node in network.nodes:
        layer, later = start[node.name], end[node.name]
        if math.isnan(layer.gradient):
            continue
        # The factor is relative to the gradients of the layers after this one; for the last layer, to the output.
        after = [_gradient(start[name]) for name in consumers[node.name]]
        base = math.sqrt(sum(g * g for g in after)) if after else bases[0]
        shares = [_share(_gradient(item), total) for item, total in zip((layer, later), bases, strict=True)]
        links.append(
            Link(
                node.name,
                layer.kind,
                activation_of(node.layer).name,
                shares[0],
                shares[1],
                _share(_gradient(layer), base),
                jacobians.get(node.name, math.nan),
                not math.isnan(layer.weight_gradient),
            )
        )
    return tuple(links)


def _share(part: float, total: float) -> float:
    return part / total if total > 0 else math.nan


def _over_time(subject: Subject) -> tuple[npt.NDArray[np.int64], dict[str, Floats], Floats]:
    lenses = subject.run.lenses
    if lenses is None or not len(lenses):
        return np.zeros(0, np.int64), {}, np.zeros(0)
    layers = lenses.layers("output_gradient_norm")
    with np.errstate(all="ignore"):
        base = np.asarray(lenses["output_gradient_norm", subject.network.output], np.float64)
        shares = {
            name: np.asarray(lenses["output_gradient_norm", name], np.float64) / base for name in layers
        }
        squares = [
            np.square(np.asarray(lenses["gradient_norm", n], np.float64))
            for n in lenses.layers("gradient_norm")
        ]
        total = np.sqrt(np.sum(squares, axis=0)) if squares else np.zeros(0)
    return np.asarray(lenses.steps, np.int64), shares, total


# --- the answer ----------------------------------------------------------------------------------------------


def sentence(measurement: ChainRule, faults: Sequence[Fault]) -> str:
    """The first suspicion, or the share of the gradient that reaches the first layer."""
    if faults:
        return wording.suspected(faults[0])
    m = measurement
    weighted = [link for link in m.links if link.weighted]
    if len(weighted) < 2 or m.least is None or not m.at_output[0] > 0:
        return "The network has a single layer of weights, which gets its gradient directly from the loss."
    first = weighted[0]
    if m.least.start <= VANISHES:
        outcome = ", but the network learned anyway" if m.learned else ""
        share = share_in_words(m.least.start)
        return f"At the start, {share} of the gradient at the output reaches {m.least.layer}{outcome}."
    text = (
        f"The gradient reaches every layer: at {first.layer} it is {_times(first.start)} that at the output"
    )
    if m.parts and not m.wrong:
        text += ", and the derivatives of your custom parts agree with central differences"
    return text + "."


def _times(share: float) -> str:
    return f"{share:.2g} times" if share >= 1 else f"{share:.1%} of" if share >= 0.001 else f"{share:.1g} of"


def share_in_words(share: float) -> str:
    """A small share in words, as in "one part in 1,200"."""
    return (
        "nothing"
        if share == 0
        else f"one part in {float(f'{1 / share:.2g}'):,.0f}"
        if share > 1e-9
        else "next to nothing"
    )
