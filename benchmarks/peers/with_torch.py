"""PyTorch: eager with ``torch.optim``, and the whole step as one graph through ``torch.compile``."""

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
    """What both share: data, order, threads."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        torch.set_num_threads(threads)

    def versions(self) -> dict[str, str]:
        """PyTorch."""
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
        """GFLOP/s of one square float32 product, all threads."""
        torch.set_num_threads(self.threads)
        a, b, out = torch.ones(3, size, size)
        start = time.perf_counter()
        torch.matmul(a, b, out=out)
        return 2 * size**3 / (time.perf_counter() - start) / 1e9


class Eager(_Torch):
    """``nn.Linear``, autograd, ``torch.optim`` (fused or foreach), index tensors in place of a DataLoader."""

    def variants(self, task: Task) -> list[str]:
        """The optimizer's implementation, how rows are gathered, and threads."""
        gathers = ["rows per epoch", "rows per step"] if task.batch < task.rows else ["all rows"]
        updates = ("fused", "foreach")
        return [f"{u}, {g}, {t}" for u in updates for g in gathers for t in self._threads()]

    def use(self, task: Task, variant: str) -> None:
        """The module."""
        self._start(task, variant)
        parts: list[nn.Module] = []
        for a, b in pairwise(task.widths):
            parts += [nn.Linear(a, b), nn.ReLU()]
        self.model = nn.Sequential(*parts[:-1])

    def reset(self) -> None:
        """First weights, new optimizer."""
        linear = [part for part in self.model if isinstance(part, nn.Linear)]
        with torch.no_grad():
            for part, (weight, bias) in zip(linear, self._layers(), strict=True):
                part.weight.copy_(weight.T)
                part.bias.copy_(bias)
        how, rate = {"fused" if "fused" in self.variant else "foreach": True}, self.task.rate
        if self.task.optimizer == "adam":
            self.optimizer: torch.optim.Optimizer = torch.optim.Adam(
                self.model.parameters(), rate, (BETA1, BETA2), EPSILON, **how
            )
        else:
            momentum = MOMENTUM if self.task.optimizer == "momentum" else 0.0
            self.optimizer = torch.optim.SGD(self.model.parameters(), rate, momentum, **how)

    def epochs(self, count: int) -> None:
        """The mean loss stays a tensor until the end, as nothing needs it sooner."""
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
        """The first steps, in order."""
        self.reset()
        b = self.task.batch
        starts = [i * b % self.task.rows for i in range(steps)]
        return [float(self._step(self.X[i : i + b], self.Y[i : i + b])) for i in starts]


class Compiled(_Torch):
    """Gather, forward, backward and update as one function of tensors: one graph, without graph breaks.

    Compiling the usual training loop instead (module, ``backward()``, ``optimizer.step()``) was slower.
    """

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        self.folder = os.environ["TORCHINDUCTOR_CACHE_DIR"]
        os.makedirs(self.folder, exist_ok=True)

    def variants(self, task: Task) -> list[str]:
        """Called from Python, or through a wrapper in C++ (and there also with the products tuned)."""
        found = [f"default, {self._threads()[0]}"]
        found += [f"cpp_wrapper, {threads}" for threads in self._threads()]
        return [*found, f"cpp_wrapper max_autotune, {self._threads()[0]}"]

    def use(self, task: Task, variant: str) -> None:
        """Compile, unless this task has been compiled so before."""
        if not hasattr(self, "task") or task != self.task:
            torch._dynamo.reset()
            self.made: dict[str, object] = {}
        self._start(task, variant)
        self.every = torch.arange(task.rows)
        options = {name: True for name in ("cpp_wrapper", "max_autotune") if name in variant}
        if variant not in self.made:
            # An empty folder for each: variants share kernels, and the later one would seem to compile in no time.
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = tempfile.mkdtemp(dir=self.folder)
            function = _step_of(task)
            self.made[variant] = torch.compile(
                function, fullgraph=True, dynamic=False, options=options or None
            )
        self.step = self.made[variant]

    def reset(self) -> None:
        """First weights, empty slots."""
        self.params = [part.clone() for layer in self._layers() for part in layer]
        slots = {"sgd": 0, "momentum": 1, "adam": 2}[self.task.optimizer]
        self.slots = [[torch.zeros_like(p) for p in self.params] for _ in range(slots)]
        self.total, self.t = torch.zeros(()), torch.zeros(())

    def epochs(self, count: int) -> None:
        """Only the numbers of the rows are cut in Python."""
        task = self.task
        with torch.no_grad():
            for _ in range(count):
                order = self.every if task.batch == task.rows else torch.randperm(task.rows)
                self.total.zero_()
                for rows in order.split(task.batch):
                    self.step(self.params, self.slots, self.total, self.t, self.X, self.Y, rows)

    def losses(self, steps: int) -> list[float]:
        """The first steps, in order."""
        self.reset()
        found = []
        with torch.no_grad():
            batches = self.every.split(self.task.batch)
            for i in range(steps):
                self.total.zero_()
                rows = batches[i % len(batches)]
                self.step(self.params, self.slots, self.total, self.t, self.X, self.Y, rows)
                found.append(float(self.total))
        return found


def _step_of(task: Task):
    full, rate = task.batch == task.rows, task.rate

    def loss_of(params: list[Tensor], x: Tensor, y: Tensor) -> Tensor:
        for i in range(0, len(params), 2):
            x = torch.addmm(params[i + 1], x, params[i])
            if i < len(params) - 2:
                x = torch.relu(x)
        return cross_entropy(x, y)

    def step(params, slots, total, t, X, Y, rows) -> None:
        x, y = (X, Y) if full else (X[rows], Y[rows])
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
            spread = (v / (1 - BETA2**t)).sqrt() + EPSILON
            w.sub_(rate / (1 - BETA1**t) * m / spread)

    return step
