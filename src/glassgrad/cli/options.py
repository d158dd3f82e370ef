"""The options that commands share: how each is written, and what is made of it."""

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
    str | None, Option(metavar="NAME", help="The column of a table that is predicted (default: the last).")
]
Task = Annotated[str, Option(help="auto, classification or regression.")]
Layers = Annotated[str, Option(help="Units of the hidden layers; none for no hidden layer.")]
Activation = Annotated[str, Option(help="Activation of the hidden layers.")]
Init = Annotated[str, Option(help="How the weights start.")]
OutputActivation = Annotated[str, Option(help="Activation of the last layer.")]
Loss = Annotated[str, Option(help="What is minimised; auto: cross-entropy or squared error.")]
Optimizer = Annotated[str, Option(help="How gradients become steps.")]
LearningRate = Annotated[
    float,
    Option(help="The size of a step (the largest, if it changes); replaces that of --optimizer."),
]
Momentum = Annotated[
    float | None, Option(help="From 0 up to but not including 1 (default: the optimizer's own).")
]
WeightDecay = Annotated[
    float | None, Option(help="How strongly weights are pulled to 0 (default: the optimizer's own).")
]
ClipNorm = Annotated[float | None, Option(help="Bound on the norm of all gradients together.")]
ClipValue = Annotated[float | None, Option(help="Bound on each element of the gradients.")]
Schedule = Annotated[str, Option(help="How the learning rate changes.")]
Scaling = Annotated[str, Option(help="Of the features: standard or none.")]
NetworkFile = Annotated[Path | None, Option(metavar="FILE", help="A .toml or .json file with all layers.")]
InitFrom = Annotated[str | None, Option(metavar="MODEL", help="A run or model file to take weights from.")]
InitLayers = Annotated[
    str | None, Option(metavar="LAYERS", help="The layers to take from it (default: all).")
]
Freeze = Annotated[
    str, Option(metavar="LAYERS", help="Layers that stay as they are, such as dense_1,dense_2.")
]
Force = Annotated[bool, Option("--force", help="Train combinations that cannot be meant.")]
BatchSize = Annotated[int, Option(help="Rows per step.")]
Watch = Annotated[bool, Option("--watch", help="Look inside while training: gradients, updates, activity.")]
Epochs = Annotated[int, Option(help="How often all rows are seen.")]
Keep = Annotated[str, Option(help="Weights of the best epoch (by validation loss) or the last.")]
Metric = Annotated[
    str, Option(metavar="NAME", help="What --keep best and --patience look at: loss, auc, f1, mae ...")
]
Metrics = Annotated[
    str, Option(metavar="NAMES", help="Further metrics to compute, such as auc,f1 or mae,mape.")
]
Patience = Annotated[
    int | None, Option(metavar="EPOCHS", help="Stop after this many epochs without a better --metric.")
]
MaxTime = Annotated[str | None, Option(metavar="TIME", help="Stop after this time, such as 90s or 10min.")]
Validation = Annotated[float, Option(help="Share of the rows, after the test part is taken.")]
Test = Annotated[float, Option(help="Share of the rows, unless the source brings a test part.")]
Seed = Annotated[int, Option(help="The same seed gives the same weights.")]
Seeds = Annotated[int, Option(help="How many seeds each combination is trained with.")]
BackendName = Annotated[str | None, Option(help="What runs it (default: the fastest there is).")]
DTypeName = Annotated[str, Option(help="float32 or float64.")]
Json = Annotated[bool, Option("--json", help="End with one line of JSON on standard output.")]


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
    """All options that say how a network is trained; ``takes_training`` gives them to a command.

    One without a default here shows that of ``training.defaults``.
    """


def takes_training(*but: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of ``training``, but for ``but``, between its arguments and its own options.

    The command takes them as keywords. One that it declares itself stands in the place of that of the same name.
    """

    def extend(command: Callable[..., None]) -> Callable[..., None]:
        shared = {name: _with_default(item) for name, item in _parameters(training).items()}
        own = {key: item for key, item in _parameters(command).items() if item.kind != item.VAR_KEYWORD}
        first = {key: item for key, item in own.items() if item.default is item.empty}
        every = {key: item for key, item in (first | shared | own).items() if key not in but}
        command.__signature__ = inspect.Signature(list(every.values()))  # type: ignore[attr-defined]
        return command

    return extend


def default_of(name: str) -> Any:
    """The default of the training option ``name``; lists as they are written on the command line."""
    value = DEFAULTS[name]
    return ",".join(map(str, value)) if isinstance(value, tuple) else value


def _parameters(function: Callable[..., None]) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(function, eval_str=True).parameters)


def _with_default(item: inspect.Parameter) -> inspect.Parameter:
    default = default_of(item.name) if item.default is item.empty else item.default
    return item.replace(default=default, kind=item.POSITIONAL_OR_KEYWORD)


def settings_of(context: typer.Context, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """What ``Settings`` takes, from the options of ``training`` that a command got; ``UNSET`` for those not given."""
    options: dict[str, Any] = {
        key: value if is_given(context, key) else UNSET
        for key, value in chosen.items()
        if key not in ("target", "task", "seeds")
    }
    if options["network"] is not UNSET:
        for key in DESCRIBED_BY_FILE:
            if is_given(context, key):
                option = key.replace("_", "-")
                raise InputError(f"--network gives all layers, so --{option} changes nothing; leave one out")
        from glassgrad.cli.networks import read_network

        options["network"] = read_network(options["network"]).to_document()
    for key, read in (("layers", _units), ("freeze", _names), ("init_layers", _names), ("metrics", _names)):
        if options[key] is not UNSET:
            options[key] = read(options[key])
    return options


def is_given(context: typer.Context, key: str) -> bool:
    """Whether the option stands on the command line."""
    source = context.get_parameter_source(key)
    return source is not None and source.name == "COMMANDLINE"


def _units(text: str) -> tuple[int, ...]:
    if text.strip() in ("", "none"):
        return ()
    try:
        return tuple(int(item) for item in text.split(","))
    except ValueError:
        raise InputError(
            f"--layers takes whole numbers such as 64,32 (or none for no hidden layer), not {shown(text)}"
        ) from None


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for item in text.split(",") if (name := item.strip()))
