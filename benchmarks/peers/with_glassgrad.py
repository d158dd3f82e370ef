"""Glassgrad: many steps per call of the compiled program, with the rows in the order that ``train`` draws."""

from __future__ import annotations

from importlib.metadata import version

import numpy as np

from glassgrad.backends.base import Executable, Feed, Result
from glassgrad.backends.native.backend import NativeBackend
from glassgrad.common.orders import Epochs
from glassgrad.losses.table import loss
from glassgrad.nn.layers.dense import Dense
from glassgrad.nn.network import Sequential
from glassgrad.optim.optimizers import SGD, Adam, Optimizer
from glassgrad.program import Program
from glassgrad.training.background import background, hyperparameter, kind
from glassgrad.training.pace import GROWTH
from glassgrad.training.programs import FEATURES, TARGETS, training_program
from peers.task import BETA1, BETA2, EPSILON, MOMENTUM, Task


class Glassgrad:
    """The native backend on all threads. It decides itself which steps are large enough to share among them."""

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def versions(self) -> dict[str, str]:
        """Glassgrad and llvmlite, its code generator."""
        return {"Glassgrad": version("glassgrad"), "llvmlite": version("llvmlite")}

    def variants(self, task: Task) -> list[str]:
        """A single variant."""
        return ["all threads"]

    def use(self, task: Task, variant: str) -> None:
        """Compile the program. The cache is empty at the start, so this is the full cost of compiling."""
        if getattr(self, "task", None) == task:
            return
        self.task = task
        self.optimizer = optimizer_of(task)
        features, classes, _ = task.data()
        self.background = background(features)
        self.program = program_of(task, self.optimizer, kind(self.background))
        self.executable = NativeBackend(threads=self.threads).compile(self.program)
        self.initial_weights = first_weights(task, self.program)
        self.data = {FEATURES: features, TARGETS: classes}

    def compiling(self) -> dict[str, float]:
        """Seconds to compile the program, and seconds to load it from the cache on disk."""
        from_cache = NativeBackend(threads=self.threads).compile(self.program)
        return {
            "compile_seconds": self.executable.seconds_compiling,
            "cached_seconds": from_cache.seconds_compiling,
        }

    def reset(self) -> None:
        """Restore the initial weights and zero the optimizer state."""
        self.params = self.initial_weights
        self.state = empty_slots(self.program)
        self.step = 0

    def epochs(self, count: int) -> None:
        """Train as ``train`` does: calls start with one epoch and grow to several if epochs are short."""
        task, first_epoch, epochs_per_call = self.task, 1, 1
        all_rows = np.arange(task.rows, dtype=np.int32)
        while first_epoch <= count:
            if task.batch < task.rows:
                order = Epochs(task.rows, task.batch, 0, first_epoch, epochs_per_call)
            else:
                order = np.tile(all_rows, epochs_per_call)
            self.result = self._run(self.executable, order)
            first_epoch += epochs_per_call
            epochs_per_call = min(GROWTH * epochs_per_call, task.epochs_per_call, count + 1 - first_epoch)

    def _run(self, executable: Executable, order: np.ndarray | Epochs) -> Result:
        hyper = self.optimizer.hyperparameters() | hyperparameter(self.background)
        feed = Feed(self.data, order, self.params, self.state, hyper, seed=0, first_step=self.step)
        result = executable.run(feed)
        self.params, self.state = result.params, result.state
        self.step += len(result.outputs["loss"])
        return result

    def losses(self, steps: int) -> list[float]:
        """The losses of the first steps, with the rows in their original order."""
        self.reset()
        task = self.task
        order = np.arange(steps * task.batch, dtype=np.int32) % task.rows
        return [float(value) for value in self._run(self.executable, order).outputs["loss"]]


def optimizer_of(task: Task) -> Optimizer:
    """The task's optimizer."""
    if task.optimizer == "adam":
        return Adam(task.rate, BETA1, BETA2, EPSILON)
    return SGD(task.rate, MOMENTUM if task.optimizer == "momentum" else 0.0)


def program_of(task: Task, optimizer: Optimizer, background: str | None = None) -> Program:
    """The program of one training step; ``background`` as in ``training_program``."""
    hidden = [Dense(units, "relu") for units in task.widths[1:-1]]
    network = Sequential(*hidden, Dense(task.widths[-1]))
    entropy = loss("categorical_cross_entropy")
    return training_program(
        network, task.widths[:1], entropy, optimizer, batch=task.batch, targets=None, background=background
    )


def first_weights(task: Task, program: Program) -> dict[str, np.ndarray]:
    """The initial weights of the task, by their names in the program."""
    arrays = iter([array for layer in task.weights() for array in layer])
    weights = {item.name: next(arrays) for item in program.params}
    assert all(weights[item.name].shape == item.type.shape for item in program.params)
    return weights


def empty_slots(program: Program) -> dict[str, np.ndarray]:
    """Zeros for the optimizer state, by name."""
    return {item.name: np.zeros(item.type.shape, item.type.dtype) for item in program.state}
