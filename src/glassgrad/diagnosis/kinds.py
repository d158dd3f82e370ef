"""All kinds of faults in causal order: of two that explain the scores equally well, the earlier one is named."""

from __future__ import annotations

from glassgrad.common.errors import InputError, unknown_name
from glassgrad.diagnosis.chain_rule import exploding_gradient, vanishing_gradient, wrong_gradient
from glassgrad.diagnosis.core.kinds import Kind
from glassgrad.diagnosis.core.questions import QUESTIONS
from glassgrad.diagnosis.initialization import equal_weights, init_too_large, init_too_small
from glassgrad.diagnosis.learning_rate import (
    batch_size,
    learning_rate_too_high,
    learning_rate_too_low,
    oscillation,
    plateau,
    too_few_epochs,
    wrong_optimizer_setting,
)
from glassgrad.diagnosis.loss import (
    class_imbalance,
    different_parts,
    loss_output_mismatch,
    miscalibrated,
    overfitting,
    regularization_too_strong,
    shuffled_labels,
    underfitting,
    unsuitable_loss,
)
from glassgrad.diagnosis.neurons import (
    dead_neurons,
    duplicate_neurons,
    missing_nonlinearity,
    saturated_neurons,
    target_leak,
    unscaled_inputs,
    useless_inputs,
)

_CAUSAL_ORDER = (
    wrong_gradient.KIND,
    loss_output_mismatch.KIND,
    shuffled_labels.KIND,
    target_leak.KIND,
    equal_weights.ZERO,
    equal_weights.CONSTANT,
    unscaled_inputs.KIND,
    init_too_large.KIND,
    init_too_small.KIND,
    missing_nonlinearity.KIND,
    regularization_too_strong.KIND,
    wrong_optimizer_setting.KIND,
    learning_rate_too_high.KIND,
    batch_size.KIND,
    exploding_gradient.KIND,
    dead_neurons.KIND,
    saturated_neurons.KIND,
    vanishing_gradient.KIND,
    duplicate_neurons.KIND,
    learning_rate_too_low.KIND,
    unsuitable_loss.KIND,
    class_imbalance.KIND,
    oscillation.KIND,
    overfitting.KIND,
    too_few_epochs.KIND,
    plateau.KIND,
    underfitting.KIND,
    different_parts.KIND,
    miscalibrated.KIND,
    useless_inputs.DUPLICATE,
    useless_inputs.CONSTANT,
)
KINDS: dict[str, Kind] = {kind.name: kind for kind in _CAUSAL_ORDER}


def register(kind: Kind, *, before: str | None = None) -> None:
    """Add ``kind`` to ``KINDS``, in the causal order before the kind named ``before``, or at the end.

    Raises InputError for a name that is already registered, and for an unknown question or kind.
    """
    if kind.name in KINDS:
        raise InputError(f"a kind of fault named {kind.name!r} is already registered")
    if kind.question not in QUESTIONS:
        raise unknown_name("question", kind.question, QUESTIONS)
    if before is not None and before not in KINDS:
        raise unknown_name("kind of fault", before, KINDS)
    kinds = list(KINDS.values())
    index = len(kinds) if before is None else list(KINDS).index(before)
    kinds.insert(index, kind)
    KINDS.clear()
    KINDS.update({item.name: item for item in kinds})
