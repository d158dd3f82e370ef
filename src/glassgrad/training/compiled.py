"""The compiled programs of a run, and which runs can share them."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field, fields, replace
from typing import Any

from glassgrad.backends.base import Backend, Executable
from glassgrad.nn.initializers import Initializer
from glassgrad.nn.layer import Layer
from glassgrad.nn.network import Network
from glassgrad.optim.gradients import Seam
from glassgrad.optim.optimizers import Optimizer
from glassgrad.training.model import evaluation_batch
from glassgrad.training.programs import evaluation_program, training_program
from glassgrad.training.settings import Settings
from glassgrad.training.task import Task


@dataclass(eq=False)
class Compiled:
    """One step of training, and the network in use by (batch, with loss, values inside)."""

    training: Executable
    evaluation: dict[Hashable, Executable] = field(default_factory=dict)

    def seconds(self) -> float:
        """What compiling took so far; some backends compile when they first run."""
        return self.training.seconds_compiling + sum(
            executable.seconds_compiling for executable in self.evaluation.values()
        )


def seam(settings: Settings) -> Seam:
    """What stands between the gradients and the update."""
    return Seam(settings.clip_norm, settings.clip_value)


def compile_task(task: Task, settings: Settings, backend: Backend) -> Compiled:
    """The programs of a run: the step of training, and the evaluation of every part of the data."""
    schema, network, loss = task.parts.schema, task.choice.network, task.choice.loss
    program = training_program(
        network,
        schema.feature_shape,
        loss,
        settings.made,
        batch=task.batch,
        targets=task.targets,
        seam=seam(settings),
        weighted=task.parts.weights is not None,
        frozen=settings.freeze,
        dtype=settings.dtype,
    )
    compiled = Compiled(backend.compile(program))
    for batch in {evaluation_batch(len(features)) for features, _ in task.parts.named().values()}:
        program = evaluation_program(
            network, schema.feature_shape, loss, batch=batch, targets=task.targets, dtype=settings.dtype
        )
        compiled.evaluation[batch, True, ()] = backend.compile(program)
    return compiled


def structure(task: Task, settings: Settings) -> tuple[Any, ...]:
    """What the programs of a run depend on: runs for which it is equal can share them.

    Not part of it is what a program takes when it runs: hyperparameters, the schedule, the seed, the weights
    and so the initializers. Layers and optimizers from outside of this package could build such a number into
    the graph all the same; theirs are all part of it.
    """
    return (
        Network(tuple(replace(step, layer=_bare(step.layer)) for step in task.choice.network.steps)),
        task.choice.loss,
        _form(settings.made),
        tuple(seam(settings).hyperparameters()),
        task.parts.schema.feature_shape,
        task.targets,
        task.batch,
        {evaluation_batch(len(features)) for features, _ in task.parts.named().values()},
        task.parts.weights is not None,
        settings.freeze,
        settings.dtype,
        settings.backend,
    )


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
