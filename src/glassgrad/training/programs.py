"""The programs of a network: the training step, and evaluation with or without inner values.

Here the forward pass, the chain rule and the optimizer become one graph.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from glassgrad.autodiff.sweeps import gradient
from glassgrad.common.errors import unknown_name
from glassgrad.common.layer_names import layer_of
from glassgrad.graph.node import DType, Shape, Value, scope
from glassgrad.losses.base import Loss, batch_loss, weighted_mean
from glassgrad.nn.layer import Randomness
from glassgrad.nn.network import INPUT, Network
from glassgrad.ops.elementwise import select
from glassgrad.ops.op import make_input
from glassgrad.ops.structure import convert
from glassgrad.optim.gradients import GradientTransformation
from glassgrad.optim.optimizers import Optimizer
from glassgrad.program import Input, Output, Program, Role
from glassgrad.training.lenses import layer_gradients, lens_probes

FEATURES, TARGETS, WEIGHTS = "features", "targets", "sample_weights"
BACKGROUND = "background"  # the most frequent value of the features, if it is not 0
INSIDE = "inside/"  # the prefix of outputs from inside a network, since a layer may be called "output"


class _InputList:
    """Collects the inputs of a program that is being built."""

    def __init__(self, dtype: DType) -> None:
        self.dtype = dtype
        self.listed: list[Input] = []

    def add(
        self, name: str, role: Role, shape: Shape, dtype: DType | None = None, background: str | None = None
    ) -> Value:
        value = make_input(name, shape, dtype or self.dtype, background)
        self.listed.append(Input(name, role, value))
        return value

    def network(self, network: Network, input_shape: Shape) -> tuple[dict[str, Value], dict[str, Value]]:
        """Add the weights and statistics of a network, and return both by name."""
        weights = {
            name: self.add(name, "param", item.shape) for name, item in network.weights(input_shape).items()
        }
        statistics = {
            name: self.add(name, "state", item.shape)
            for name, item in network.statistics(input_shape).items()
        }
        return weights, statistics


def target_type(batch: int, targets: int | None, dtype: DType) -> tuple[Shape, DType]:
    """Shape and dtype of a batch of targets: class indices (None), or ``targets`` numbers per row."""
    return ((batch,), "int32") if targets is None else ((batch, targets), dtype)


def training_program(
    network: Network,
    input_shape: Shape,
    loss: Loss,
    optimizer: Optimizer,
    *,
    batch: int,
    targets: int | None,
    transformation: GradientTransformation | None = None,
    weighted: bool = False,
    frozen: Collection[str] = (),
    dtype: DType = "float32",
    watch: bool = False,
    background: str | None = None,
) -> Program:
    """One training step: forward pass, loss, backward pass, update.

    The inputs are ``features`` [batch, *input_shape], ``targets``, and with ``weighted`` also ``sample_weights``
    [batch]. The output ``loss`` is the weighted mean over the valid rows. Layers in ``frozen`` are not updated. With
    ``watch`` the program has the lenses as its probes. If most features have one value, ``background`` is ZERO for
    the value 0, or BACKGROUND for a value that is a hyperparameter of that name.
    """
    transformation = transformation or GradientTransformation()
    inputs = _InputList(dtype)
    x = inputs.add(FEATURES, "data", (batch, *input_shape), background=background)
    shape, kind = target_type(batch, targets, dtype)
    t = inputs.add(TARGETS, "data", shape, kind)
    row_mask = inputs.add("row_mask", "row_mask", (batch,), "bool")
    sample_weights = inputs.add(WEIGHTS, "data", (batch,)) if weighted else None
    random = Randomness(
        inputs.add("seed", "seed", (2,), "uint32"),
        inputs.add("step", "step", (), "uint32"),
        inputs.add("row", "row", (batch,), "uint32"),
    )
    weights, statistics = inputs.network(network, input_shape)
    trained = {name: value for name, value in weights.items() if layer_of(name) not in frozen}
    fills = optimizer.slots()
    slots = {
        f"{slot}/{name}": inputs.add(f"{slot}/{name}", "state", value.shape)
        for slot in fills
        for name, value in trained.items()
    }
    hyper = {
        name: inputs.add(name, "hyper", ())
        for name in (*optimizer.hyperparameters(), *transformation.hyperparameters())
    }
    if background == BACKGROUND:
        inputs.add(BACKGROUND, "hyper", ())

    built = network.build(x, weights, statistics, row_mask=row_mask, random=random, frozen=frozen)
    with scope("forward", "loss"):
        if sample_weights is None:
            total = loss.finish(weighted_mean(loss.row_losses(built.output, t), convert(row_mask, dtype)))
        else:  # batch_loss ignores rows of weight 0, whose loss may be infinite
            total = batch_loss(loss, built.output, t, select(row_mask, sample_weights, 0.0))

    def update(gradients: Mapping[str, Value]) -> tuple[dict[str, Value], dict[str, Value]]:
        with scope("update", "gradients"):
            gradients = transformation.apply(gradients, hyper)
        with scope("update", "optimizer"):
            return optimizer.update(gradients, trained, slots, hyper, random.step)

    new_weights, new_slots = update(dict(zip(trained, gradient(total, list(trained.values())), strict=True)))
    updates = new_weights | new_slots | built.state
    probes: tuple[Output, ...] = ()
    if watch:
        by_output, by_weight = layer_gradients(network, built, total, weights)
        updated, _ = update({name: by_weight[name] for name in trained})
        probes = lens_probes(network, built, by_output, by_weight, weights, updated, row_mask)
    program = Program("train", batch, tuple(inputs.listed), updates, (Output("loss", total),), probes)
    return program.cleaned()


def evaluation_program(
    network: Network,
    input_shape: Shape,
    loss: Loss | None,
    *,
    batch: int,
    targets: int | None = None,
    inside: Sequence[str] = (),
    dtype: DType = "float32",
) -> Program:
    """The network in evaluation mode. Per row: ``output``, with ``loss`` also ``row_loss``, and inner values.

    ``inside`` lists names of layers, or of inner values such as ``dense_1.preactivation``. The corresponding output
    is called ``inside/dense_1``. Raises InputError for a name that the network does not have.
    """
    inputs = _InputList(dtype)
    x = inputs.add(FEATURES, "data", (batch, *input_shape))
    row_mask = inputs.add("row_mask", "row_mask", (batch,), "bool")
    weights, statistics = inputs.network(network, input_shape)
    built = network.build(x, weights, statistics, row_mask=row_mask)
    outputs = [Output("output", built.output, per_row=True)]
    if loss is not None:
        shape, kind = target_type(batch, targets, dtype)
        t = inputs.add(TARGETS, "data", shape, kind)
        with scope("forward", "loss"):
            outputs.append(Output("row_loss", loss.row_losses(built.output, t), per_row=True))
    inner_values = readable(built.outputs, built.inner)
    for name in inside:
        if name not in inner_values:
            raise unknown_name("layer or value inside the network", name, inner_values)
        outputs.append(Output(INSIDE + name, inner_values[name], per_row=True))
    return Program("evaluate", batch, tuple(inputs.listed), {}, tuple(outputs)).cleaned()


def readable(outputs: Mapping[str, Value], inner: Mapping[str, Value]) -> dict[str, Value]:
    """The values inside a network by name: the outputs of its layers, and their inner values."""
    return {name: value for name, value in outputs.items() if name != INPUT} | dict(inner)
