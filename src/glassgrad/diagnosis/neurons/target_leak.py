"""A single input that leaks the target."""

from __future__ import annotations

import math
import time

import numpy as np

from glassgrad.diagnosis.core.evidence import Better, Intervention, Suspicion, Trial
from glassgrad.diagnosis.core.kinds import Kind
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.core.wording import fixed, in_a_trial
from glassgrad.diagnosis.measures.inputs import predict_alone
from glassgrad.diagnosis.neurons.question import NeuronsMeasurement
from glassgrad.training.metrics import rmse

LEAK_OF_CLASSES, LEAK_OF_NUMBERS = 0.9, 0.95
"""A single input that alone removes this share of the baseline's mistakes, or variance, may leak the target."""

REST = 0.7
"""A leak is suspected only if the next best input removes less than this share of what the leak removes."""

CHANCE = 1.64
"""The 95 % quantile of a normal distribution, one-sided, in standard errors."""

FEWEST_INPUTS = 3
"""With only two inputs, one often determines the target: for example points in a plane, split along an axis."""


def judge(m: NeuronsMeasurement, subject: Subject) -> list[Suspicion]:
    """The most informative input, if it nearly determines the target and no other input does."""
    if len(m.inputs.alone) < FEWEST_INPUTS:
        return []
    (column, share), (next_column, next_share) = sorted(m.inputs.alone.items(), key=lambda item: -item[1])[:2]
    threshold = LEAK_OF_CLASSES if m.classification else LEAK_OF_NUMBERS
    if share < threshold or next_share >= REST * share:
        return []
    what = "mistakes" if m.classification else "variance"
    text = (
        f"{column} alone removes {share:.1%} of the baseline's {what}; the next best input, {next_column}, removes "
        f"{next_share:.0%}. Check that {column} is known at the time of a prediction."
    )
    source = "S. Kaufman et al., Leakage in data mining, 2012"
    evidence = {"alone": share, "next_input": next_column, "next_alone": next_share}
    strength = (1 - threshold) / max(1 - share, 1e-3)
    return [Suspicion(column, evidence, threshold, source, strength, text)]


def prescribe(suspicion: Suspicion, m: NeuronsMeasurement, subject: Subject) -> list[Intervention]:
    """The network without the input."""
    return [Intervention({"drop_inputs": [suspicion.where]}, f"Drop the input {suspicion.where}.")]


def prove(suspicion: Suspicion, m: NeuronsMeasurement, subject: Subject) -> Trial | None:
    """Test for a leak that the network does not exploit: does this input alone predict held-out targets as well?

    ``before`` is the validation score of the network with all inputs, ``after`` that of a look-up in this input. The
    trial is confirmed if the look-up is no worse, within 1.64 standard errors of the rows (95 %, one-sided).
    """
    start = time.perf_counter()
    schema, held = subject.task.parts.schema, subject.validation_rows
    count = None if schema.classes is None else len(schema.classes)
    looked_up = predict_alone(subject, suspicion.where, subject.train_rows, held[0], count)
    metrics = subject.run.metrics.get("validation") or subject.run.metrics.get("train", {})
    measure = "rmse" if count is None else "accuracy"
    better: Better = "lower" if count is None else "higher"
    full, constant, rows = float(metrics.get(measure, math.nan)), subject.constant[measure], len(held[1])
    if count is None:
        alone = rmse(schema.decode_outputs(looked_up), schema.decode_outputs(held[1]))
        gap, improvement, error = constant - min(full, alone), full - alone, full / math.sqrt(2 * rows)
    else:
        alone = float(np.mean(looked_up == held[1]))
        p = (full * rows + 1) / (rows + 2)
        gap, improvement, error = max(full, alone) - constant, alone - full, math.sqrt(p * (1 - p) / rows)
    gain, noise = (improvement / gap, CHANCE * error / gap) if gap > 0 else (math.nan, math.nan)
    seconds = time.perf_counter() - start
    seeds = (subject.settings.seed,)
    return Trial(
        seeds,
        measure,
        (full,),
        (alone,),
        gain >= -noise,
        seconds,
        better,
        "proof",
        constant,
        gain,
        noise,
        ("the network with all inputs", f"a look-up in {suspicion.where} alone"),
    )


def sentence(suspicion: Suspicion, fix: Intervention | None, trial: Trial) -> str:
    """The leak, and the score of the network without the input."""
    before, after = trial.means
    if trial.effect == "proof":
        return (
            f"{suspicion.sentence} On validation rows, a look-up in {suspicion.where} alone has a {trial.measure} of "
            f"{after:.3g}; the network with all inputs has {before:.3g}."
        )
    if fix is None:
        return fixed(suspicion, fix, trial)
    return f"{suspicion.sentence} {in_a_trial(fix, trial)}, which is a more honest estimate of its quality in use."


KIND = Kind(
    name="target_leak",
    question="neurons",
    meaning="an input leaks the target, so the score is better than the network will be in use",
    judge=judge,
    prescribe=prescribe,
    prove=prove,
    sentence=sentence,
    effect="lowers",
)
