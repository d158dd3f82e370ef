"""Three other things that people wait for, next to the libraries that they would use for them.

    python benchmarks/others.py [--only process,row,rates] [--rounds 11] [--threads 2]

process  ``glassgrad train digits --epochs 30`` as a fresh process, against the same job in scikit-learn
row      one-row prediction with 64-64-10, one thread, float32 array in and out
rates    64 networks 64-32-10 with 64 learning rates, 20 epochs of digits each, batch 32

Rounds are interleaved; medians are printed with their quartiles, and ratios are taken within a round.
"""

from __future__ import annotations

import os

# Before NumPy and PyTorch are loaded: one row is a matter of one thread, and so is each of many networks.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from peers.report import machine, number, quartiles
from peers.task import Task

OURS = "Glassgrad"
RESULTS = Path(__file__).parent / "results"
REST = 0.05
Runs = dict[str, Callable[[], float]]  # by name: does the job once, returns seconds

SCIKIT_LEARN = """
import pickle, sys, warnings
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

warnings.simplefilter("ignore", ConvergenceWarning)
X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(X.astype("float32"), y, test_size=0.2, stratify=y, random_state=0)
# early_stopping: a tenth is set aside for validation, and the best epoch is kept, as glassgrad train does.
network = MLPClassifier((64, 32), batch_size=32, max_iter=30, alpha=0, early_stopping=True, n_iter_no_change=31,
                        random_state=0)
model = make_pipeline(StandardScaler(), network).fit(X, y)
print(model.score(X_test, y_test), network.n_iter_)
with open(sys.argv[1], "wb") as file:
    pickle.dump(model, file)
"""


# --- the whole process --------------------------------------------------------------------------------------


def process(folder: Path, threads: int) -> Runs:
    """Import, load, split, scale, train 30 epochs, test, save: from the shell's point of view."""
    clean = {key: value for key, value in os.environ.items() if not key.endswith("_NUM_THREADS")}
    environment = clean | {"GLASSGRAD_CACHE": str(folder / "cache")}
    environment |= {f"{pool}_NUM_THREADS": str(threads) for pool in ("OMP", "OPENBLAS", "MKL", "GLASSGRAD")}
    (folder / "job.py").write_text(SCIKIT_LEARN)
    numbers = iter(range(1_000_000))

    def glassgrad(cached: bool) -> float:
        place = folder / f"run{next(numbers)}"
        own = environment if cached else environment | {"GLASSGRAD_CACHE": str(place) + "-cache"}
        command = [sys.executable, "-m", "glassgrad", "train", "digits", "--epochs", "30", "--json"]
        seconds, out = timed([*command, "--out", str(place)], own)
        said["Glassgrad"] = f"test accuracy {json.loads(out.splitlines()[-1])['metrics']['test']['accuracy']:.3f}"
        return seconds

    def sklearn() -> float:
        seconds, out = timed([sys.executable, str(folder / "job.py"), str(folder / "model.pickle")], environment)
        accuracy, epochs = out.split()
        if epochs != "30":
            raise RuntimeError(f"it stopped after {epochs} epochs")
        said["scikit-learn"] = f"test accuracy {float(accuracy):.3f}"
        return seconds

    said: dict[str, str] = {}
    runs: Runs = {OURS: partial(glassgrad, True), "Glassgrad, nothing cached": partial(glassgrad, False)}
    runs["scikit-learn"] = sklearn
    runs["python -c pass"] = lambda: timed([sys.executable, "-c", "pass"], environment)[0]
    process.said = said  # type: ignore[attr-defined]
    return runs


def timed(command: list[str], environment: dict[str, str]) -> tuple[float, str]:
    """Wall-clock seconds of a process, and what it printed; raises RuntimeError with its last line on failure."""
    start = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["no message"])[-1])
    return seconds, done.stdout


# --- one row ------------------------------------------------------------------------------------------------


