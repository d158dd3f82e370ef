"""Networks that ``train`` refuses: settings that can be trained anyway, and changes that ``train`` accepts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from glassgrad.common.errors import GraphError, InputError
from glassgrad.data.dataset import Dataset
from glassgrad.diagnosis.core.variants import with_output
from glassgrad.losses.table import loss
from glassgrad.nn.network import Network, from_document
from glassgrad.training.changes import changed_settings
from glassgrad.training.resolve import resolve_network
from glassgrad.training.settings import Settings
from glassgrad.training.task import Preparation

HINT = "; --force "
"""Start of the hint at the end of a refusal that does not apply to a diagnosis."""


@dataclass(frozen=True)
class Refusal:
    """Why ``train`` refuses the user's network.

    ``fixes`` are changes that it accepts, the smallest first. ``stand_in`` holds the options that the examined run
    uses because the original ones cannot be trained at all; it is empty if ``force`` was enough.
    """

    message: str
    fixes: tuple[Mapping[str, Any], ...] = ()
    stand_in: Mapping[str, Any] = field(default_factory=dict)

    @property
    def trainable(self) -> bool:
        """Whether it can be trained with force."""
        return not self.stand_in

    @property
    def option(self) -> Literal["loss", "scaling", "activation"]:
        """What the smallest fix changes: "scaling", "activation", or else "loss" (the loss or its outputs)."""
        changed = set(self.fixes[0]) if self.fixes else {"loss"}
        if "scaling" in changed:
            return "scaling"
        return "activation" if "activation" in changed else "loss"


def trainable_settings(dataset: Dataset, settings: Settings) -> tuple[Settings, Refusal | None]:
    """The nearest settings that can be trained, and why ``train`` refuses ``settings`` (None if it does not).

    Raises the InputError of ``train`` if no change of loss, outputs, scaling or activation helps.
    """
    preparation = Preparation(dataset)
    forced = replace(settings, force=True)
    error = _refusal(preparation, settings)
    if error is None:
        return forced, None
    message = str(error).partition(HINT)[0]
    repairs = list(_repairs(dataset, settings))
    fixes = tuple(options for options, changed in repairs if _refusal(preparation, changed) is None)
    if _refusal(preparation, forced) is None:
        return forced, Refusal(message, fixes)
    for options, changed in repairs:
        stand_in = replace(changed, force=True)
        if _refusal(preparation, stand_in) is None:
            return stand_in, Refusal(message, fixes, options)
    raise error


def _refusal(preparation: Preparation, settings: Settings) -> Exception | None:
    try:
        preparation.task(settings)
    except (InputError, GraphError) as error:
        return error
    return None


def _repairs(dataset: Dataset, settings: Settings) -> Iterator[tuple[dict[str, Any], Settings]]:
    """Candidate changes, the smallest first, each with the changed settings."""
    outputs = {"output_activation": _output_for(settings)}
    changes: tuple[dict[str, Any], ...] = (
        {},
        outputs,
        {"loss": "auto"},
        {"loss": "auto", "output_activation": "auto" if settings.network is None else "identity"},
        {"scaling": "standard"},
        {"scaling": "none"},
        {"activation": "relu"},
    )
    for options in changes:
        try:
            changed = changed_settings(settings, options)
            network = _resized(dataset, changed)
        except (InputError, GraphError):
            continue
        if network is not None:
            yield {**options, "network": network}, replace(changed, network=network)
        elif options:
            yield options, changed


def _output_for(settings: Settings) -> str:
    """The output activation that suits the loss."""
    if settings.network is None or settings.loss == "auto":
        return "auto" if settings.network is None else "identity"
    return "log_softmax" if loss(settings.loss).expects == "log_probabilities" else "identity"


def _resized(dataset: Dataset, settings: Settings) -> Network | None:
    """The user's network with as many outputs as the loss needs; None if it has them, or is built from options."""
    if settings.network is None:
        return None
    network = settings.network
    if not isinstance(network, Network):
        network = from_document(network)
    classes = len(np.unique(dataset.targets)) if dataset.classification else None
    plain = replace(settings, network=None, output_activation="auto")
    units = resolve_network(dataset, plain, classes).units
    automatic = replace(plain, loss="auto", freeze=(), force=False)
    shape = Preparation(dataset).task(automatic).parts.schema.feature_shape
    return None if network.shapes(shape)[network.output] == (units,) else with_output(network, units, shape)
