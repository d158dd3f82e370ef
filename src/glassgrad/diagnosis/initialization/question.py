"""Do the weights start right? Their size against what the activation needs, and whether neurons start as copies.

A layer of weights multiplies the size of what it takes by ``gain`` = the weights' root mean square times sqrt(fan).
Whether values keep their size from layer to layer is decided by the gain against what the activation takes away:
forward, 1 / sqrt(E[f(z)^2]), and backward, 1 / sqrt(E[f'(z)^2]), for z from a standard normal. For relu both are
sqrt(2) (K. He et al., Delving deep into rectifiers, 2015); linear layers need 1, by their inputs forward and by their
outputs backward (X. Glorot and Y. Bengio, Understanding the difficulty of training deep feedforward neural networks,
2010). Measured on the user's rows besides, and tried: the user's network from the usual initializers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from glassgrad.common.errors import GraphError, InputError
from glassgrad.common.frozen import frozen
from glassgrad.diagnosis.core.findings import Change, Fault, plain
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.core.trials import FEWEST_SEEDS
from glassgrad.diagnosis.core.wording import told
from glassgrad.diagnosis.measures.first_weights import Start, restart, starts
from glassgrad.diagnosis.measures.flow import LayerFlow, look
from glassgrad.nn.activations import LeakyRelu, Relu
from glassgrad.nn.network import INPUT, activation_of
from glassgrad.optim.optimizers import SGD

LARGE = 2.5
"""A gain is too large above so many times what both directions need: values of a relu layer grow sixfold in variance.
Every usual initializer stays within 0.3 to 1.5 of the need."""

SMALL = 0.2
"""... and too small below this share of it. The classical uniform +-1 / sqrt(fan) has 0.41 at relu."""

GROWTH = 5.0
"""Measured on the rows: sums so many times as large as the network's inputs. Those of the usual initializers keep the
size of the inputs, give or take sqrt(2) (He et al., 2015, equation 10)."""

ABOVE = 1.2
"""Where sums grow so, weights count from this gain relative to the need on."""

FADED = 0.01
"""The product of the gains of the hidden layers, each against its need, below which next to nothing arrives."""

FAINT = 0.1
"""... where it shows on the rows: sums below this share of the inputs."""

COPIES = 0.5
"""The share of a layer's neurons that have to differ at the start: equal ones get equal gradients for ever."""


FINE = (0.3, 3.0)
"""Sizes of sums that are called about 1."""

SOURCE_SCALE = (
    "size of the weights against what keeps values, or the gradient, at one size (He et al. 2015; Glorot and "
    "Bengio 2010)"
)
SOURCE_COPIES = (
    "neurons with equal weights get equal gradients (I. Goodfellow et al., Deep Learning, 2016, section 8.4)"
)

TRIED = ("he_normal", "xavier_uniform", "lsuv")
"""The initializers of the comparison; LSUV: D. Mishkin and J. Matas, All you need is a good init, 2016."""

GIVEN = "as given"

SHARE = 0.4
"""The share of the time for measuring that the comparison may take."""


