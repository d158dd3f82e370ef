"""A single input that gives the target away."""

from __future__ import annotations

import math
import time

import numpy as np

from glassgrad.diagnosis.core.evidence import Better, Intervention, Suspicion, Trial
from glassgrad.diagnosis.core.kinds import Kind
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.core.wording import fixed, in_a_trial
from glassgrad.diagnosis.measures.inputs import guess_alone
from glassgrad.diagnosis.neurons.question import NeuronsMeasurement
from glassgrad.training.metrics import rmse

LEAK_OF_CLASSES, LEAK_OF_NUMBERS = 0.9, 0.95
"""A single input that takes away this share of the mistakes, or variance, all by itself, says the target."""

REST = 0.7
"""... if the next best input takes away less than this share of that."""

CHANCE = 1.64
"""Standard errors of a share that chance stays below in 95 of 100 cases, one-sided."""

FEWEST_INPUTS = 3
"""Of two inputs one often says nearly all: points in a plane, cut along an axis."""


def judge(m: NeuronsMeasurement, subject: Subject) -> list[Suspicion]:
    """The input that says most by itself, where it says nearly all and no other one does."""
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
    return [Suspicion(column, evidence, bar, source, strength, text)]


def prescribe(suspicion: Suspicion, m: NeuronsMeasurement, subject: Subject) -> list[Intervention]:
    """The network without the input."""
    return [Intervention({"drop_inputs": [suspicion.where]}, f"Leave {suspicion.where} out.")]


def prove(suspicion: Suspicion, m: NeuronsMeasurement, subject: Subject) -> Trial | None:
    """Of a leak that the network made little of: looked up in this input alone, do unseen targets come out as well?

    ``before`` is the validation score of the network, with all inputs, ``after`` that of the look-up. Confirmed: the
    look-up is no worse, but for chance (one standard error of the rows, 1.64 times: 95 %, one-sided).
    """
    start = time.perf_counter()
    schema, held = subject.task.parts.schema, subject.validation_rows
    count = None if schema.classes is None else len(schema.classes)
    looked_up = guess_alone(subject, suspicion.where, subject.train_rows, held[0], count)
    metrics = subject.run.metrics.get("validation") or subject.run.metrics.get("train", {})
    measure = "rmse" if count is None else "accuracy"
    better: Better = "lower" if count is None else "higher"
    whole, constant, rows = float(metrics.get(measure, math.nan)), subject.constant[measure], len(held[1])
    if count is None:
        alone = rmse(schema.decode_outputs(looked_up), schema.decode_outputs(held[1]))
        gap, won, error = constant - min(whole, alone), whole - alone, whole / math.sqrt(2 * rows)
    else:
        alone = float(np.mean(looked_up == held[1]))
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
        ("of the network", f"of a look-up in {suspicion.where} alone"),
    )


def sentence(suspicion: Suspicion, fix: Intervention | None, trial: Trial) -> str:
    """What the input gives away, and what the network is worth without it."""
    before, after = trial.means
    if trial.effect == "proof":
        return (
            f"{suspicion.sentence} On rows not trained on, a look-up in {suspicion.where} alone has a validation "
            f"{trial.measure} of {after:.3g}, and the network with all inputs one of {before:.3g}."
        )
    if fix is None:
        return fixed(suspicion, fix, trial)
    return f"{suspicion.sentence} {in_a_trial(fix, trial)}, which is nearer to what the network will keep."


KIND = Kind(
    name="target_leak",
    question="neurons",
    meaning="an input gives the target away, so the score promises more than the network will keep",
    judge=judge,
    prescribe=prescribe,
    prove=prove,
    sentence=sentence,
    effect="lowers",
)
