"""scikit-learn's MLPClassifier: ``fit`` over all epochs of a timing at once, so that it checks its input once."""

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
    """No penalty, no early end, a constant learning rate; scikit-learn counts in the dtype of its input."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        warnings.simplefilter("ignore", ConvergenceWarning)  # it is told to stop

    def versions(self) -> dict[str, str]:
        """scikit-learn."""
        return {"scikit-learn": sklearn.__version__}

    def variants(self, task: Task) -> list[str]:
        """BLAS on all threads or on one."""
        return thread_variants(self.threads)

    def use(self, task: Task, variant: str) -> None:
        """The data."""
        limit_threads(variant, self.threads)
        self.task = task
        self.X, self.Y, _ = task.data()

    def reset(self) -> None:
        """A new classifier with the first weights in place of its own."""
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
        del self.model._optimizer  # it remembers the step that made the arrays
        assert [w.shape for w in self.model.coefs_] == list(pairwise(task.widths))

    def epochs(self, count: int) -> None:
        """One fit from the weights as they are."""
        self.model.set_params(max_iter=count, warm_start=True)
        self.model.fit(self.X, self.Y)

    def losses(self, steps: int) -> list[float]:
        """One ``partial_fit`` per batch."""
        self.reset()
        self.model.set_params(shuffle=False)
        b, found = self.task.batch, []
        for i in range(steps):
            start = i * b % self.task.rows
            self.model.partial_fit(self.X[start : start + b], self.Y[start : start + b])
            found.append(float(self.model.loss_))
        return found