@frozen
class Initialization:
    """What was measured: every weight matrix, every layer on the rows, and whole runs from other initializers.

    ``tried`` has the validation losses by initializer, one per seed ("as given" among them), after
    ``tried_epochs`` epochs. ``loss`` is that of the
    first weights, ``constant`` that of the best constant guess. ``path`` names the weights whose gains multiply.
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
        """The weights before the last layer."""
        return tuple(start for start in self.starts if start.hidden)

    @property
    def product(self) -> float:
        """The product of the hidden gains, each as a share of its need (1: values keep their size)."""
        return product(self.starts)

    @property
    def growth(self) -> tuple[float, str]:
        """The largest sum relative to the network's inputs, and its layer."""
        return growth(self.layers)

    @property
    def best(self) -> list[str]:
        """The initializers tried, the lowest mean validation loss first."""
        means = {name: float(np.mean(scores)) for name, scores in self.tried.items() if name != GIVEN}
        return sorted((name for name in means if math.isfinite(means[name])), key=lambda name: means[name])

    def document(self) -> dict[str, Any]:
        """As plain values."""
        found: dict[str, Any] = plain(
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
        return found


# --- measuring -----------------------------------------------------------------------------------------------


def measure(subject: Subject) -> Initialization:
    """The first weights by themselves, on the rows, and beside the usual initializers."""
    flow = look(subject, subject.start)
    settings = subject.settings
    tried, epochs = _tried(subject)
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
    return init if isinstance(init, str) else str(getattr(init, "name", None) or init)


def _tried(subject: Subject) -> tuple[dict[str, tuple[float, ...]], int]:
    """Validation losses of the network as given and from other initializers, and after how many epochs.

    On the seeds of the trials; of fewer epochs where there is no time for whole runs.
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


# --- judging -------------------------------------------------------------------------------------------------


def judge(measurement: Initialization, subject: Subject) -> list[Fault]:
    """Neurons that start as copies, and weights too large or too small for what comes after them."""
    found = _copies(measurement)
    if found or measurement.pretrained:
        return found  # the size of equal weights is beside the point, and that of trained ones was learned
    return [*_large(measurement), *_small(measurement)]


def _copies(m: Initialization) -> list[Fault]:
    copies = [start for start in m.hidden if start.units > 1 and start.distinct < COPIES]
    zeros = [start for start in copies if start.size == 0]
    equal = [start for start in copies if start.size > 0]
    found = []
    for kind, listed in (("zero_init", zeros), ("constant_init", equal)):
        if not listed:
            continue
        names = _places(listed)
        what = (
            "All weights of {} start at zero"
            if kind == "zero_init"
            else "The neurons of {} start as copies of each other"
        )
        found.append(
            Fault(
                kind,
                _place(listed),
                {
                    "layers": names,
                    "distinct": {s.layer: s.distinct for s in listed},
                    "size": {s.layer: s.size for s in listed},
                },
                COPIES,
                SOURCE_COPIES,
                10.0,
                what.format(_listed(names)) + ", so all of them are told to change in the same way.",
            )
        )
    return found


def is_large(start: Start) -> bool:
    """Whether a weight is too large by itself."""
    return start.scaled and start.loud and start.too_large >= LARGE


def is_small(start: Start) -> bool:
    """Whether a weight of a hidden layer is too small by itself."""
    return start.scaled and start.hidden and start.too_small <= SMALL


def product(found: Sequence[Start]) -> float:
    """The product of the hidden gains, each as a share of its need."""
    return math.prod(start.too_small for start in found if start.hidden and start.scaled)


def fades(found: Sequence[Start], layers: Sequence[LayerFlow]) -> bool:
    """Whether small gains add up to sums that are small on the rows as well.

    A stack of sigmoids keeps its sums by the mean of its outputs: what fades there is not for want of larger weights.
    """
    hidden = {start.layer for start in found if start.hidden}
    sums = [layer.preactivation for layer in layers if layer.name in hidden and layer.preactivation >= 0]
    given = next((layer.given for layer in layers if INPUT in layer.inputs), math.nan)
    return product(found) <= FADED and min(sums, default=0.0) <= FAINT * given


def growth(layers: Sequence[LayerFlow]) -> tuple[float, str]:
    """The largest sum relative to the network's inputs, and its layer; NaN where no sums are in sight."""
    given = next((layer.given for layer in layers if INPUT in layer.inputs), math.nan)
    known = [(layer.preactivation, layer.name) for layer in layers if layer.preactivation >= 0]
    if not known or not given > 0:
        return math.nan, ""
    largest, name = max(known)
    return largest / max(given, 1.0), name


def size_of(found: Sequence[Start], layers: Sequence[LayerFlow]) -> str:
    """What is wrong with first weights: "copies", "small", "large", or "" for nothing."""
    if any(start.distinct < COPIES for start in found if start.hidden):
        return "copies"
    if any(map(is_small, found)) or fades(found, layers):
        return "small"
    above = any(start.too_large >= ABOVE for start in found if start.hidden and start.scaled)
    return "large" if any(map(is_large, found)) or (above and growth(layers)[0] >= GROWTH) else ""


def _large(m: Initialization) -> list[Fault]:
    off = [start for start in m.starts if is_large(start)]
    grown, where = m.growth
    strength = max([start.too_large / LARGE for start in off] + [grown / GROWTH if grown >= GROWTH else 0.0])
    above = off or [s for s in m.hidden if s.scaled and s.too_large >= ABOVE]
    if strength < 1 or not above:
        return []
    worst = max(above, key=lambda s: s.too_large)
    return [
        Fault(
            "init_too_large",
            _place(above),
            _evidence(m, worst)
            | {
                "layers": _places(above),
                "times_the_need": worst.too_large,
                "growth": grown,
                "largest_sums": where,
            },
            LARGE,
            SOURCE_SCALE,
            min(strength, 1000.0),
            f"The weights of {worst.layer} start {worst.too_large:.2g} times as large as {_article(worst)} layer "
            "needs"
            + (
                f", and the sums inside reach {grown:.2g} times the size of the inputs."
                if grown >= GROWTH
                else "."
            ),
        )
    ]


def _small(m: Initialization) -> list[Fault]:
    hidden = [start for start in m.hidden if start.scaled]
    off = [start for start in hidden if is_small(start)]
    share = m.product
    strength = max(
        [SMALL / max(start.too_small, 1e-12) for start in off]
        + [FADED / max(share, 1e-12) if fades(m.starts, m.layers) else 0.0]
    )
    if strength < 1:
        return []
    worst = min(off or hidden, key=lambda s: s.too_small)
    return [
        Fault(
            "init_too_small",
            _place(off) if off else "",
            _evidence(m, worst) | {"layers": _places(off or hidden), "share_of_the_need": worst.too_small},
            SMALL if off else FADED,
            SOURCE_SCALE,
            min(strength, 1000.0),
            f"The weights of {worst.layer} start at {worst.too_small:.2g} of the size that {_article(worst)} layer "
            "needs"
            + (f"; over all hidden layers {share:.2g} of the signal arrives." if len(hidden) > 1 else "."),
        )
    ]


def _evidence(m: Initialization, worst: Start) -> dict[str, Any]:
    return {
        "weight_size": worst.size,
        "gain": worst.gain,
        "needed_forward": worst.need,
        "needed_backward": worst.need_back,
        "product_of_gains": m.product,
        "loss_at_start": m.loss,
        "constant_loss": m.constant,
    }


def _article(start: Start) -> str:
    name = start.activation if start.hidden and start.activation != "identity" else "linear"
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _places(listed: Sequence[Start]) -> list[str]:
    return list(dict.fromkeys(start.layer for start in listed))


def _place(listed: Sequence[Start]) -> str:
    """The one layer, or the whole network."""
    names = _places(listed)
    return names[0] if len(names) == 1 else ""


def _listed(names: Sequence[str]) -> str:
    if len(names) > 3:
        return f"{names[0]} and {len(names) - 1} other layers"
    return " and ".join(names)


# --- prescribing ---------------------------------------------------------------------------------------------


def prescribe(fault: Fault, measurement: Initialization, subject: Subject) -> list[Change]:
    """Other initializers: what did best in whole runs, and what fits the activation."""
    parts = [activation_of(step.layer) for step in subject.network.steps]
    rectified = any(isinstance(part, Relu | LeakyRelu) for part in parts)
    usual = ("he_normal", "xavier_uniform") if rectified else ("xavier_uniform", "he_normal")
    names = list(dict.fromkeys([*measurement.best[:1], *usual, "lsuv"]))
    if math.inf in measurement.tried.get("lsuv", ()):
        names.remove("lsuv")
    found = [Change(restart(subject.settings, name), f"Start from {name}: {_WHAT[name]}.") for name in names]
    made = subject.settings.made
    if fault.kind == "init_too_large" and isinstance(made, SGD):  # steps as small as large weights demand
        rate = float(f"{10 * made.hyperparameters()['learning_rate']:.3g}")
        options = {**found[0].options, "learning_rate": rate}
        found.insert(1, Change(options, f"{found[0].sentence[:-1]}; steps can be ten times as large then."))
    return found


_WHAT = {
    "he_normal": "random weights of variance 2 / inputs",
    "xavier_uniform": "random weights of variance 2 / (inputs + outputs)",
    "lsuv": "random weights, scaled so that the sums of each layer vary by 1 on your rows",
}


# --- the answer ----------------------------------------------------------------------------------------------


def sentence(measurement: Initialization, faults: Sequence[Fault]) -> str:
    """The answer for a beginner."""
    text = told(faults)
    if text is not None:
        return text
    m = measurement
    known = [layer.preactivation for layer in m.layers if layer.preactivation >= 0]
    if not known:
        return "There are no sums of weighted inputs in this network whose size could be wrong."
    if not m.hidden:
        return "There is a single layer of weights, which learns from any start of a reasonable size."
    if wrong := size_of(m.starts, m.layers):
        return _UNTRIED[wrong]
    low, high = f"{min(known):.2g}", f"{max(known):.2g}"
    span = low if low == high else f"{low} to {high}"
    text = f"on your rows the sums inside the layers have a typical size of {span}"
    if FINE[0] <= min(known) and max(known) <= FINE[1]:
        return f"The weights start right: {text}, where about 1 is right."
    return f"The weights start well enough: {text}. About 1 would be best, but training makes up for that."


_UNTRIED = {
    "copies": "The neurons of some layer start as copies of each other.",
    "small": "The weights start smaller than the layers need.",
    "large": "The weights start larger than the layers need.",
}
