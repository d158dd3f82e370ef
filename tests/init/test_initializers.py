"""Initial weights: their distributions, their random streams, and the signal after thirty layers."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest

from glassgrad.common.errors import InputError
from glassgrad.init.initializers import INITIALIZERS, fans, initializer, lsuv_scale, stream

FAN_IN, FAN_OUT = 60, 20
SHAPE = (100, 200)
XAVIER = 2 / (FAN_IN + FAN_OUT)
# The probability of |z| <= 2, and the standard deviation of z given that.
INSIDE = math.erf(math.sqrt(2))
CUT_STD = math.sqrt(1 - 4 * math.exp(-2) / math.sqrt(2 * math.pi) / INSIDE)

NORMALS = {
    "normal(0.3)": (0.0, 0.3),
    "normal(0.3, mean=-1)": (-1.0, 0.3),
    "lecun_normal": (0.0, math.sqrt(1 / FAN_IN)),
    "xavier_normal": (0.0, math.sqrt(XAVIER)),
    "glorot_normal": (0.0, math.sqrt(XAVIER)),
    "he_normal": (0.0, math.sqrt(2 / FAN_IN)),
}
UNIFORMS = {
    "uniform(-0.5, 2)": (-0.5, 2.0),
    "fan_in_uniform": (-math.sqrt(1 / FAN_IN), math.sqrt(1 / FAN_IN)),
    "lecun_uniform": (-math.sqrt(3 / FAN_IN), math.sqrt(3 / FAN_IN)),
    "xavier_uniform": (-math.sqrt(3 * XAVIER), math.sqrt(3 * XAVIER)),
    "glorot_uniform": (-math.sqrt(3 * XAVIER), math.sqrt(3 * XAVIER)),
    "he_uniform": (-math.sqrt(6 / FAN_IN), math.sqrt(6 / FAN_IN)),
}
ALL_SPECS = [*NORMALS, *UNIFORMS, "zeros", "constant(0.1)", "truncated_normal(0.2)", "orthogonal(2)", "lsuv"]


def draw(spec, shape=SHAPE, generator=None, fan_in=FAN_IN, fan_out=FAN_OUT):
    return initializer(spec)(generator or stream(7, spec), shape, fan_in=fan_in, fan_out=fan_out)


def normal_cdf(z):
    return np.array([(1 + math.erf(x / math.sqrt(2))) / 2 for x in np.ravel(z)])


def assert_distributed(values, cdf):
    """Kolmogorov-Smirnov: the largest gap between the empirical and the exact CDF, at the 0.1% level."""
    p = cdf(np.sort(np.ravel(values)))
    n = p.size
    gap = max(np.max(np.arange(1, n + 1) / n - p), np.max(p - np.arange(n) / n))
    assert gap < 1.95 / math.sqrt(n), f"KS statistic {gap:.4f} of {n} values"


def assert_moments(values, mean, std, kurtosis):
    """Mean and variance within four standard errors."""
    n = values.size
    assert abs(values.mean() - mean) < 4 * std / math.sqrt(n)
    assert abs(values.var() / std**2 - 1) < 4 * math.sqrt((kurtosis - 1) / n)


def test_the_ks_check_rejects_a_slightly_wrong_distribution():
    values = stream(0).normal(0, 1.05, SHAPE)
    with pytest.raises(AssertionError):
        assert_distributed(values, normal_cdf)


def test_every_registered_name_is_covered():
    assert {spec.partition("(")[0] for spec in ALL_SPECS} == set(INITIALIZERS)


@pytest.mark.parametrize("spec", ALL_SPECS)
def test_shape_dtype_and_determinism(spec):
    for shape in [(5, 3), (3, 5), (3, 2, 4, 6)]:
        first, again = draw(spec, shape), draw(spec, shape)
        assert first.shape == shape
        assert first.dtype == np.float64
        assert first.flags.c_contiguous
        np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize(("spec", "expected"), NORMALS.items())
def test_normals(spec, expected):
    mean, std = expected
    values = draw(spec)
    assert_moments(values, mean, std, kurtosis=3)
    assert_distributed(values, lambda x: normal_cdf((x - mean) / std))


@pytest.mark.parametrize(("spec", "bounds"), UNIFORMS.items())
def test_uniforms(spec, bounds):
    low, high = bounds
    values = draw(spec)
    assert ((values >= low) & (values <= high)).all()
    assert_moments(values, (low + high) / 2, (high - low) / math.sqrt(12), kurtosis=1.8)
    assert_distributed(values, lambda x: (x - low) / (high - low))


def test_truncated_normal_is_truncated_at_two_standard_deviations():
    values = draw("truncated_normal(0.2)")
    assert np.abs(values).max() <= 0.4
    assert np.abs(values).max() > 0.39
    assert round(CUT_STD, 4) == 0.8796
    assert abs(values.std() / (0.2 * CUT_STD) - 1) < 0.02
    assert_distributed(values, lambda x: (normal_cdf(x / 0.2) - (1 - INSIDE) / 2) / INSIDE)


def test_constants():
    assert not draw("zeros").any()
    assert (draw("constant(-0.25)") == -0.25).all()
    assert (draw("normal(0, mean=3)") == 3).all()
    assert (draw("uniform(2, 2)") == 2).all()


@pytest.mark.parametrize("shape", [(8, 8), (30, 8), (8, 30), (3, 3, 4, 16), (1, 1, 4, 16), (5, 1)])
@pytest.mark.parametrize(("spec", "gain"), [("orthogonal", 1.0), ("orthogonal(1.5)", 1.5), ("lsuv", 1.0)])
def test_orthogonality(spec, gain, shape):
    w = draw(spec, shape).reshape(-1, shape[-1])
    gram = w.T @ w if w.shape[0] >= w.shape[1] else w @ w.T
    np.testing.assert_allclose(gram, gain**2 * np.eye(len(gram)), atol=1e-12)


def test_orthogonal_matrices_are_uniformly_distributed():
    # Each row of a uniform rotation of space is a uniform point on the sphere, whose coordinates are uniform
    # on [-1, 1] (Archimedes). Without the sign fix of the QR factors, the diagonal is biased.
    generator = stream(1, "rotations")
    entries = np.array([draw("orthogonal", (3, 3), generator) for _ in range(2000)])
    for i, j in np.ndindex(3, 3):
        assert_distributed(entries[:, i, j], lambda x: (x + 1) / 2)


@pytest.mark.parametrize("spec", ["orthogonal", "lsuv"])
@pytest.mark.parametrize("shape", [(), (5,)])
def test_orthogonal_refuses_vectors(spec, shape):
    with pytest.raises(InputError, match=f"'{spec}' needs rows and columns"):
        draw(spec, shape)


def test_fans():
    assert fans((784, 128)) == (784, 128)
    assert fans((3, 5, 16, 32)) == (15 * 16, 15 * 32)
    assert fans((7, 4, 6)) == (28, 42)
    assert fans((10,)) == (10, 10)
    assert fans(()) == (1, 1)
    with pytest.raises(InputError, match="empty"):
        fans((0, 4))


def test_scaling_uses_the_fan_arguments_not_the_shape():
    narrow, wide = draw("he_normal", fan_in=10), draw("he_normal", fan_in=1000)
    np.testing.assert_allclose(narrow, 10 * wide)
    np.testing.assert_array_equal(draw("he_normal", fan_out=1), draw("he_normal", fan_out=999))
    np.testing.assert_allclose(
        draw("xavier_uniform", fan_in=3, fan_out=9), draw("xavier_uniform", fan_in=9, fan_out=3)
    )


# Streams


def test_streams_differ_by_seed_and_by_each_name_and_do_not_correlate():
    keys = [
        (0,),
        (1,),
        (0, "a"),
        (0, "b"),
        (0, "ab"),
        (0, "a", "b"),
        (0, "b", "a"),
        (0, 1),
        (0, "1"),
        (1, "a"),
        (-1,),
    ]
    keys += [(2**70, "a"), (0, 'a", "b'), (0, "é"), (0, 1, 1), (0, 11)]
    draws = np.array([stream(*key).standard_normal(4000) for key in keys])
    correlations = np.corrcoef(draws) - np.eye(len(keys))
    assert np.abs(correlations).max() < 4.5 / math.sqrt(4000)


def test_a_stream_is_the_same_in_every_process():
    code = "from glassgrad.init.initializers import stream; print(stream(3, 'dense', 1).integers(2**62))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(printed) == stream(3, "dense", 1).integers(2**62)
    assert stream(np.int64(3), "dense", np.int32(1)).integers(2**62) == int(printed)


def test_a_stream_stays_the_same_from_version_to_version():
    assert stream(0, "dense", "weight").bit_generator.random_raw() == 16415378401732229560


# Text and configuration


@pytest.mark.parametrize("spec", ALL_SPECS)
def test_round_trip_through_configuration(spec):
    part = initializer(spec)
    config = INITIALIZERS.config(part)
    assert initializer(config) == part
    assert hash(initializer(config)) == hash(part)
    assert initializer(part) is part


def test_configuration_names_the_class_and_not_its_alias():
    assert INITIALIZERS.config(initializer("glorot_uniform")) == {"name": "xavier_uniform"}
    assert initializer("glorot_normal") == initializer("xavier_normal") != initializer("xavier_uniform")
    assert INITIALIZERS.config(initializer("normal(0.02)")) == {"name": "normal", "std": 0.02, "mean": 0.0}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("normal(-1)", "'normal': std must be a number of at least 0, not -1"),
        ("normal(1, mean=1e999)", "'normal': mean must be a finite number, not inf"),
        ("normal('1')", "'normal': std must be a number of at least 0, not '1'"),
        ("truncated_normal(-0.1)", "'truncated_normal': std"),
        ("truncated_normal(True)", "'truncated_normal': std"),
        ("constant(1e999)", "'constant': value"),
        ({"name": "constant", "value": math.nan}, "'constant': value"),
        ("uniform(1, 0)", "low=1 is above high=0"),
        ("uniform(-1e999, 0)", "'uniform': low"),
        ("uniform(0, 1e999)", "'uniform': high"),
        ("uniform(-1e308, 1e308)", "'uniform': high - low"),
        ("orthogonal(-1)", "'orthogonal': gain"),
        ("lsuv(0)", "'lsuv': variance must be a number above 0"),
        ("lsuv(tolerance=-1)", "'lsuv': tolerance"),
        ("lsuv(iterations=0)", "'lsuv': iterations"),
        ("lsuv(iterations=True)", "'lsuv': iterations"),
        ("lsuv(iterations=2.5)", "'lsuv': iterations"),
        ("he_norml", "did you mean 'he_normal'"),
        ("he_normal(2)", "takes no arguments"),
        ("normal", "takes std, mean"),
    ],
)
def test_wrong_parameters(spec, message):
    with pytest.raises(InputError) as error:
        initializer(spec)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


# LSUV


def test_lsuv_scale_gives_a_linear_layer_the_variance():
    x = stream(0, "x").normal(3, 5, (200, 12))
    w = draw("lsuv", (12, 6))
    assert np.var(x @ (w * lsuv_scale(x @ w, 0.5))) == pytest.approx(0.5)
    assert [name for name in INITIALIZERS if INITIALIZERS[name].data_dependent] == ["lsuv"]


@pytest.mark.parametrize("outputs", [np.ones((4, 3)), np.array([1.0, np.nan]), np.array([1.0, np.inf])])
def test_lsuv_refuses_outputs_without_a_usable_variance(outputs):
    with np.errstate(invalid="ignore"), pytest.raises(InputError, match="variance"):
        lsuv_scale(outputs, 1.0)


# The signal through thirty layers: an error of 10% in the variance grows to a factor of 17.

DEPTH, WIDTH, NETWORKS = 30, 256, 6


def signal_after_each_layer(spec, activation, widths):
    """The mean square of the signal after each layer, averaged over networks; that of the inputs is 1."""
    squares = np.zeros(len(widths) - 1)
    for network in range(NETWORKS):
        x = stream(5, "inputs", network).standard_normal((8, widths[0]))
        for layer, shape in enumerate(itertools.pairwise(widths)):
            w = draw(spec, shape, stream(5, spec, network, layer), *fans(shape))
            x = activation(x @ w)
            squares[layer] += np.mean(x**2) / NETWORKS
    return squares


def linear(x):
    return x


@pytest.mark.parametrize("spec", ["he_normal", "he_uniform"])
def test_he_keeps_the_signal_through_relu(spec):
    # The mean square of the ReLU is half that of its input, and He's variance is twice 1 / fan_in.
    after = signal_after_each_layer(spec, lambda x: np.maximum(x, 0), [WIDTH] * (DEPTH + 1))
    assert 1 / 6 < after[-1] < 3 / 2


@pytest.mark.parametrize("spec", ["lecun_normal", "lecun_uniform", "orthogonal"])
def test_lecun_and_orthogonal_keep_the_signal_through_linear_layers(spec):
    after = signal_after_each_layer(spec, linear, [WIDTH] * (DEPTH + 1))
    assert 1 / 2 < after[-1] < 2


@pytest.mark.parametrize("spec", ["lecun_normal", "lecun_uniform"])
def test_lecun_through_tanh_follows_mean_field_theory(spec):
    # Poole et al. 2016: q -> E[tanh(sqrt(q) z)^2], z normal; a slow decay (as 1 / depth), no vanishing.
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    after = signal_after_each_layer(spec, np.tanh, [WIDTH] * (DEPTH + 1))
    q = 1.0
    for layer in range(DEPTH):
        q = np.sum(weights * np.tanh(math.sqrt(q) * nodes) ** 2) / math.sqrt(2 * math.pi)
        assert after[layer] == pytest.approx(q, rel=0.25)
    assert after[-1] > 0.01


@pytest.mark.parametrize("spec", ["xavier_normal", "xavier_uniform"])
@pytest.mark.parametrize("backward", [False, True], ids=["signal", "gradient"])
def test_xavier_keeps_signal_and_gradient_alike(spec, backward):
    widths = [128, 256] * (DEPTH // 2) + [128]
    x = stream(9, backward).standard_normal((64, 128))
    weights = []
    for layer, shape in enumerate(itertools.pairwise(widths)):
        weights.append(draw(spec, shape, stream(9, spec, layer), *fans(shape)))
    for w in reversed(weights) if backward else weights:
        x = x @ (w.T if backward else w)
    # Each pair of layers, 128 to 256 and back, multiplies it by 4ab / (a + b)^2 = 8/9 in both directions.
    expected = (8 / 9) ** (DEPTH / 2)
    assert expected / 3 < np.mean(x**2) < expected * 3


def test_fan_in_uniform_loses_two_thirds_of_the_variance_per_layer():
    after = signal_after_each_layer("fan_in_uniform", linear, [WIDTH] * 11)
    assert after[-1] == pytest.approx(3.0**-10, rel=0.5)
