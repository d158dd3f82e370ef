"""The options that commands share, and their conversion to training settings."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from glassgrad.common.errors import InputError, shown
from glassgrad.common.unset import UNSET
from glassgrad.training.defaults import DEFAULTS

DESCRIBED_BY_FILE = ("layers", "activation", "init", "output_activation")

Source = Annotated[
    str,
    Argument(
        metavar="SOURCE",
        help="digits, a .csv, .tsv or .parquet table, an .npz file with arrays X and y, or a folder of MNIST-style "
        "idx files.",
    ),
]
Target = Annotated[
    str | None, Option(metavar="NAME", help="The column of a table to predict (default: the last).")
]
Task = Annotated[str, Option(help="auto, classification or regression.")]
Layers = Annotated[str, Option(help="Units of the hidden layers; none for no hidden layer.")]
Activation = Annotated[str, Option(help="Activation of the hidden layers.")]
Init = Annotated[str, Option(help="Initializer of the weights.")]
OutputActivation = Annotated[str, Option(help="Activation of the last layer.")]
Loss = Annotated[str, Option(help="Loss function; auto: cross-entropy or squared error.")]
Optimizer = Annotated[str, Option(help="Optimizer, such as adam or sgd.")]
LearningRate = Annotated[
    float,
    Option(help="Learning rate (the largest one, with a schedule); overrides that of --optimizer."),
]
Momentum = Annotated[
    float | None, Option(help="Momentum, at least 0 and below 1 (default: that of the optimizer).")
]
WeightDecay = Annotated[float | None, Option(help="Weight decay (default: that of the optimizer).")]
ClipNorm = Annotated[float | None, Option(help="Upper bound of the norm of all gradients together.")]
ClipValue = Annotated[float | None, Option(help="Upper bound of the magnitude of each gradient element.")]
Schedule = Annotated[str, Option(help="Schedule of the learning rate.")]
Scaling = Annotated[str, Option(help="Scaling of the features: standard or none.")]
NetworkFile = Annotated[Path | None, Option(metavar="FILE", help="A .toml or .json file with all layers.")]
InitFrom = Annotated[
    str | None, Option(metavar="MODEL", help="A run folder or .safetensors file to take weights from.")
]
InitLayers = Annotated[
    str | None, Option(metavar="LAYERS", help="The layers to take from --init-from (default: all).")
]
Freeze = Annotated[
    str, Option(metavar="LAYERS", help="Layers that are not trained, such as dense_1,dense_2.")
]
Force = Annotated[bool, Option("--force", help="Allow invalid combinations of loss and activation.")]
BatchSize = Annotated[int, Option(help="Rows per step.")]
Watch = Annotated[bool, Option("--watch", help="Record gradients, updates and activity of each layer.")]
Epochs = Annotated[int, Option(help="Number of passes over the training rows.")]
Keep = Annotated[str, Option(help="Which weights to keep: best (by --metric) or last.")]
Metric = Annotated[
    str, Option(metavar="NAME", help="Metric of --keep best and --patience: loss, auc, f1, mae ...")
]
Metrics = Annotated[str, Option(metavar="NAMES", help="Further metrics, such as auc,f1 or mae,mape.")]
Patience = Annotated[
    int | None, Option(metavar="EPOCHS", help="Stop after this many epochs without a better --metric.")
]
MaxTime = Annotated[str | None, Option(metavar="TIME", help="Stop after this time, such as 90s or 10min.")]
Validation = Annotated[
    float, Option(help="Fraction of the rows for validation, after the test rows are taken.")
]
Test = Annotated[float, Option(help="Fraction of the rows for the test, if SOURCE has no test part.")]
Seed = Annotated[int, Option(help="Random seed. The same seed gives the same weights.")]
Seeds = Annotated[int, Option(help="Number of seeds per combination.")]
BackendName = Annotated[
    str | None, Option(help="native, xla or reference (default: the fastest one available).")
]
DTypeName = Annotated[str, Option(help="Data type of the weights: float32 or float64.")]
Json = Annotated[
    bool, Option("--json", help="Write the results as one line of JSON, the last of the output.")
]


def training(
    *,
    target: Target = None,
    task: Task = "auto",
    layers: Layers,
    activation: Activation,
    init: Init,
    output_activation: OutputActivation,
    loss: Loss,
    optimizer: Optimizer,
    learning_rate: LearningRate,
    momentum: Momentum = None,
    weight_decay: WeightDecay = None,
    clip_norm: ClipNorm,
    clip_value: ClipValue,
    schedule: Schedule,
    scaling: Scaling,
    network: NetworkFile,
    init_from: InitFrom,
    init_layers: InitLayers,
    freeze: Freeze,
    force: Force,
    batch_size: BatchSize,
    epochs: Epochs,
    keep: Keep,
    metric: Metric,
    metrics: Metrics,
    patience: Patience,
    max_time: MaxTime,
    validation: Validation,
    test: Test,
    seed: Seed,
    seeds: Seeds = 3,
    backend: BackendName = None,
    dtype: DTypeName,
    watch: Watch,
) -> None:
    """All training options. The decorator ``takes_training`` adds them to a command.

    The default of an option without one here is in ``training.defaults``.
    """


def takes_training(*excluded: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the options of ``training``, except those in ``excluded``, to a command.

    They come after the command's arguments and before its own options, and are passed to it as keyword arguments.
    An option that the command itself declares replaces the shared option of the same name.
    """

    def extend(command: Callable[..., None]) -> Callable[..., None]:
        shared = {name: _with_default(item) for name, item in _parameters(training).items()}
        declared = {key: item for key, item in _parameters(command).items() if item.kind != item.VAR_KEYWORD}
        arguments = {key: item for key, item in declared.items() if item.default is item.empty}
        merged = {key: item for key, item in (arguments | shared | declared).items() if key not in excluded}
        command.__signature__ = inspect.Signature(list(merged.values()))  # type: ignore[attr-defined]
        return command

    return extend


