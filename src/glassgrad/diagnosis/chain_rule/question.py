"""Does the gradient reach every layer? Its size layer by layer, at the start, in time, and against the loss.

By the chain rule the gradient at a layer is that at the loss times the Jacobians of all layers in between (S.
Hochreiter, Untersuchungen zu dynamischen neuronalen Netzen, 1991; R. Pascanu et al., On the difficulty of training
recurrent neural networks, 2013). So all sizes here are relative to the gradient at the network's output: a network
that has learned has a small gradient everywhere, and one whose gradient vanishes has it in the first layers only. The
user's own parts are checked by central differences besides.
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
from glassgrad.diagnosis.measures.flow import Flow, LayerFlow, jacobian_norms, look
from glassgrad.diagnosis.measures.pace import ended
from glassgrad.nn.network import Network, activation_of

Floats = npt.NDArray[np.float64]

VANISHES = 0.01
"""The gradient at a layer, as a share of that at the network's output. A layer of a usual start keeps it within a
factor of 3; eight sigmoid layers leave less than a thousandth (Glorot and Bengio, 2010)."""

LEARNED = 0.1
"""A run that ends below this share of the constant guess's loss has learned, whatever its gradient looks like."""

WRONG = 0.01
"""The relative error of a derivative against central differences: right ones stay below 1e-6, and next to the kinks
of piecewise linear functions below 1e-3."""


KEPT = 60
"""So many points in time are written down."""


@dataclass(frozen=True)
class Link:
    """One layer in the chain. ``start`` and ``end`` are the gradients at its sums (at its outputs where it has none)
    relative to the gradient at the network's output; ``jacobian`` is the spectral norm of its Jacobian at the start,
    and ``factor`` what it made of the gradient on the way back.
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
    """What was measured. ``links`` are the layers that the gradient has to reach, in order.

    ``steps`` [samples] and ``over_time`` (by layer, [samples]) are the gradients by the outputs while training,
    relative to that at the network's output; ``total`` [samples] is the norm of the whole gradient. ``at_output`` is
    the gradient at the output at the start and at the end. ``product`` is that of the Jacobian norms: the gradient of
    a usual row cannot grow by more. ``size`` says whether the first weights are "large" or "small" for the layers
    that they are in, or "copies" of each other; else it is "".
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
        """The layer with weights that the smallest share of the gradient reaches at the start."""
        weighted = [link for link in self.links if link.weighted and not math.isnan(link.start)]
        return min(weighted, key=lambda link: link.start, default=None)

    @property
    def most(self) -> Link | None:
        """The layer at which the gradient is largest at the start."""
        known = [link for link in self.links if not math.isnan(link.start)]
        return max(known, key=lambda link: link.start, default=None)

    @property
    def growth(self) -> float:
        """The largest gradient of the run relative to the first, or to the median where the first was smaller."""
        seen = self.total[np.isfinite(self.total)]
        if len(seen) < len(self.total):
            return math.inf
        usual = max(float(seen[0]), float(np.median(seen))) if len(seen) else 0.0
        return float(seen.max()) / usual if usual > 0 else math.nan

    @property
    def learned(self) -> bool:
        """Whether the run got so far that a small gradient is no wonder."""
        return self.loss <= LEARNED * self.constant

    @property
    def wrong(self) -> list[GradientCheck]:
        """The user's parts with a wrong derivative, the worst first."""
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
    """The gradient on its way back at the start and at the end, the lenses in between, and the user's own parts."""
    run = subject.run
    start, end = look(subject, subject.start), look(subject, run.model)
    jacobians: Mapping[str, float] = {}
    if subject.clock.allows(0.2, "the Jacobians of the layers"):
        jacobians = jacobian_norms(subject.start, start)
    steps, over_time, total = _in_time(subject)
    links = _links(subject.network, start, end, jacobians)
    known = [link.jacobian for link in links]
    diverged = run.status == "diverged"
    return ChainRule(
        links=links,
        at_output=(_at_output(start, subject.network), _at_output(end, subject.network)),
        product=math.prod(known) if known else math.nan,
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
    """What is wrong with the first weights, if anything: that is then the cause, and the gradient the symptom."""
    model = subject.start
    first_weights = starts(model.network, model.weights, model.schema.feature_shape, flow)
    return size_of(first_weights, flow.layers)


def _at_output(flow: Flow, network: Network) -> float:
    return flow[network.output].gradient


def _gradient(layer: LayerFlow) -> float:
    return layer.gradient if math.isnan(layer.sum_gradient) else layer.sum_gradient


def _links(network: Network, start: Flow, end: Flow, jacobians: Mapping[str, float]) -> tuple[Link, ...]:
    links = []
    bases = [_at_output(flow, network) for flow in (start, end)]
    taken = {name: [node.name for node in network.nodes if name in node.inputs] for name in start.outputs}
    for node in network.nodes:
        layer, later = start[node.name], end[node.name]
        if math.isnan(layer.gradient):
            continue
        # Of the sums of this layer by the sums of the one after it; of the last one, by the output.
        after = [_gradient(start[name]) for name in taken[node.name]]
        base = math.sqrt(sum(g * g for g in after)) if after else bases[0]
        shares = [_share(_gradient(one), whole) for one, whole in zip((layer, later), bases, strict=True)]
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


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else math.nan


def _in_time(subject: Subject) -> tuple[npt.NDArray[np.int64], dict[str, Floats], Floats]:
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
    """What is suspected, or how much of the gradient reaches the first layer."""
    if faults:
        return wording.suspected(faults[0])
    m = measurement
    weighted = [link for link in m.links if link.weighted]
    if len(weighted) < 2 or m.least is None or not m.at_output[0] > 0:
        return "The network has a single layer of weights, and the gradient comes straight from the loss."
    first = weighted[0]
    if m.least.start <= VANISHES:
        ended = ", but that was enough: the network learned all the same" if m.learned else ""
        share = share_in_words(m.least.start)
        return f"At the start {share} of the gradient at the output reaches {m.least.layer}{ended}."
    text = f"The gradient reaches every layer: {first.layer} gets {_times(first.start)} that of the output"
    if m.parts and not m.wrong:
        text += ", and the derivatives of your own parts agree with central differences"
    return text + "."


def _times(share: float) -> str:
    return f"{share:.2g} times" if share >= 1 else f"{share:.1%} of" if share >= 0.001 else f"{share:.1g} of"


def share_in_words(share: float) -> str:
    """A small share as in "one part in 1,200"."""
    return (
        "nothing"
        if share == 0
        else f"one part in {float(f'{1 / share:.2g}'):,.0f}"
        if share > 1e-9
        else "next to nothing"
    )
