"""The data of a run as the user gave them, and their description in the files of the run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from glassgrad.common.errors import InputError
from glassgrad.common.frozen import frozen
from glassgrad.common.plain import plain
from glassgrad.common.unset import UNSET
from glassgrad.data.dataset import Dataset
from glassgrad.data.origin import check_unchanged
from glassgrad.data.sources import BUILT_IN, load_source


@frozen
class Given:
    """A data set, with the sample weights and class weights that the user gave."""

    dataset: Dataset
    sample_weight: Any = None
    class_weight: Mapping[Any, float] | str | None = None

    def document(self) -> dict[str, Any]:
        """The entry ``source`` of a run's configuration: ``Origin.document``, and a description of the weights.

        ``source`` is null for data that were given as arrays. ``sample_weight`` is true if there were sample weights;
        the weights themselves are not written. ``class_weight`` is a list of [label, weight], "balanced", or null.
        """
        origin = self.dataset.origin
        document = {"name": self.dataset.name, "source": None} | ({} if origin is None else origin.document())
        weights: Any = self.class_weight
        if isinstance(weights, Mapping):
            weights = [[plain(label), float(weight)] for label, weight in weights.items()]
        return document | {"sample_weight": self.sample_weight is not None, "class_weight": weights}


def find_given(
    document: Mapping[str, Any] | None,
    run: str,
    source: str | Path | Dataset | None = None,
    sample_weight: Any = UNSET,
) -> Given:
    """The data that ``document`` (see ``Given.document``) describes, or those in ``source``, with the same weights.

    ``run`` is the name of the run for messages. Raises InputError if the data are missing or have changed, if the run
    had sample weights and ``sample_weight`` is unset, and if ``document`` is malformed.
    """
    document = {} if document is None else document
    options = (document.get("options") or {}) if isinstance(document, Mapping) else None
    if not isinstance(options, Mapping):
        raise InputError(f"{run}: the description of its data is damaged; train it again")
    if isinstance(source, Dataset):
        dataset = source
    elif source is not None:
        dataset = load_source(source, **options)
    else:
        dataset = load_source(_source_of(document, run), **options)
    if document.get("sample_weight") and sample_weight is UNSET:
        raise InputError(f"{run}: was trained with sample weights, which are not stored; give sample_weight")
    weights = document.get("class_weight")
    if isinstance(weights, list):
        weights = dict(weights)
    return Given(dataset, None if sample_weight is UNSET else sample_weight, weights)


def _source_of(document: Mapping[str, Any], run: str) -> str | Path:
    source = document.get("source")
    if not isinstance(source, str):
        raise InputError(f"{run}: was trained on data from memory, which are not stored; give the source")
    if source in BUILT_IN:
        return source
    check_unchanged(Path(source), document.get("bytes"), document.get("sha256"), run)
    return Path(source)