def row(folder: Path, threads: int) -> Runs:
    """Everybody gets the same trained weights, and must give the same probabilities."""
    import glassgrad as gg

    model = gg.train("digits", layers=[64], epochs=3, scaling="none", seed=0)
    layers = [(model.model.weights[f"dense_{i}.weight"], model.model.weights[f"dense_{i}.bias"]) for i in (1, 2)]
    x = np.ascontiguousarray(gg.load_source("digits").features[:1].reshape(1, 64), np.float32)
    makers: dict[str, Callable[[], Callable[[np.ndarray], Any]]] = {
        OURS: lambda: glassgrad_handle(model.model),
        "NumPy by hand": lambda: numpy_handle(layers),
        "ONNX Runtime": lambda: onnx_handle(layers),
        "PyTorch": lambda: torch_handle(layers),
        "scikit-learn": lambda: sklearn_handle(layers),
    }
    runs: Runs = {}
    expected = softmax(numpy_handle(layers)(x))
    for name, maker in makers.items():
        try:
            call = maker()
        except ImportError as error:
            print(f"skipped: {name} ({error})")
            continue
        found = np.asarray(call(x), np.float64)
        off = np.abs((found if name == "scikit-learn" else softmax(found)) - expected).max()
        if off > 1e-5:
            raise RuntimeError(f"{name}: its probabilities are off by {off:.1e}")
        runs[name] = partial(many, call, x)
    return runs


def many(call: Callable[[np.ndarray], Any], x: np.ndarray) -> float:
    """Seconds of one of many calls."""
    count, spent = 50, 0.0
    while spent < 0.02:
        count *= 2
        start = time.perf_counter()
        for _ in range(count):
            call(x)
        spent = time.perf_counter() - start
    return spent / count


def softmax(z: np.ndarray) -> np.ndarray:
    """Probabilities."""
    e = np.exp(np.asarray(z, np.float64) - z.max())
    return e / e.sum()


def glassgrad_handle(model: Any) -> Callable[[np.ndarray], Any]:
    """The prepared call of a model."""
    return model.handle(1)


def numpy_handle(layers: list[Any]) -> Callable[[np.ndarray], Any]:
    """Two products in place."""
    (w1, b1), (w2, b2) = layers
    hidden, out = np.empty((1, len(b1)), np.float32), np.empty((1, len(b2)), np.float32)

    def call(x: np.ndarray) -> np.ndarray:
        np.matmul(x, w1, out=hidden)
        np.add(hidden, b1, out=hidden)
        np.maximum(hidden, 0, out=hidden)
        np.matmul(hidden, w2, out=out)
        return np.add(out, b2, out=out)

    return call


def onnx_handle(layers: list[Any]) -> Callable[[np.ndarray], Any]:
    """A session on one thread."""
    import onnxruntime as ort
    from onnx import TensorProto, helper, numpy_helper

    (w1, b1), (w2, b2) = layers
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "w2", "b2"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, k]) for n, k in (("x", 64), ("y", 10))]
    weights = [numpy_helper.from_array(a, n) for n, a in (("w1", w1), ("b1", b1), ("w2", w2), ("b2", b2))]
    graph = helper.make_graph(nodes, "mlp", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"x": x})[0]


