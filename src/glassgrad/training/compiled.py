"""The compiled programs of a run, and which runs can share them."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

from glassgrad.backends.base import Backend, Executable, compile_all
from glassgrad.init.initializers import Initializer
from glassgrad.nn.layer import Layer
from glassgrad.nn.network import Network
from glassgrad.optim.gradients import GradientTransformation
from glassgrad.optim.optimizers import Optimizer
from glassgrad.program import Program
from glassgrad.training import background
from glassgrad.training.model import evaluation_batch
from glassgrad.training.programs import evaluation_program, training_program
from glassgrad.training.settings import Settings
from glassgrad.training.task import Task

T = TypeVar("T")


@dataclass(eq=False)
class Compiled:
    """The training step, and the evaluation programs by (batch size, with loss, names of inner values).

    ``own`` holds the programs that were compiled for this run and not for an earlier one.
    """

    training: Executable
    evaluation: dict[Hashable, Executable]
    own: list[Executable]

    def seconds(self) -> float:
        """Seconds of compilation so far. Some backends compile when a program first runs."""
        return _seconds([self.training, *self.evaluation.values()])

    def seconds_own(self) -> float:
        """Seconds of compilation of the programs in ``own``."""
        return _seconds(self.own)


def _seconds(executables: Iterable[Executable]) -> float:
    return sum(executable.seconds_compiling for executable in executables)


def gradient_transformation(settings: Settings) -> GradientTransformation:
    """The transformation of the gradients before the update: clipping."""
    return GradientTransformation(settings.clip_norm, settings.clip_value)


class Programs:
    """The programs of any number of runs, each compiled once.

    Runs share a program if they differ only in its run-time inputs: hyperparameters, schedule, seed, and initial
    weights (so also initializers). A layer or optimizer from outside this package might build such a number into
    the graph, so it must be equal in all runs that share a program.
    """

    def __init__(self) -> None:
        self._training: list[tuple[Any, Executable]] = []
        self._evaluation: list[tuple[Any, dict[Hashable, Executable]]] = []

    def compiled(self, task: Task, settings: Settings, backend: Backend) -> Compiled:
        """The programs of a run: the training step, and the evaluation of every part of the data."""
        schema, network, loss = task.parts.schema, task.resolved.network, task.resolved.loss
        evaluation_key = (
            Network(tuple(replace(node, layer=_without_initializers(node.layer)) for node in network.nodes)),
            loss,
            schema.feature_shape,
            task.targets,
            settings.dtype,
            settings.backend,
        )
        training_key = (
            *evaluation_key,
            _optimizer_key(settings.resolved_optimizer),
            tuple(gradient_transformation(settings).hyperparameters()),
            task.batch,
            task.parts.weights is not None,
            settings.freeze,
            settings.watch,
            background.kind(task.parts.background),
        )
        training = _find(self._training, training_key)
        evaluation = _find(self._evaluation, evaluation_key)
        if evaluation is None:
            evaluation = {}
            self._evaluation.append((evaluation_key, evaluation))
        batches = {evaluation_batch(len(features)) for features, _ in task.parts.named().values()}
        missing = [batch for batch in sorted(batches) if (batch, True, ()) not in evaluation]

        def programs() -> Iterator[Program]:
            """The programs to compile: evaluation in ascending batch size, then training."""
            for batch in missing:
                yield evaluation_program(
                    network,
                    schema.feature_shape,
                    loss,
                    batch=batch,
                    targets=task.targets,
                    dtype=settings.dtype,
                )
            if training is None:
                yield step_program(task, settings, batch=task.batch, watch=settings.watch)

        own = compile_all(backend, programs())
        evaluation |= {(batch, True, ()): executable for batch, executable in zip(missing, own, strict=False)}
        if training is None:
            training = own[-1]
            self._training.append((training_key, training))
        return Compiled(training, evaluation, own)


def step_program(task: Task, settings: Settings, *, batch: int, watch: bool = False) -> Program:
    """The program of one training step on ``task`` with ``settings``, for batches of ``batch`` rows."""
    return training_program(
        task.resolved.network,
        task.parts.schema.feature_shape,
        task.resolved.loss,
        settings.resolved_optimizer,
        batch=batch,
        targets=task.targets,
        transformation=gradient_transformation(settings),
        weighted=task.parts.weights is not None,
        frozen=settings.freeze,
        dtype=settings.dtype,
        watch=watch,
        background=background.kind(task.parts.background),
    )


def _find(entries: Iterable[tuple[Any, T]], key: Any) -> T | None:
    """The value of the first entry whose key equals ``key``. Keys need not be hashable."""
    return next((value for other, value in entries if other == key), None)


def _is_built_in(part: object) -> bool:
    return type(part).__module__.startswith("glassgrad.")


def _without_initializers(layer: Layer) -> Layer:
    """``layer`` with all its initializers replaced by zeros."""
    if not _is_built_in(layer):
        return layer
    options: Any = layer
    names = [item.name for item in fields(options) if isinstance(getattr(layer, item.name), Initializer)]
    result: Layer = replace(options, **dict.fromkeys(names, "zeros"))
    return result


def _optimizer_key(optimizer: Optimizer) -> object:
    """The class of an optimizer, its flags, and the names of its hyperparameters."""
    if not _is_built_in(optimizer):
        return optimizer
    values = [getattr(optimizer, item.name) for item in fields(optimizer)]
    flags = tuple(value for value in values if isinstance(value, bool))
    return type(optimizer), flags, tuple(optimizer.hyperparameters())
