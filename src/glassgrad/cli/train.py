"""``glassgrad train``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from glassgrad.cli import interrupts, output
from glassgrad.common.errors import InputError

if TYPE_CHECKING:
    from glassgrad.training.fit import Run

SOURCE = "digits, an .npz file with arrays X and y, or a folder of MNIST-style idx files."
DIVERGED, STOPPED = 1, 130
DESCRIBED_BY_FILE = ("layers", "activation", "init", "output_activation")


def command(
    context: typer.Context,
    source: Annotated[str, Argument(metavar="SOURCE", help=SOURCE)],
    layers: Annotated[str, Option(help="Units of the hidden layers; none for no hidden layer.")] = "64,32",
    activation: Annotated[str, Option(help="Activation of the hidden layers.")] = "relu",
    init: Annotated[str, Option(help="How the weights start.")] = "he_normal",
    output_activation: Annotated[str, Option(help="Activation of the last layer.")] = "auto",
    loss: Annotated[str, Option(help="What is minimised; auto: cross-entropy or squared error.")] = "auto",
    optimizer: Annotated[str, Option(help="How gradients become steps.")] = "adam",
    learning_rate: Annotated[float, Option(help="The size of a step.")] = 0.001,
    momentum: Annotated[float, Option(help="From 0 up to but not including 1.")] = 0.0,
    weight_decay: Annotated[float, Option(help="How strongly weights are pulled to 0.")] = 0.0,
    clip_norm: Annotated[float | None, Option(help="Bound on the norm of all gradients together.")] = None,
    clip_value: Annotated[float | None, Option(help="Bound on each element of the gradients.")] = None,
    schedule: Annotated[str, Option(help="How the learning rate changes.")] = "constant",
    scaling: Annotated[str, Option(help="Of the features: standard or none.")] = "standard",
    network: Annotated[
        Path | None, Option(metavar="FILE", help="A .toml or .json file with all layers.")
    ] = None,
    init_from: Annotated[
        str | None, Option(metavar="MODEL", help="A run or model file to take weights from.")
    ] = None,
    init_layers: Annotated[
        str | None, Option(metavar="LAYERS", help="The layers to take from it (default: all).")
    ] = None,
    freeze: Annotated[
        str, Option(metavar="LAYERS", help="Layers that stay as they are, such as dense_1,dense_2.")
    ] = "",
    force: Annotated[bool, Option("--force", help="Train combinations that cannot be meant.")] = False,
    batch_size: Annotated[int, Option(help="Rows per step.")] = 32,
    epochs: Annotated[int, Option(help="How often all rows are seen.")] = 30,
    keep: Annotated[str, Option(help="Weights of the best epoch (by validation loss) or the last.")] = "best",
    validation: Annotated[float, Option(help="Share of the rows, after the test part is taken.")] = 0.1,
    test: Annotated[float, Option(help="Share of the rows, unless the source brings a test part.")] = 0.2,
    seed: Annotated[int, Option(help="The same seed gives the same weights.")] = 0,
    backend: Annotated[str | None, Option(help="What runs it (default: the fastest there is).")] = None,
    dtype: Annotated[str, Option(help="float32 or float64.")] = "float32",
    out: Annotated[
        Path | None, Option(metavar="RUN", help="The run folder (default: runs/<name>-<time>).")
    ] = None,
    as_json: Annotated[bool, Option("--json", help="End with one line of JSON on standard output.")] = False,
) -> None:
    """Train a network on SOURCE, and write a run folder: the model, its history and its settings.

    Parts are names (relu, adam, cosine) or names with options (leaky_relu(0.2)); an unknown name lists those
    there are. Ctrl-C, and NaN or Inf, end the run with its last good weights. MODEL is a run folder or a
    .safetensors file.
    """
    from glassgrad.cli.networks import read_network
    from glassgrad.cli.progress import watcher
    from glassgrad.data.sources import load_source
    from glassgrad.files.run_folder import RunFolder
    from glassgrad.training import fit
    from glassgrad.training.settings import make_settings

    options = _options(context)
    if network is not None:
        options["network"] = read_network(network).to_document()
    settings = make_settings(options)
    dataset = load_source(source)
    with RunFolder.create(out, dataset.name) as folder:
        try:
            with watcher() as watch:
                run = fit.train(dataset, settings, progress=watch)
        except InputError as error:
            if network is not None and str(error).startswith(("layer ", "the network ")):
                raise InputError(f"{network}: {error}") from None  # what is wrong is in this file
            raise
        if run.status == "interrupted" and run.epochs == 0:
            raise KeyboardInterrupt
        with interrupts.uninterrupted():
            folder.commit(run.files())
    _tell(run, folder.path, context.obj, as_json)


def _options(context: typer.Context) -> dict[str, Any]:
    """The options of ``Settings``: all parameters of the command but those that are only its own."""
    given = {key: value for key, value in context.params.items() if key not in ("source", "out", "as_json")}
    if given["network"] is not None:
        for key in DESCRIBED_BY_FILE:
            source = context.get_parameter_source(key)
            if source is not None and source.name == "COMMANDLINE":
                option = key.replace("_", "-")
                raise InputError(f"--network gives all layers, so --{option} changes nothing; leave one out")
    given["layers"] = _units(given["layers"])
    given["freeze"] = _names(given["freeze"])
    if given["init_layers"] is not None:
        given["init_layers"] = _names(given["init_layers"])
    if given["backend"] is None:
        del given["backend"]
    return given


def _units(text: str) -> tuple[int, ...]:
    if text.strip() in ("", "none"):
        return ()
    try:
        return tuple(int(item) for item in text.split(","))
    except ValueError:
        raise InputError(
            f"--layers takes whole numbers such as 64,32 (or none for no hidden layer), not {text!r}"
        ) from None


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for item in text.split(",") if (name := item.strip()))


def _tell(run: Run, place: Path, start: float, as_json: bool) -> None:
    """Say what came out of ``run``, which lies in ``place``; leave with an exit code if it did not finish."""
    trouble = None if run.message is None else f"{place}: {run.message}"
    code = {"finished": 0, "diverged": DIVERGED, "interrupted": STOPPED}[run.status]
    if trouble is not None:
        trouble = output.complain(f"error: {trouble}" if run.status == "diverged" else trouble)
    if as_json:
        document = document_of(run, place)
        document["seconds_total"] = time.perf_counter() - start
        output.print_json(document if trouble is None else document | {"error": trouble, "exit_code": code})
    else:
        print(output.metrics_table(run.metrics, run.rows))
        best = "" if run.best_epoch is None else f", weights of epoch {run.best_epoch}"
        count = "1 epoch" if run.epochs == 1 else f"{run.epochs} epochs"
        print(f"{count} of {run.model.parameters:,} parameters on {run.backend}{best}: {place}")
    if code:
        raise typer.Exit(code)


def document_of(run: Run, place: Path) -> dict[str, Any]:
    """What ``--json`` says of a run that lies in ``place``."""
    from glassgrad.files.run_folder import MODEL
    from glassgrad.nn.losses import LOSSES

    return {
        "task": run.model.schema.task,
        "source": run.model.provenance["source"],
        "status": run.status,
        "metrics": run.metrics,
        "rows": run.rows,
        "loss": LOSSES.config(run.model.loss),
        "epochs": run.epochs,
        "best_epoch": run.best_epoch,
        "steps": run.steps,
        "parameters": run.model.parameters,
        "seed": run.settings.seed,
        "backend": run.backend,
        "seconds_training": run.seconds_training,
        "seconds_compiling": run.seconds_compiling,
        "seconds_total": run.seconds_total,
        "model": str(place / MODEL),
        "run": str(place),
    }