def torch_handle(layers: list[Any]) -> Callable[[np.ndarray], Any]:
    """A module in inference mode."""
    import torch

    torch.set_num_threads(1)
    parts = [torch.nn.Linear(*weight.shape) for weight, _ in layers]
    with torch.no_grad():
        for part, (weight, bias) in zip(parts, layers, strict=True):
            part.weight.copy_(torch.from_numpy(weight.T.copy()))
            part.bias.copy_(torch.from_numpy(bias))
    model = torch.nn.Sequential(parts[0], torch.nn.ReLU(), parts[1]).eval()

    def call(x: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return model(torch.from_numpy(x)).numpy()

    return call


def sklearn_handle(layers: list[Any]) -> Callable[[np.ndarray], Any]:
    """``predict_proba``."""
    from sklearn.neural_network import MLPClassifier

    model = MLPClassifier((64,), random_state=0)
    model.partial_fit(np.zeros((10, 64), np.float32), np.arange(10), classes=np.arange(10))
    for i, (weight, bias) in enumerate(layers):
        model.coefs_[i][...], model.intercepts_[i][...] = weight, bias
    return model.predict_proba


# --- many learning rates ------------------------------------------------------------------------------------

NETWORKS, EPOCHS = 64, 20
TASK = Task((64, 32, 10), 32, 41 * 32, "sgd", "digits")
RATE_VALUES = np.logspace(-3, 0, NETWORKS).astype(np.float32)


def rates(folder: Path, threads: int) -> Runs:
    """All from the same first weights; Glassgrad and JAX also in the same order of rows."""
    random = np.random.default_rng(0)
    order = np.concatenate([random.permutation(TASK.rows) for _ in range(EPOCHS)]).astype(np.int32)
    makers = {OURS: glassgrad_rates, "JAX vmap of scan": jax_rates, "scikit-learn, joblib": sklearn_rates}
    runs: Runs = {}
    losses: dict[str, np.ndarray] = {}
    for name, maker in makers.items():
        start = time.perf_counter()
        try:
            call = maker(order, threads)
        except ImportError as error:
            print(f"skipped: {name} ({error})")
            continue
        losses[name] = np.asarray(call())
        print(f"{name + ', the first time (compiling, starting a pool)':<72}{time.perf_counter() - start:9.2f} s")
        runs[name] = partial(seconds_of, call)
    if OURS in losses and "JAX vmap of scan" in losses:
        ours, theirs = (losses[name][: NETWORKS // 2] for name in (OURS, "JAX vmap of scan"))  # not the wild ones
        off = float(np.abs(ours / theirs - 1).max())
        print(f"largest relative difference of the losses at the end, Glassgrad and JAX: {off:.1e}")
        if not off < 1e-2:
            raise RuntimeError("Glassgrad and JAX trained different networks")
    return runs


def seconds_of(call: Callable[[], Any]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def glassgrad_rates(order: np.ndarray, threads: int) -> Callable[[], Any]:
    """One program, compiled once; 64 calls that differ in a run-time input, handed to ``threads`` threads."""
    from glassgrad.backends.base import Feed
    from glassgrad.backends.native.backend import NativeBackend
    from peers.with_glassgrad import FEATURES, TARGETS, empty_slots, first_weights, optimizer_of, program_of

    optimizer = optimizer_of(TASK)
    program = program_of(TASK, optimizer)
    executable = NativeBackend(threads=1, cached=False).compile(program)
    features, classes, _ = TASK.data()
    data, weights, slots = {FEATURES: features, TARGETS: classes}, first_weights(TASK, program), empty_slots(program)

    def train(rate: float) -> float:
        hyper = optimizer.hyperparameters() | {"learning_rate": rate}
        result = executable.run(Feed(data, order, weights, slots, hyper))
        return float(result.outputs["loss"][-TASK.steps :].mean())

    pool = ThreadPoolExecutor(threads)
    return lambda: list(pool.map(train, map(float, RATE_VALUES)))


def jax_rates(order: np.ndarray, threads: int) -> Callable[[], Any]:
    """All epochs in one scan, mapped over the learning rates, compiled once."""
    import jax
    import jax.numpy as jnp

    from peers.with_jax import one_step

    features, classes, _ = TASK.data()
    X, Y, batches = jnp.asarray(features), jnp.asarray(classes), jnp.asarray(order.reshape(-1, TASK.batch))
    params = [(jnp.asarray(w), jnp.asarray(b)) for w, b in TASK.weights()]

    def train(rate: jax.Array, X: jax.Array, Y: jax.Array, batches: jax.Array) -> jax.Array:
        def body(carry: Any, rows: jax.Array) -> tuple[Any, jax.Array]:
            return one_step(TASK.optimizer, rate, carry, X[rows], Y[rows])

        losses = jax.lax.scan(body, (params, [], jnp.zeros((), jnp.int32)), batches)[1]
        return losses[-TASK.steps :].mean()

    function = jax.jit(jax.vmap(train, in_axes=(0, None, None, None)))
    values = jnp.asarray(RATE_VALUES)
    return lambda: function(values, X, Y, batches).block_until_ready()


def sklearn_rates(order: np.ndarray, threads: int) -> Callable[[], Any]:
    """One fit per learning rate, in ``threads`` processes that joblib keeps alive."""
    from joblib import Parallel, delayed

    features, classes, _ = TASK.data()
    jobs = [delayed(sklearn_fit)(float(rate), features, classes) for rate in RATE_VALUES]
    warnings.filterwarnings("ignore", message="os.fork", category=RuntimeWarning)
    return lambda: Parallel(n_jobs=threads)(jobs)


def sklearn_fit(rate: float, features: np.ndarray, classes: np.ndarray) -> float:
    """The last epoch's mean loss."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    warnings.simplefilter("ignore", ConvergenceWarning)
    model = MLPClassifier(
        TASK.widths[1:-1], solver="sgd", momentum=0.0, nesterovs_momentum=False, alpha=0.0, batch_size=TASK.batch,
        learning_rate_init=rate, max_iter=EPOCHS, tol=0.0, n_iter_no_change=EPOCHS + 1, random_state=0,
    )  # fmt: skip
    return float(model.fit(features, classes).loss_)


# --- the run ------------------------------------------------------------------------------------------------

CASES: dict[str, tuple[Callable[[Path, int], Runs], str, float, str]] = {
    "process": (process, "whole process: digits, 30 epochs, tested and saved", 1e3, "ms"),
    "row": (row, "one row through 64-64-10, one thread", 1e6, "us"),
    "rates": (rates, f"{NETWORKS} networks 64-32-10, {EPOCHS} epochs of digits each", 1e3, "ms"),
}


def measure(runs: Runs, rounds: int) -> dict[str, list[float]]:
    """Seconds by name, in turns; a first turn warms up."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            time.sleep(REST)
            seconds = run()
            if turn:
                times[name].append(seconds)
    return times


def table(times: dict[str, list[float]], scale: float, unit: str, said: dict[str, str]) -> str:
    """One line each, with the ratio to Glassgrad."""
    lines = []
    for name, values in times.items():
        low, middle, high = quartiles([scale * value for value in values])
        ratio = statistics.median(b / a for a, b in zip(times[OURS], values, strict=True))
        spread = f"({number(low)} to {number(high)})"
        lines.append(f"{name:<30}{number(middle):>10} {unit} {spread:<22}{ratio:>8.2f} x  {said.get(name, '')}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default=",".join(CASES), help="some of process,row,rates")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of everything but one row")
    parser.add_argument("--out", type=Path, help="folder for others.json (default: results, for a complete run)")
    options = parser.parse_args()
    chosen = options.only.split(",")
    if unknown := set(chosen) - set(CASES):
        parser.error(f"--only: {sorted(unknown)[0]!r} is not one of {', '.join(CASES)}")
    results: dict[str, Any] = {"machine": machine(), "threads": options.threads, "seconds": {}}
    for name in chosen:
        make, title, scale, unit = CASES[name]
        print(title)
        with tempfile.TemporaryDirectory(prefix="others-") as folder:
            times = measure(make(Path(folder), options.threads), options.rounds)
        print(table(times, scale, unit, getattr(make, "said", {})), end="\n\n", flush=True)
        results["seconds"][name] = times
    out = options.out or (RESULTS if set(chosen) == set(CASES) and options.rounds >= 11 else None)
    if out:
        out.mkdir(parents=True, exist_ok=True)
        (out / "others.json").write_text(json.dumps(results, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
