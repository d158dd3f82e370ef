"""One-row prediction with 64-64-10: the same trained weights in every library, prepared as an expert would."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

OURS = "Glassgrad"


def row(folder: Path, threads: int) -> dict[str, Callable[[], float]]:
    """The timed jobs by name. All libraries get the same trained weights.

    Raises RuntimeError if a library predicts other probabilities.
    """
    import glassgrad as gg

    digits = gg.load_source("digits")
    data = gg.from_arrays(digits.features.reshape(-1, 64), digits.targets)
    model = gg.train(data, layers=[64], epochs=3, scaling="none", seed=0).model
    w1, b1, w2, b2 = model.weights.values()
    layers = [(w1, b1), (w2, b2)]
    x = np.ascontiguousarray(data.features[:1], np.float32)
    makers: dict[str, Callable[[], Callable[[np.ndarray], Any]]] = {
        OURS: lambda: model.handle(1),
        "NumPy by hand": lambda: numpy_handle(layers),
        "ONNX Runtime": lambda: onnx_handle(layers),
        "PyTorch": lambda: torch_handle(layers),
        "scikit-learn": lambda: sklearn_handle(layers),
    }
    runs: dict[str, Callable[[], float]] = {}
    expected = softmax(numpy_handle(layers)(x))
    for name, maker in makers.items():
        try:
            call = maker()
        except ImportError as error:
            print(f"skipped: {name} ({error})")
            continue
        output = np.asarray(call(x), np.float64)
        probabilities = output if name == "scikit-learn" else softmax(output)
        difference = np.abs(probabilities - expected).max()
        if difference > 1e-5:
            raise RuntimeError(f"{name}: its probabilities are off by {difference:.1e}")
        runs[name] = partial(seconds_per_call, call, x)
    return runs


def seconds_per_call(call: Callable[[np.ndarray], Any], x: np.ndarray) -> float:
    """Seconds per call, over enough calls to take 20 ms."""
    count, elapsed = 50, 0.0
    while elapsed < 0.02:
        count *= 2
        start = time.perf_counter()
        for _ in range(count):
            call(x)
        elapsed = time.perf_counter() - start
    return elapsed / count


def softmax(z: np.ndarray) -> np.ndarray:
    """The probabilities of the logits ``z`` of one row."""
    e = np.exp(np.asarray(z, np.float64) - z.max())
    return e / e.sum()


def numpy_handle(layers: list[Any]) -> Callable[[np.ndarray], Any]:
    """Two matrix products into preallocated arrays."""
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
    """An inference session on one thread."""
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
