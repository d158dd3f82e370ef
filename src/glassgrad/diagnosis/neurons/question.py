"""Are the neurons alive, and are their inputs right? What they do on training rows, what inputs hold."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from glassgrad.common.errors import GraphError, InputError
from glassgrad.common.frozen import frozen
from glassgrad.diagnosis.core.findings import Better, Change, Fault, Trial
from glassgrad.diagnosis.core.other_networks import relaid
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.measures.activity import LayerActivity, activities
from glassgrad.diagnosis.measures.inputs import Inputs, guess_alone, look_at_inputs
from glassgrad.nn.activations import Identity
from glassgrad.nn.images import Conv2D, MaxPool2D
from glassgrad.nn.layers import Dense, Embedding, Multiply, Recurrent
from glassgrad.nn.network import INPUT, Network, Step, activation_of

DEAD = 0.3
"""A share of dead units that is suspected. With usual settings up to a fifth die (L. Lu et al., Dying ReLU and
initialization, 2019, derive what makes all of them)."""

SATURATED = 0.5
"""Half of all values at the flat ends (X. Glorot and Y. Bengio, Understanding the difficulty of training deep
feedforward neural networks, 2010, show what that does)."""

COPIES = 0.3
"""A share of units that are copies of others; there are none after a random start."""

UNSCALED = 10.0
"""Inputs whose sizes differ by this factor make the curvature differ by its square (Y. LeCun et al., Efficient
backprop, 1998, 4.3)."""

LARGE, SMALL = 4.0, 0.1
"""Inputs of a root mean square beyond these, where about 1 is what initializers are made for."""

LEAK_OF_CLASSES, LEAK_OF_NUMBERS = 0.9, 0.95
"""A single input that takes away this share of the mistakes, or variance, all by itself, says the target."""

REST = 0.7
"""... if the next best input takes away less than this share of that."""

CHANCE = 1.64
"""Standard errors of a share that chance stays below in 95 of 100 cases, one-sided."""

FEWEST_INPUTS = 3
"""Of two inputs one often says nearly all: points in a plane, cut along an axis."""


@frozen
class NeuronsMeasurement:
    """What was measured of neurons (``layers``) and ``inputs``; ``linear`` names layers that run into the next one
    without an activation between. ``left`` is what the network leaves of the constant predictor's mistakes or
    variance, on training and validation rows."""

    layers: tuple[LayerActivity, ...]
    inputs: Inputs
    linear: tuple[str, ...]
    classification: bool
    left: tuple[float, float]

    @property
    def hidden(self) -> tuple[LayerActivity, ...]:
        """All but the output."""
        return tuple(layer for layer in self.layers if layer.hidden)

    def document(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "layers": [layer.document() for layer in self.layers],
            "inputs": self.inputs.document(),
            "without_activation": list(self.linear),
        }


def measure(subject: Subject) -> NeuronsMeasurement:
    """On up to 512 training rows."""
    layers = activities(subject.run.model, subject.start, subject.probe[0])
    linear = linear_layers(subject.network)
    return NeuronsMeasurement(layers, look_at_inputs(subject), linear, subject.classification, subject.left)


def linear_layers(network: Network) -> tuple[str, ...]:
    """Layers with weights whose outputs reach another such layer without anything that bends them."""
    source: dict[str, list[str]] = {INPUT: []}
    found: list[str] = []
    for step in network.steps:
        bent = not isinstance(activation_of(step.layer), Identity)
        bent = bent or isinstance(step.layer, MaxPool2D | Multiply | Embedding | Recurrent)
        before = [name for given in step.inputs for name in source[given]]
        own = isinstance(step.layer, Dense | Conv2D | Recurrent)
        if own:
            found += before
        source[step.name] = [] if bent else [step.name] if own else before
    return tuple(dict.fromkeys(found))


# --- judging -------------------------------------------------------------------------------------------------


def judge(measurement: NeuronsMeasurement, subject: Subject) -> list[Fault]:
    """What may be wrong with neurons and inputs."""
    m = measurement
    return [*_neuron_faults(m), *_linear(m), *_scaling(m, subject), *_leak(m), *_useless(m)]


def _neuron_faults(m: NeuronsMeasurement) -> list[Fault]:
    found = []
    for layer in m.hidden:
        share = layer.dead / max(layer.units, 1)
        bounded = layer.activation in ("tanh", "sigmoid")
        evidence = {
            "units": layer.units,
            "dead": layer.dead,
            "dead_at_start": layer.dead_at_start,
            "saturated": layer.saturated,
            "copies": layer.copies,
            "effective_rank": layer.rank,
        }
        if share >= DEAD and not bounded:
            text = f"In {layer.name} {layer.dead} of {layer.units} neurons are active on no training row"
            if layer.dead_at_start:
                text += f"; {layer.dead_at_start} were so from the start"
            source = "share of neurons that pass no gradient on for any row"
            found.append(Fault("dead_neurons", layer.name, evidence, DEAD, source, share / DEAD, text + "."))
        if bounded and layer.saturated >= SATURATED:
            text = (
                f"The neurons of {layer.name} sit at the flat ends of {layer.activation} in {layer.saturated:.0%} of "
                "cases, where hardly any gradient passes."
            )
            source = "share of values where the slope is below a tenth of the steepest"
            strength = layer.saturated / SATURATED
            found.append(Fault("saturated_neurons", layer.name, evidence, SATURATED, source, strength, text))
        if layer.units > 1 and layer.copies / layer.units >= COPIES:
            text = f"In {layer.name} {layer.copies} of {layer.units} neurons compute the same as another one."
            source = "outputs equal up to rounding"
            strength = layer.copies / layer.units / COPIES
            found.append(Fault("duplicate_neurons", layer.name, evidence, COPIES, source, strength, text))
    return _strongest(found)


def _strongest(faults: list[Fault]) -> list[Fault]:
    """One fault of a kind, where it is strongest: the same cure is for all layers."""
    best: dict[str, Fault] = {}
    for fault in faults:
        if fault.kind not in best or fault.strength > best[fault.kind].strength:
            best[fault.kind] = fault
    return list(best.values())


def _linear(m: NeuronsMeasurement) -> list[Fault]:
    if not m.linear:
        return []
    named = " and ".join(m.linear[:3])
    text = (
        f"Between {named} and the next layer there is no activation, so together they do no more than a "
        f"single layer."
    )
    source = "a product of matrices is a matrix"
    evidence = {"layers": list(m.linear), "left_training": m.left[0], "left_validation": m.left[1]}
    return [Fault("missing_nonlinearity", named, evidence, None, source, 10.0 + len(m.linear), text)]


def _scaling(m: NeuronsMeasurement, subject: Subject) -> list[Fault]:
    inputs = m.inputs
    looked_up = any(isinstance(s.layer, Embedding) and INPUT in s.inputs for s in subject.network.steps)
    if inputs.scaling != "none" or looked_up or not len(inputs.sizes):
        return []
    size = float(np.sqrt(np.mean(inputs.sizes**2)))
    images = len(subject.task.parts.schema.feature_shape) > 1
    strength = max(0.0 if images else inputs.ratio / UNSCALED, size / LARGE, SMALL / max(size, 1e-30))
    if strength < 1:
        return []
    least, most = (
        int(np.argmin(np.where(inputs.spreads > 0, inputs.sizes, np.inf))),
        int(np.argmax(inputs.sizes)),
    )
    text = (
        f"Inputs come as they are: {inputs.names[most]} is {inputs.sizes[most]:.3g} in size, and "
        f"{inputs.names[least]} "
        f"{inputs.sizes[least]:.3g}."
    )
    evidence = {"size": size, "largest": float(inputs.sizes[most]), "smallest": float(inputs.sizes[least])}
    source = "Y. LeCun et al., Efficient backprop, 1998, 4.3"
    return [Fault("unscaled_inputs", "", evidence, UNSCALED, source, strength, text)]


def _leak(m: NeuronsMeasurement) -> list[Fault]:
    if len(m.inputs.alone) < FEWEST_INPUTS:
        return []
    (column, share), (next_one, other) = sorted(m.inputs.alone.items(), key=lambda item: -item[1])[:2]
    bar = LEAK_OF_CLASSES if m.classification else LEAK_OF_NUMBERS
    if share < bar or other >= REST * share:
        return []
    what = "mistakes" if m.classification else "variance"
    text = (
        f"{column} alone takes away {share:.1%} of the {what} of a constant guess; the next best input, {next_one}, "
        f"{other:.0%}. It may not be known when a prediction is wanted."
    )
    source = "S. Kaufman et al., Leakage in data mining, 2012"
    evidence = {"alone": share, "next_input": next_one, "next_alone": other}
    strength = (1 - bar) / max(1 - share, 1e-3)
    return [Fault("target_leak", column, evidence, bar, source, strength, text)]


def _useless(m: NeuronsMeasurement) -> list[Fault]:
    found = []
    evidence: dict[str, Any]
    if m.inputs.constant:
        named = ", ".join(m.inputs.constant[:4]) + (" ..." if len(m.inputs.constant) > 4 else "")
        text = f"The same in every training row: {named}."
        evidence = {"columns": list(m.inputs.constant)}
        found.append(
            Fault("constant_feature", named, evidence, 0.0, "range over the training rows", 1.0, text)
        )
    if m.inputs.repeated:
        named = ", ".join(pair[1] for pair in m.inputs.repeated[:4])
        text = f"{m.inputs.repeated[0][1]} says the same as {m.inputs.repeated[0][0]}."
        evidence = {"pairs": [list(pair) for pair in m.inputs.repeated]}
        source = "correlation 1 or -1, up to rounding"
        found.append(Fault("duplicate_feature", named, evidence, 1.0, source, 1.0, text))
    return found


# --- prescribing ---------------------------------------------------------------------------------------------


def prescribe(fault: Fault, measurement: NeuronsMeasurement, subject: Subject) -> list[Change]:
    """The most promising changes first."""
    try:
        return _changes(fault, measurement, subject)
    except (InputError, GraphError):
        return []


def _changes(fault: Fault, m: NeuronsMeasurement, subject: Subject) -> list[Change]:
    rate = subject.settings.made.hyperparameters()["learning_rate"]
    match fault.kind:
        case "dead_neurons":
            return [
                *_fresh(fault.where, m, subject),
                Change(
                    {"activation": "leaky_relu"},
                    "Use leaky_relu, which passes some gradient on at any value.",
                ),
                Change({"learning_rate": rate / 10}, f"Set the learning rate to {rate / 10:.3g}."),
            ]
        case "saturated_neurons":
            raw = subject.settings.scaling == "none"
            standard = [Change({"scaling": "standard"}, "Standardize the inputs.")] if raw else []
            return [
                *_fresh(fault.where, m, subject),
                *standard,
                Change({"activation": "relu", "init": "he_normal"}, "Use relu, which has one flat end only."),
                Change({"init": "xavier_normal"}, "Use the initializer xavier_normal."),
            ]
        case "duplicate_neurons":
            start = "xavier_normal" if _bounded(subject) else "he_normal"
            return [Change({"init": start}, f"Let the weights begin at random numbers ({start}).")]
        case "missing_nonlinearity":
            return _bent(m, subject)
        case "unscaled_inputs":
            scaled = {"scaling": "standard"}
            text = "Standardize the inputs: mean 0 and standard deviation 1."
            calm = " Cut gradients to a norm of 1 (clip_norm), for the few inputs that stay far out."
            return [Change(scaled, text), Change({**scaled, "clip_norm": 1.0}, text + calm)]
        case "target_leak":
            return [Change({"drop_inputs": [fault.where]}, f"Leave {fault.where} out.")]
        case "constant_feature":
            columns = list(m.inputs.constant)
            return [Change({"drop_inputs": columns}, f"Leave {', '.join(columns[:4])} out.")]
        case "duplicate_feature":
            columns = list(dict.fromkeys(pair[1] for pair in m.inputs.repeated))
            return [Change({"drop_inputs": columns}, f"Leave {', '.join(columns[:4])} out.")]
    return []


def _bounded(subject: Subject) -> bool:
    return any(activation_of(step.layer).name in ("tanh", "sigmoid") for step in subject.network.steps)


def _fresh(where: str, m: NeuronsMeasurement, subject: Subject) -> list[Change]:
    """Neurons that were off from the start: biases at zero, and weights of the usual size."""
    start = "xavier_normal" if _bounded(subject) else "he_normal"
    if subject.settings.network is None:
        return []
    wanted = {
        step.name: {"bias_init": "zeros", "init": start} for step in subject.network.steps if _starts(step)
    }
    options = relaid(subject.network, wanted)
    if options is None:
        return []
    return [Change(options, f"Let all biases begin at zero, and the weights at random numbers ({start}).")]


def _starts(step: Step) -> bool:
    return isinstance(step.layer, Dense | Conv2D)


def _bent(m: NeuronsMeasurement, subject: Subject) -> list[Change]:
    if subject.settings.network is None:
        return [Change({"activation": "relu"}, "Use the activation relu in the hidden layers.")]
    options = relaid(subject.network, {name: {"activation": "relu"} for name in m.linear})
    return (
        []
        if options is None
        else [Change(options, f"Use the activation relu in {' and '.join(m.linear[:3])}.")]
    )


def prove(fault: Fault, measurement: NeuronsMeasurement, subject: Subject) -> Trial | None:
    """Of a leak that the network made little of: looked up in this input alone, do unseen targets come out as well?

    ``before`` is the validation score of the network, with all inputs, ``after`` that of the look-up. Confirmed: the
    look-up is no worse, but for chance (one standard error of the rows, 1.64 times: 95 %, one-sided).
    """
    start = time.perf_counter()
    schema, held = subject.task.parts.schema, subject.validation_rows
    count = None if schema.classes is None else len(schema.classes)
    said = guess_alone(subject, fault.where, subject.train_rows, held[0], count)
    metrics = subject.run.metrics.get("validation") or subject.run.metrics.get("train", {})
    measure = "rmse" if count is None else "accuracy"
    better: Better = "lower" if count is None else "higher"
    whole, constant, rows = float(metrics.get(measure, math.nan)), subject.constant[measure], len(held[1])
    if count is None:
        off = schema.decode_outputs(said) - schema.decode_outputs(held[1])
        alone = float(np.sqrt(np.mean(off**2)))
        gap, won, error = constant - min(whole, alone), whole - alone, whole / math.sqrt(2 * rows)
    else:
        alone = float(np.mean(said == held[1]))
        p = (whole * rows + 1) / (rows + 2)
        gap, won, error = max(whole, alone) - constant, alone - whole, math.sqrt(p * (1 - p) / rows)
    gain, noise = (won / gap, CHANCE * error / gap) if gap > 0 else (math.nan, math.nan)
    seconds = time.perf_counter() - start
    seeds = (subject.settings.seed,)
    return Trial(
        seeds,
        measure,
        (whole,),
        (alone,),
        gain >= -noise,
        seconds,
        better,
        "proof",
        constant,
        gain,
        noise,
        ("of the network", f"of a look-up in {fault.where} alone"),
    )


# --- the answer ----------------------------------------------------------------------------------------------


def sentence(measurement: NeuronsMeasurement, faults: Sequence[Fault]) -> str:
    """The answer for a beginner."""
    m = measurement
    confirmed = [fault for fault in faults if fault.verdict == "fault"]
    if confirmed:
        first = confirmed[0]
        if first.prescription is None or first.trial is None:
            return first.sentence
        before, after = first.trial.means
        if first.trial.effect == "proof":
            named = first.trial.measure
            return (
                f"{first.sentence} On rows not trained on, a look-up in {first.where} alone has a validation {named} "
                f"of {after:.3g}, and the network with all inputs one of {before:.3g}."
            )
        was = f"from {before:.3g}" if math.isfinite(before) else "from a training that broke off"
        named = first.trial.measure.replace("_", " ")
        cure = first.prescription.sentence.rstrip(".")
        cure += f": in trial that took the validation {named} {was} to {after:.3g}"
        if first.kind == "target_leak":
            cure += ", which is nearer to what the network will keep"
        return f"{first.sentence} {cure}."
    hidden = m.hidden
    if not hidden:
        return "The network has no hidden neurons: every output looks at the inputs themselves."
    units, dead = sum(layer.units for layer in hidden), sum(layer.dead for layer in hidden)
    text = f"Of {units:,} hidden neurons {units - dead:,} are alive on the training rows"
    least = min(
        hidden, key=lambda layer: layer.rank / max(layer.units, 1) if math.isfinite(layer.rank) else math.inf
    )
    if math.isfinite(least.rank):
        text += f"; the {least.units} of {least.name} say about as much as {least.rank:.0f} independent ones"
    if m.inputs.alone:
        column, share = max(m.inputs.alone.items(), key=lambda item: item[1])
        text += f". The input that says most by itself is {column}: it takes away {share:.0%} of what a "
        text += "constant guess leaves"
    return text + "."
