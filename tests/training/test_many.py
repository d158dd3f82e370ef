"""``train_many``: the bits of single runs, one compilation per program, errors and Ctrl-C."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
import pytest

import glassgrad as gg
from glassgrad.backends.native.backend import NativeBackend
from glassgrad.backends.reference import ReferenceBackend
from glassgrad.common import workers
from glassgrad.training import many, task
from training.small import blobs, same_bits, surface

VARIANTS = [
    {"learning_rate": 0.01},
    {"learning_rate": 0.3, "seed": 7},
    {"init": "xavier_uniform", "schedule": "cosine"},
    {"optimizer": "adam(beta1=0.5)", "seed": 3, "keep": "last"},
    {"optimizer": "sgd(momentum=0.9)", "clip_norm": 0.5},
    {"optimizer": "sgd(momentum=0.5)", "clip_norm": 2.0, "schedule": "reduce_on_plateau(0.5, 1)"},
]
PROGRAMS = 2  # adam; sgd with momentum and a bound on the norm
PARTS = 3  # of different sizes
SMALL = {"layers": [6], "epochs": 4, "batch_size": 16, "schedule": "constant"}


@pytest.fixture
def compilations(monkeypatch):
    """The names of the programs compiled, in order."""
    found = []
    one, several = ReferenceBackend.compile, NativeBackend.compile_all

    def counted_one(self, program):
        found.append(program.name)
        return one(self, program)

    def counted_several(self, programs):
        programs = list(programs)
        found.extend(program.name for program in programs)
        return several(self, programs)

    monkeypatch.setattr(ReferenceBackend, "compile", counted_one)
    monkeypatch.setattr(NativeBackend, "compile_all", counted_several)
    return found


def same(a, b):
    """Whether two runs came to the same, to the bit."""
    told = [
        (r.history, r.metrics, r.status, r.message, r.epochs, r.best_epoch, r.steps, r.rows) for r in (a, b)
    ]
    weights = same_bits(a.model.weights, b.model.weights)
    return weights and same_bits(a.model.statistics, b.model.statistics) and told[0] == told[1]


# --- the same as alone -------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["reference", "native"])
@pytest.mark.parametrize("threads", [1, 4])
def test_every_run_has_the_bits_of_the_run_alone(backend, threads):
    common = SMALL | {"backend": backend}
    runs = gg.train_many(blobs(), VARIANTS, threads=threads, **common)
    assert len(runs) == len(VARIANTS)
    for variant, run in zip(VARIANTS, runs, strict=True):
        assert same(run, gg.train(blobs(), **{**common, **variant}))


def test_sample_weights_reach_every_run():
    data, weights = blobs(), np.tile([1.0, 2.0, 0.5], 30)
    options = SMALL | {"sample_weight": weights, "class_weight": "balanced", "validation": 0}
    runs = gg.train_many(data, [{"seed": 1}, {"seed": 2}], **options)
    for seed, run in zip((1, 2), runs, strict=True):
        assert same(run, gg.train(data, seed=seed, **options))


def test_a_run_of_train_many_predicts_and_is_saved(tmp_path):
    data = blobs()
    run = gg.train_many(data, [{"seed": 1}, {"seed": 2}], **SMALL)[1]
    run.save(tmp_path / "run")
    assert (gg.load_model(tmp_path / "run").predict(data.features) == run.model.predict(data.features)).all()


def test_no_variants_give_no_runs():
    assert gg.train_many(blobs(), []) == []


# --- once is enough ----------------------------------------------------------------------------------------


def test_each_program_is_compiled_once(compilations):
    runs = gg.train_many(blobs(), VARIANTS, **SMALL)
    # Evaluation knows no optimizer; it takes as many rows at a time as a part can fill.
    assert sorted(compilations) == ["evaluate"] * PARTS + ["train"] * PROGRAMS
    assert sum(run.seconds_compiling > 0 for run in runs) == PROGRAMS


@pytest.mark.parametrize(
    "variant",
    [
        {"layers": [7]},
        {"activation": "tanh"},
        {"loss": "hinge"},
        {"batch_size": 8},
        {"dtype": "float64"},
        {"freeze": "dense_1"},
        {"clip_value": 1.0},
        {"optimizer": "adam(weight_decay=0.1)"},
        {"optimizer": "sgd"},
        {"backend": "native"},
    ],
    ids=str,
)
def test_options_that_change_the_program_compile_another(compilations, variant):
    common = SMALL | {"epochs": 1, "backend": "reference"}
    runs = gg.train_many(blobs(), [{}, variant, {"seed": 1}], **common)
    assert compilations.count("train") == 2
    assert same(runs[1], gg.train(blobs(), **{**common, **variant}))


@dataclass(frozen=True)
class Lazy(gg.optim.Optimizer):
    """An optimizer that builds its numbers into the graph, as it should not."""

    learning_rate: float = 0.1
    share: float = 0.5

    def slots(self):
        return {}

    def scalars(self, hyper, t):
        return hyper

    def move(self, gradient, slots, scalars):
        return gradient * (self.share * self.learning_rate), {}


def test_user_defined_parts_share_a_program_only_if_they_are_equal(compilations):
    variants = [{"optimizer": Lazy(share=share), "seed": seed} for share in (0.5, 1.0) for seed in (0, 1)]
    common = SMALL | {"backend": "reference"}
    runs = gg.train_many(blobs(), variants, **common)
    assert compilations.count("train") == 2
    for variant, run in zip(variants, runs, strict=True):
        assert same(run, gg.train(blobs(), **common, **variant))


def test_the_data_are_split_once_per_seed_and_scaling(monkeypatch):
    cut, calls = task.split, []
    monkeypatch.setattr(task, "split", lambda *a, **options: calls.append(options) or cut(*a, **options))
    variants = [{"learning_rate": rate, "seed": seed} for rate in (0.1, 0.2, 0.3) for seed in (0, 1)]
    gg.train_many(blobs(), [*variants, {"scaling": "none"}], backend="reference", **SMALL)
    assert len(calls) == 3


# --- trouble -----------------------------------------------------------------------------------------------


def test_a_run_that_diverges_ends_and_the_others_continue():
    rates = [0.01, 1e10, 0.1, 30.0]
    common = SMALL | {"optimizer": "sgd", "epochs": 30}
    runs = gg.train_many(surface(), [{"learning_rate": rate} for rate in rates], **common)
    assert [run.status for run in runs] == ["finished", "diverged", "finished", "diverged"]
    for rate, run in zip(rates, runs, strict=True):
        assert same(run, gg.train(surface(), learning_rate=rate, **common))


@pytest.mark.parametrize("threads", [1, 3])
def test_ctrl_c_ends_all_runs_with_their_last_good_weights(threads):
    seen = []

    def stop(number, run):
        assert threading.current_thread() is threading.main_thread()
        seen.append(number)
        raise KeyboardInterrupt

    variants = [{"seed": 0, "epochs": 2}, *({"seed": seed, "epochs": 10**6} for seed in range(1, 6))]
    common = {"layers": [4], "backend": "reference", "keep": "last", "schedule": "constant"}
    runs = gg.train_many(blobs(30), variants, threads=threads, progress=stop, **common)
    assert seen == [0]
    assert same(runs[0], gg.train(blobs(30), **common, **variants[0]))
    assert len(runs) <= 1 + threads + 1
    for run in runs[1:]:
        assert run.status == "interrupted"
        assert run.epochs >= 1
        alone = gg.train(blobs(30), **common, seed=run.settings.seed, epochs=run.epochs)
        assert same_bits(run.model.weights, alone.model.weights)


def test_ctrl_c_before_any_epoch_is_complete(monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(workers, "wait", interrupted)
    monkeypatch.setattr(many.Trainer, "_call", interrupted)
    with pytest.raises(KeyboardInterrupt):
        gg.train_many(blobs(), [{}, {"seed": 1}], backend="reference", **SMALL)


def test_an_error_in_progress_ends_all_runs():
    def progress(number, run):
        raise RuntimeError("the screen is gone")

    variants = [{"epochs": 1}, *({"seed": seed, "epochs": 10**6} for seed in range(1, 4))]
    with pytest.raises(RuntimeError, match="the screen is gone"):
        gg.train_many(blobs(), variants, threads=2, progress=progress, backend="reference", layers=[4])


def test_progress_reports_every_run():
    seen = {}
    runs = gg.train_many(blobs(), VARIANTS, progress=seen.__setitem__, backend="reference", **SMALL)
    assert [seen[number] for number in range(len(VARIANTS))] == runs


@pytest.mark.parametrize(
    ("variants", "options", "message"),
    [
        ([{}, {"learning_rat": 1}], {}, "^variant 2 of 2: unknown option 'learning_rat'; did you mean"),
        ([{"seed": 1}, {"loss": "poisson"}], {}, "^variant 2 of 2: "),
        ({"seed": 1}, {}, "variants must be a list of mappings"),
        ([{}, 3], {}, "variants must be a list of mappings"),
        ([{}], {"threads": 0}, "threads must be a whole number from 1 to 999999, or None, not 0"),
        ([{}], {"validation": 1.0}, "^variant 1 of 1: validation must be"),
    ],
)
def test_invalid_variants_are_refused_in_one_line(variants, options, message):
    with pytest.raises(gg.InputError, match=message) as caught:
        gg.train_many(blobs(), variants, backend="reference", **options)
    assert "\n" not in str(caught.value)


def test_missing_data_is_refused():
    with pytest.raises(gg.InputError, match="not int; use from_arrays"):
        gg.train_many(3, [{}])


# --- several epochs in one call ----------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [60, 61])
def test_several_epochs_in_one_call_have_the_same_bits_as_single_epochs(monkeypatch, rows):
    options = {"layers": [4], "epochs": 40, "batch_size": 16, "validation": 0, "test": 0}
    sizes = []
    call = many.Trainer._call

    def counted(self, *args):
        before = self.step
        call(self, *args)
        sizes.append((self.step - before) // self.steps_per_epoch)

    monkeypatch.setattr(many.Trainer, "_call", counted)
    monkeypatch.setattr("glassgrad.training.pace.SECONDS_PER_CALL", 1e9)
    together = gg.train(blobs(rows), **options)
    assert max(sizes) > 8
    assert sum(sizes) == 40
    sizes.clear()
    watched = gg.train(blobs(rows), progress=lambda _: None, **options)
    assert set(sizes) == {1}
    assert same(together, watched)


def test_a_run_that_diverges_within_a_call_records_the_epochs_before(monkeypatch):
    monkeypatch.setattr("glassgrad.training.pace.SECONDS_PER_CALL", 1e9)
    rising = {"schedule": "warmup(50)", "learning_rate": 5.0, "optimizer": "sgd", "layers": [4], "epochs": 50}
    options = {**rising, "batch_size": 8, "validation": 0, "test": 0}
    together = gg.train(surface(), **options)
    assert together.status == "diverged"
    assert together.epochs > 3
    assert same(together, gg.train(surface(), progress=lambda _: None, **options))
