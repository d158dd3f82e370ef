"""Glassgrad: neural-network training that you can see through, and that is fast because of it.

Five lines::

    import glassgrad as gg

    run = gg.train("digits", layers=[64, 32], epochs=30, seed=0)
    print(run.metrics["test"]["accuracy"])
    run.model.predict(gg.load_source("digits").features[:5])
    run.save("my-run")

Every public name is listed in ``__all__`` and loaded when it is first used (PEP 562), so that importing
Glassgrad costs next to nothing.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "glassgrad.autodiff.sweeps": ("gradient", "hessian_vector_product", "jvp", "vjp"),
    "glassgrad.training.check": ("check_derivative",),
    "glassgrad.backends.native.driver.inspect": ("inspect",),
    "glassgrad.common.errors": ("GlassgradError", "GraphError", "InputError"),
    "glassgrad.common.version": ("__version__",),
    "glassgrad.data.dataset": ("Dataset", "from_arrays", "from_table"),
    "glassgrad.data.sources": ("load_source",),
    "glassgrad.explain.explain": ("explain_derivative",),
    "glassgrad.diagnosis.diagnose": ("diagnose",),
    "glassgrad.diagnosis.core.findings": ("Diagnosis",),
    "glassgrad.graph.node": ("Graph", "Node", "Type", "Value"),
    "glassgrad.graph.printer": ("format_graph",),
    "glassgrad.nn.activations": ("Activation",),
    "glassgrad.nn.images": ("AveragePool2D", "Conv2D", "GlobalAveragePool2D", "MaxPool2D"),
    "glassgrad.nn.initializers": ("Initializer",),
    "glassgrad.nn.layer": ("Building", "Layer", "Statistic", "Weight"),
    "glassgrad.nn.layers": (
        "Activate",
        "Add",
        "BatchNorm",
        "Concatenate",
        "Dense",
        "Dropout",
        "Embedding",
        "Flatten",
        "LayerNorm",
        "Multiply",
        "Recurrent",
        "Reshape",
    ),
    "glassgrad.nn.loss": ("Loss",),
    "glassgrad.nn.network": ("Input", "Network", "Sequential", "functional"),
    "glassgrad.ops.op": ("Context", "Op"),
    "glassgrad.optim.optimizers": ("Optimizer",),
    "glassgrad.optim.schedules": ("Schedule",),
    "glassgrad.program": ("Program",),
    "glassgrad.training.callbacks": ("AveragedModel", "Callback", "EarlyStopping", "MaxTime"),
    "glassgrad.training.own_step": ("CompiledStep", "StepInputs", "compile_step"),
    "glassgrad.training.run": ("Progress", "Run"),
    "glassgrad.training.train": ("train",),
    "glassgrad.training.trainer": ("Trainer",),
    "glassgrad.training.lenses": ("Lenses", "read_lenses"),
    "glassgrad.training.many": ("train_many",),
    "glassgrad.training.model": ("Model", "load_model"),
    "glassgrad.training.perceptron": ("Perceptron",),
    "glassgrad.training.register": ("register",),
    "glassgrad.training.replay": ("replay",),
    "glassgrad.training.settings": ("Settings",),
    "glassgrad.ops.table": (
        "absolute",
        "add",
        "argmax",
        "average_pool2d",
        "broadcast",
        "broadcast_to",
        "concatenate",
        "constant",
        "conv2d",
        "convert",
        "cos",
        "cumsum",
        "custom_op",
        "divide",
        "equal",
        "erf",
        "exp",
        "expm1",
        "floor",
        "gather_rows",
        "greater",
        "greater_equal",
        "iota",
        "is_finite",
        "less",
        "less_equal",
        "log",
        "log1p",
        "log_softmax",
        "logical_and",
        "logical_not",
        "logical_or",
        "logsumexp",
        "make_input",
        "matmul",
        "max_pool2d",
        "maximum",
        "minimum",
        "multiply",
        "negate",
        "one_hot",
        "pad",
        "power",
        "random_bits",
        "random_mask",
        "random_normal",
        "random_uniform",
        "reduce_max",
        "reduce_mean",
        "reduce_min",
        "reduce_sum",
        "reshape",
        "reverse",
        "scan",
        "scatter_add_rows",
        "select",
        "sigmoid",
        "sign",
        "sin",
        "slice_axis",
        "slice_of",
        "softmax",
        "sqrt",
        "stop_gradient",
        "subtract",
        "tanh",
        "top_k",
        "transpose",
        "zeros_like",
    ),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

_GIVE_RUNS = tuple(
    f"glassgrad.training.{module}" for module in ("many", "perceptron", "replay", "run", "train", "trainer")
)

__all__ = sorted(_HOME_OF)  # noqa: PLE0605 - built from the table above


def __getattr__(name: str) -> Any:
    """Load a public name from its home."""
    if name not in _HOME_OF:
        raise AttributeError(f"module 'glassgrad' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    if _HOME_OF[name] in _GIVE_RUNS:
        import_module("glassgrad.training.run").Run.diagnose_run = staticmethod(_diagnose)
    globals()[name] = value
    return value


def _diagnose(run: Any, **options: Any) -> Any:
    """What ``Run.diagnose`` calls; the diagnosis is loaded when it is first asked for."""
    return import_module("glassgrad.diagnosis.diagnose").diagnose(run, **options)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
