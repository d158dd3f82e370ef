"""PyTorch: eager mode with ``torch.optim``, and the whole step as one graph with ``torch.compile``."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from peers.task import BETA1, BETA2, EPSILON, MOMENTUM, Task


class _Torch:
    """What both classes share: data and threads."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        torch.set_num_threads(threads)

    def versions(self) -> dict[str, str]:
        """The version of PyTorch."""
        return {"PyTorch": torch.__version__}

    def _start(self, task: Task, variant: str) -> None:
        torch.set_num_threads(1 if "one thread" in variant else self.threads)
        self.task, self.variant = task, variant
        features, classes, _ = task.data()
        self.X, self.Y = torch.from_numpy(features), torch.from_numpy(classes).long()
        torch.manual_seed(0)

    def _threads(self) -> list[str]:
        return ["all threads", "one thread"] if self.threads > 1 else ["one thread"]

    def _layers(self) -> list[tuple[Tensor, Tensor]]:
        return [(torch.from_numpy(w), torch.from_numpy(b)) for w, b in self.task.weights()]

    def product(self, size: int) -> float:
        """GFLOP/s of one square float32 matrix product on all threads."""
        torch.set_num_threads(self.threads)
        a, b, out = torch.ones(3, size, size)
        start = time.perf_counter()
        torch.matmul(a, b, out=out)
        return 2 * size**3 / (time.perf_counter() - start) / 1e9


