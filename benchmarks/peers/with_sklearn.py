"""scikit-learn's MLPClassifier: one ``fit`` for all epochs of a timing, so that it validates its input once."""

from __future__ import annotations

import warnings
from itertools import pairwise

import numpy as np
import sklearn
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from peers.task import MOMENTUM, Task
from peers.with_numpy import limit_threads, thread_variants


class ScikitLearn:
    """No penalty, no early stopping, a constant learning rate. scikit-learn computes in the dtype of its input."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is fixed

    def versions(self) -> dict[str, str]:
        """The version of scikit-learn."""
        return {"scikit-learn": sklearn.__version__}

    def variants(self, task: Task) -> list[str]:
        """BLAS on all threads or on one."""
        return thread_variants(self.threads)

    def use(self, task: Task, variant: str) -> None:
        """Load the data and set the number of threads."""
        limit_threads(variant, self.threads)
        self.task = task
        self.X, self.Y, _ = task.data()

    def reset(self) -> None:
        """Create a classifier with the initial weights of the task."""
        task = self.task
        self.model = MLPClassifier(
            task.widths[1:-1],
            solver="adam" if task.optimizer == "adam" else "sgd",
            momentum=MOMENTUM if task.optimizer == "momentum" else 0.0,
            nesterovs_momentum=False,
            alpha=0.0,
            batch_size=task.batch,
            learning_rate_init=task.rate,
            shuffle=task.batch < task.rows,
            tol=0.0,
            n_iter_no_change=1 << 30,
            random_state=0,
        )
        self.model.partial_fit(self.X[: task.batch], self.Y[: task.batch], classes=np.arange(task.widths[-1]))
        for i, (weight, bias) in enumerate(task.weights()):
            assert self.model.coefs_[i].dtype == np.float32
            self.model.coefs_[i][...], self.model.intercepts_[i][...] = weight, bias
        del self.model._optimizer  # its state includes the step that allocated the arrays
        assert [w.shape for w in self.model.coefs_] == list(pairwise(task.widths))

    def epochs(self, count: int) -> None:
        """Continue training with one ``fit``."""
        self.model.set_params(max_iter=count, warm_start=True)
        self.model.fit(self.X, self.Y)

    def losses(self, steps: int) -> list[float]:
        """The losses of the first steps: one ``partial_fit`` per batch."""
        self.reset()
        self.model.set_params(shuffle=False)
        b, losses = self.task.batch, []
        for i in range(steps):
            start = i * b % self.task.rows
            self.model.partial_fit(self.X[start : start + b], self.Y[start : start + b])
            losses.append(float(self.model.loss_))
        return losses