def default_of(name: str) -> Any:
    """The default of the training option ``name``; a list in the form of the command line (``64,32``)."""
    value = DEFAULTS[name]
    return ",".join(map(str, value)) if isinstance(value, tuple) else value


def _parameters(function: Callable[..., None]) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(function, eval_str=True).parameters)


def _with_default(item: inspect.Parameter) -> inspect.Parameter:
    default = default_of(item.name) if item.default is item.empty else item.default
    return item.replace(default=default, kind=item.POSITIONAL_OR_KEYWORD)


def settings_of(context: typer.Context, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of ``Settings``, from a command's training options ``chosen``; ``UNSET`` for options not given.

    Raises InputError for an option that cannot be read, and for one that has no effect beside ``--network``.
    """
    options: dict[str, Any] = {
        key: value if is_given(context, key) else UNSET
        for key, value in chosen.items()
        if key not in ("target", "task", "seeds")
    }
    if options["network"] is not UNSET:
        for key in DESCRIBED_BY_FILE:
            if is_given(context, key):
                option = key.replace("_", "-")
                raise InputError(
                    f"--{option} has no effect with --network, whose file describes all layers; leave one out"
                )
        from glassgrad.cli.networks import read_network

        options["network"] = read_network(options["network"]).to_document()
    for key, read in (("layers", _units), ("freeze", _names), ("init_layers", _names), ("metrics", _names)):
        if options[key] is not UNSET:
            options[key] = read(options[key])
    return options


def is_given(context: typer.Context, key: str) -> bool:
    """Whether the option ``key`` was given on the command line."""
    source = context.get_parameter_source(key)
    return source is not None and source.name == "COMMANDLINE"


def _units(text: str) -> tuple[int, ...]:
    if text.strip() in ("", "none"):
        return ()
    try:
        return tuple(int(item) for item in text.split(","))
    except ValueError:
        raise InputError(
            f"--layers must be whole numbers such as 64,32, or none for no hidden layer, not {shown(text)}"
        ) from None


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for item in text.split(",") if (name := item.strip()))