class Eager(_Torch):
    """``nn.Linear``, autograd, ``torch.optim`` (fused or foreach), index tensors instead of a DataLoader."""

    def variants(self, task: Task) -> list[str]:
        """Combinations of the optimizer implementation, how rows are gathered, and threads."""
        gathers = ["rows per epoch", "rows per step"] if task.batch < task.rows else ["all rows"]
        updates = ("fused", "foreach")
        return [f"{u}, {g}, {t}" for u in updates for g in gathers for t in self._threads()]

    def use(self, task: Task, variant: str) -> None:
        """Build the module."""
        self._start(task, variant)
        parts: list[nn.Module] = []
        for a, b in pairwise(task.widths):
            parts += [nn.Linear(a, b), nn.ReLU()]
        self.model = nn.Sequential(*parts[:-1])

    def reset(self) -> None:
        """Restore the initial weights and create a new optimizer."""
        linear = [part for part in self.model if isinstance(part, nn.Linear)]
        with torch.no_grad():
            for part, (weight, bias) in zip(linear, self._layers(), strict=True):
                part.weight.copy_(weight.T)
                part.bias.copy_(bias)
        implementation = {"fused" if "fused" in self.variant else "foreach": True}
        rate = self.task.rate
        if self.task.optimizer == "adam":
            self.optimizer: torch.optim.Optimizer = torch.optim.Adam(
                self.model.parameters(), rate, (BETA1, BETA2), EPSILON, **implementation
            )
        else:
            momentum = MOMENTUM if self.task.optimizer == "momentum" else 0.0
            self.optimizer = torch.optim.SGD(self.model.parameters(), rate, momentum, **implementation)

    def epochs(self, count: int) -> None:
        """Train. The mean loss stays a tensor, because nothing needs its value earlier."""
        for _ in range(count):
            total = torch.zeros(())
            for x, y in self._batches():
                total += self._step(x, y)
            self.loss = total / self.task.steps

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        task = self.task
        if task.batch == task.rows:
            return iter([(self.X, self.Y)])
        order = torch.randperm(task.rows)
        if "per epoch" in self.variant:
            return zip(self.X[order].split(task.batch), self.Y[order].split(task.batch), strict=True)
        return ((self.X[rows], self.Y[rows]) for rows in order.split(task.batch))

    def _step(self, x: Tensor, y: Tensor) -> Tensor:
        self.optimizer.zero_grad(set_to_none=True)
        loss = cross_entropy(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def losses(self, steps: int) -> list[float]:
        """The losses of the first steps, with the rows in their original order."""
        self.reset()
        b = self.task.batch
        starts = [i * b % self.task.rows for i in range(steps)]
        return [float(self._step(self.X[i : i + b], self.Y[i : i + b])) for i in starts]


class Compiled(_Torch):
    """Gathering, forward pass, backward pass and update as one function of tensors: one graph without breaks.

    Compiling the usual training loop (module, ``backward()``, ``optimizer.step()``) was slower.
    """

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        self.folder = os.environ["TORCHINDUCTOR_CACHE_DIR"]
        os.makedirs(self.folder, exist_ok=True)

    def variants(self, task: Task) -> list[str]:
        """The graph called from Python or from a C++ wrapper, the latter also with tuned matrix products."""
        names = [f"default, {self._threads()[0]}"]
        names += [f"cpp_wrapper, {threads}" for threads in self._threads()]
        return [*names, f"cpp_wrapper max_autotune, {self._threads()[0]}"]

    def use(self, task: Task, variant: str) -> None:
        """Compile the step, unless this variant has been compiled for the task before."""
        if not hasattr(self, "task") or task != self.task:
            torch._dynamo.reset()
            self.compiled: dict[str, object] = {}
        self._start(task, variant)
        self.all_rows = torch.arange(task.rows)
        options = {name: True for name in ("cpp_wrapper", "max_autotune") if name in variant}
        if variant not in self.compiled:
            # Variants share kernels. With a common cache, later variants would seem to compile instantly.
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = tempfile.mkdtemp(dir=self.folder)
            function = _step_of(task)
            self.compiled[variant] = torch.compile(
                function, fullgraph=True, dynamic=False, options=options or None
            )
        self.step = self.compiled[variant]

    def reset(self) -> None:
        """Restore the initial weights and zero the optimizer slots."""
        self.params = [part.clone() for layer in self._layers() for part in layer]
        slots = {"sgd": 0, "momentum": 1, "adam": 2}[self.task.optimizer]
        self.slots = [[torch.zeros_like(p) for p in self.params] for _ in range(slots)]
        self.total, self.t = torch.zeros(()), torch.zeros(())

    def epochs(self, count: int) -> None:
        """Train. Python only splits the row indices into batches."""
        task = self.task
        with torch.no_grad():
            for _ in range(count):
                order = self.all_rows if task.batch == task.rows else torch.randperm(task.rows)
                self.total.zero_()
                for rows in order.split(task.batch):
                    self.step(self.params, self.slots, self.total, self.t, self.X, self.Y, rows)

    def losses(self, steps: int) -> list[float]:
        """The losses of the first steps, with the rows in their original order."""
        self.reset()
        losses = []
        with torch.no_grad():
            batches = self.all_rows.split(self.task.batch)
            for i in range(steps):
                self.total.zero_()
                rows = batches[i % len(batches)]
                self.step(self.params, self.slots, self.total, self.t, self.X, self.Y, rows)
                losses.append(float(self.total))
        return losses


def _step_of(task: Task):
    """The function of one training step; it updates the parameters, slots, total loss and step number in place."""
    is_full_batch, rate = task.batch == task.rows, task.rate

    def loss_of(params: list[Tensor], x: Tensor, y: Tensor) -> Tensor:
        for i in range(0, len(params), 2):
            x = torch.addmm(params[i + 1], x, params[i])
            if i < len(params) - 2:
                x = torch.relu(x)
        return cross_entropy(x, y)

    def step(params, slots, total, t, X, Y, rows) -> None:
        x, y = (X, Y) if is_full_batch else (X[rows], Y[rows])
        gradients, loss = torch.func.grad_and_value(loss_of)(params, x, y)
        total.add_(loss)
        t.add_(1)
        for i, (w, g) in enumerate(zip(params, gradients, strict=True)):
            if task.optimizer == "sgd":
                w.sub_(rate * g)
                continue
            m = slots[0][i]
            if task.optimizer == "momentum":
                m.mul_(MOMENTUM).add_(g)
                w.sub_(rate * m)
                continue
            v = slots[1][i]
            m.mul_(BETA1).add_(g, alpha=1 - BETA1)
            v.mul_(BETA2).add_(g * g, alpha=1 - BETA2)
            denominator = (v / (1 - BETA2**t)).sqrt() + EPSILON
            w.sub_(rate / (1 - BETA1**t) * m / denominator)

    return step
