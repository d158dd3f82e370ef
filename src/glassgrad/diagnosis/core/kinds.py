"""The kinds of faults: a fixed list, which question each belongs to, and how its cure is judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Effect = Literal["improves", "unchanged", "lowers", "proof"]

QUESTIONS = ("neurons", "learning_rate", "initialization", "loss", "chain_rule")

GAIN = 0.05
"""The least share of the way from the constant predictor's score to the cured one that a cure must win back.

Tuning nearly always finds a few percent more; a fault costs more than tuning.
"""

LARGE_GAIN = 0.25
"""The same for faults of pace (a step too small, too few epochs): a run that is merely early is no fault.

And for class imbalance, since weighing classes alike always moves their balance a little, for underfitting, since a
wider network nearly always does a little better, and for overfitting, since a little regularization does so too.
"""


@dataclass(frozen=True)
class Kind:
    """One kind of fault: the question that it belongs to, and how a cure for it is judged.

    ``effect`` is what the cure does to the score on validation rows: "improves" it; "unchanged" (an input that is
    of no use can go); "lowers" (without a leaked target the true score shows); "proof" (there is no cure to try:
    the module's own experiment is the proof). ``measure`` is the score, if not the loss. ``gain`` is the least
    share of the gap (see ``GAIN``). A ``harmless`` kind is never more than a warning. Of a kind with a ``mechanism``
    what it suspects is itself what does the harm, and was measured: far beyond the threshold a cure that helps needs
    to help less (see ``judging``). A ``provable`` kind has an experiment of its own where no cure shows it.
    Of a kind with ``relief`` a cure is one already if it takes the harm away (see ``judging``). ``brings`` are the
    kinds that it brings about: its symptoms, not faults of their own.
    """

    name: str
    question: str
    meaning: str
    effect: Effect = "improves"
    measure: str | None = None
    gain: float = GAIN
    harmless: bool = False
    mechanism: bool = False
    provable: bool = False
    relief: bool = False
    brings: tuple[str, ...] = ()


_STUCK = ("plateau", "underfitting", "too_few_epochs", "learning_rate_too_low")
_FLOW = ("vanishing_gradient", "dead_neurons", "saturated_neurons", "duplicate_neurons")
_WILD = ("exploding_gradient", "oscillation", "learning_rate_too_high")

# In the order of causes: of two that explain the scores equally well, the first one is named first.
_KINDS = (
    Kind(
        "wrong_gradient",
        "chain_rule",
        "a part of your own has a derivative that central differences contradict",
        effect="proof",
        brings=(*_STUCK, *_FLOW, *_WILD),
    ),
    Kind(
        "loss_output_mismatch",
        "loss",
        "the last activation does not give what the loss takes, or the loss is not for this kind of target",
        mechanism=True,
        brings=(*_STUCK, *_FLOW, *_WILD, "unsuitable_loss"),
    ),
    Kind(
        "shuffled_labels",
        "loss",
        "the targets have nothing to do with the inputs: training on shuffled ones does as well",
        effect="proof",
        brings=(*_STUCK, "overfitting"),
    ),
    Kind(
        "target_leak",
        "neurons",
        "an input gives the target away, so the score promises more than the network will keep",
        effect="lowers",
        provable=True,
    ),
    Kind(
        "zero_init",
        "initialization",
        "weights start at zero, so that the neurons of a layer all learn the same, or nothing",
        mechanism=True,
        brings=(*_STUCK, *_FLOW, "constant_init", "init_too_small"),
    ),
    Kind(
        "constant_init",
        "initialization",
        "the weights of a layer start equal, so that its neurons stay copies of each other",
        mechanism=True,
        brings=(*_STUCK, *_FLOW, *_WILD, "init_too_large", "init_too_small"),
    ),
    Kind(
        "unscaled_inputs",
        "neurons",
        "inputs differ in size by so much that no one step suits all of them",
        mechanism=True,
        brings=(*_STUCK, *_FLOW, *_WILD, "init_too_large", "init_too_small", "batch_size"),
    ),
    Kind(
        "init_too_large",
        "initialization",
        "the values grow from layer to layer at the start",
        mechanism=True,
        brings=(*_STUCK, *_FLOW, *_WILD, "overfitting", "wrong_optimizer_setting"),
    ),
    Kind(
        "init_too_small",
        "initialization",
        "the values shrink from layer to layer at the start",
        mechanism=True,
        brings=(*_STUCK, *_FLOW),
    ),
    Kind(
        "missing_nonlinearity",
        "neurons",
        "layers without an activation between them do no more than a single one",
        mechanism=True,
        brings=("underfitting", "plateau"),
    ),
    Kind(
        "regularization_too_strong",
        "loss",
        "weight decay or dropout holds the network back from what it could learn",
        brings=(*_STUCK, *_FLOW),
    ),
    Kind(
        "wrong_optimizer_setting",
        "learning_rate",
        "a setting of the optimizer other than its step, such as momentum or clipping, holds the training back",
        brings=(*_STUCK, *_WILD, "dead_neurons"),
    ),
    Kind(
        "learning_rate_too_high",
        "learning_rate",
        "the steps are so large that they jump over what they are to reach",
        brings=(
            *_FLOW,
            "exploding_gradient",
            "oscillation",
            "plateau",
            "underfitting",
            "batch_size",
            "overfitting",
        ),
    ),
    Kind(
        "batch_size",
        "learning_rate",
        "there are too few steps in an epoch, or too few rows in a step",
        brings=("plateau", "underfitting", "too_few_epochs", "oscillation", "overfitting"),
    ),
    Kind(
        "exploding_gradient",
        "chain_rule",
        "the gradient grows from layer to layer on its way back",
        mechanism=True,
        brings=("oscillation", "learning_rate_too_high", "dead_neurons", "saturated_neurons", "plateau"),
    ),
    Kind(
        "dead_neurons",
        "neurons",
        "neurons that are active on no row, and so never learn again",
        mechanism=True,
        brings=(*_STUCK, "vanishing_gradient"),
    ),
    Kind(
        "saturated_neurons",
        "neurons",
        "neurons sit at the flat ends of their activation, where no gradient passes",
        mechanism=True,
        brings=(*_STUCK, "vanishing_gradient"),
    ),
    Kind(
        "vanishing_gradient",
        "chain_rule",
        "the gradient shrinks from layer to layer on its way back, so that the first layers hardly learn",
        mechanism=True,
        brings=(*_STUCK, "duplicate_neurons"),
    ),
    Kind(
        "duplicate_neurons",
        "neurons",
        "neurons of a layer that compute the same",
        mechanism=True,
        brings=("underfitting", "plateau"),
    ),
    Kind(
        "learning_rate_too_low",
        "learning_rate",
        "the steps are so small that the training hardly gets anywhere",
        gain=LARGE_GAIN,
        brings=("plateau", "underfitting", "too_few_epochs"),
    ),
    Kind(
        "unsuitable_loss",
        "loss",
        "the loss can be trained, but measures something else than what matters here",
        brings=("underfitting", "plateau"),
    ),
    Kind(
        "class_imbalance",
        "loss",
        "one class is so frequent that the network hardly learns the others",
        measure="balanced_accuracy",
        gain=LARGE_GAIN,
    ),
    Kind(
        "oscillation",
        "learning_rate",
        "the loss goes up and down instead of settling",
    ),
    Kind(
        "overfitting",
        "loss",
        "the network knows its training rows by heart and does worse and worse on others",
        relief=True,
        gain=LARGE_GAIN,
    ),
    Kind(
        "too_few_epochs",
        "learning_rate",
        "the training ended while the loss was still falling fast",
        gain=LARGE_GAIN,
        brings=("underfitting",),
    ),
    Kind(
        "plateau",
        "learning_rate",
        "the loss stands still far above what this network can reach",
        brings=("underfitting",),
    ),
    Kind(
        "underfitting",
        "loss",
        "the network is too small, or held back, to fit even its training rows",
        gain=LARGE_GAIN,
    ),
    Kind(
        "different_parts",
        "loss",
        "training and test rows are drawn differently",
        effect="proof",
        harmless=True,
    ),
    Kind(
        "miscalibrated",
        "loss",
        "the probabilities are surer than the network is right",
        effect="proof",
        harmless=True,
    ),
    Kind(
        "duplicate_feature",
        "neurons",
        "an input says the same as another one",
        effect="unchanged",
        harmless=True,
    ),
    Kind(
        "constant_feature",
        "neurons",
        "an input has the same value in every row",
        effect="unchanged",
        harmless=True,
    ),
)
KINDS: dict[str, Kind] = {kind.name: kind for kind in _KINDS}
CAUSE_ORDER: dict[str, int] = {name: place for place, name in enumerate(KINDS)}
