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
    """One step of training, and the network in use by (batch, with loss, values inside).

    ``own`` are those that were compiled for this run and not for an earlier one.
    """

    training: Executable
    evaluation: dict[Hashable, Executable]
    own: list[Executable]

    def seconds(self) -> float:
        """What compiling took so far; some backends compile when they first run."""
        return _seconds([self.training, *self.evaluation.values()])

    def seconds_own(self) -> float:
        """The same of ``own`` alone."""
        return _seconds(self.own)


def _seconds(executables: Iterable[Executable]) -> float:
    return sum(executable.seconds_compiling for executable in executables)


def gradient_transformation(settings: Settings) -> GradientTransformation:
    """What stands between the gradients and the update."""
    return GradientTransformation(settings.clip_norm, settings.clip_value)


class Programs:
    """The programs of any number of runs, each compiled once.

    Runs share a program if they differ only in what it takes when it runs: hyperparameters, the schedule, the
    seed, the weights and so the initializers. A layer or optimizer from outside of this package could build such a
    number into the graph all the same: those have to be equal.
    """

    def __init__(self) -> None:
        self._training: list[tuple[Any, Executable]] = []
        self._evaluation: list[tuple[Any, dict[Hashable, Executable]]] = []

    def compiled(self, task: Task, settings: Settings, backend: Backend) -> Compiled:
        """The programs of a run: a step of training, and the evaluation of every part of the data."""
        schema, network, loss = task.parts.schema, task.resolved.network, task.resolved.loss
        form = (
            Network(tuple(replace(step, layer=_bare(step.layer)) for step in network.nodes)),
            loss,
            schema.feature_shape,
            task.targets,
            settings.dtype,
            settings.backend,
        )
        step = (
            *form,
            _form(settings.resolved_optimizer),
            tuple(gradient_transformation(settings).hyperparameters()),
            task.batch,
            task.parts.weights is not None,
            settings.freeze,
            settings.watch,
            background.kind(task.parts.background),
        )
        training = _find(self._training, step)
        evaluation = _find(self._evaluation, form)
        if evaluation is None:
            evaluation = {}
            self._evaluation.append((form, evaluation))
        batches = {evaluation_batch(len(features)) for features, _ in task.parts.named().values()}
        lacking = [batch for batch in sorted(batches) if (batch, True, ()) not in evaluation]

        def programs() -> Iterator[Program]:
            """The small ones first."""
            for batch in lacking:
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
        evaluation |= {(batch, True, ()): made for batch, made in zip(lacking, own, strict=False)}
        if training is None:
            training = own[-1]
            self._training.append((step, training))
        return Compiled(training, evaluation, own)


def step_program(task: Task, settings: Settings, *, batch: int, watch: bool = False) -> Program:
    """One step of the training that ``settings`` ask for on ``task``, in batches of ``batch`` rows."""
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


def _find(known: Iterable[tuple[Any, T]], form: Any) -> T | None:
    return next((found for other, found in known if other == form), None)


def _is_ours(part: object) -> bool:
    return type(part).__module__.startswith("glassgrad.")


def _bare(layer: Layer) -> Layer:
    """``layer`` with initializers that are all the same."""
    if not _is_ours(layer):
        return layer
    options: Any = layer
    names = [item.name for item in fields(options) if isinstance(getattr(layer, item.name), Initializer)]
    bare: Layer = replace(options, **dict.fromkeys(names, "zeros"))
    return bare


def _form(optimizer: Optimizer) -> object:
    """An optimizer's kind, its choices, and the names of its hyperparameters."""
    if not _is_ours(optimizer):
        return optimizer
    values = [getattr(optimizer, item.name) for item in fields(optimizer)]
    choices = tuple(value for value in values if isinstance(value, bool))
    return type(optimizer), choices, tuple(optimizer.hyperparameters())
