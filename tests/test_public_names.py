"""Public names: namespaces, a class for every registered name, lazy loading, and stubs for type checkers."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections import Counter
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import glassgrad as gg
from glassgrad.init.initializers import INITIALIZERS
from glassgrad.losses.table import LOSSES
from glassgrad.nn.activations import ACTIVATIONS
from glassgrad.nn.layer import LAYERS
from glassgrad.ops import table
from glassgrad.optim.optimizers import OPTIMIZERS
from glassgrad.optim.schedules import SCHEDULES

ROOT = Path(__file__).parents[1]
NAMESPACES = {"": gg, "init": gg.init, "losses": gg.losses, "nn": gg.nn, "ops": gg.ops, "optim": gg.optim}
HOMES = [
    (ACTIVATIONS, gg.nn),
    (INITIALIZERS, gg.init),
    (LAYERS, gg.nn),
    (LOSSES, gg.losses),
    (OPTIMIZERS, gg.optim),
    (SCHEDULES, gg.optim),
]
REGISTERED = [
    pytest.param(registry, name, home, id=f"{registry.kind}-{name}")
    for registry, home in HOMES
    for name in registry
]
ARGUMENTS = {
    "activation": {"activation": "tanh"},
    "constant": {"value": 0.5},
    "conv2d": {"filters": 2},
    "dense": {"units": 3},
    "embedding": {"entries": 5, "dimension": 2},
    "normal": {"std": 0.5},
    "reshape": {"shape": (2, 3)},
    "simple_rnn": {"units": 3},
    "truncated_normal": {"std": 0.5},
    "uniform": {"low": -1.0, "high": 1.0},
}


def run_python(code: str) -> str:
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return process.stdout.strip()


def required_fields(cls: type[Any]) -> set[str]:
    missing = dataclasses.MISSING
    return {f.name for f in dataclasses.fields(cls) if f.default is missing and f.default_factory is missing}


@pytest.mark.parametrize(("registry", "name", "home"), REGISTERED)
def test_every_registered_name_has_a_public_class(registry: Any, name: str, home: ModuleType) -> None:
    cls = registry[name]
    assert cls.__name__ in home.__all__
    assert getattr(home, cls.__name__) is cls
    field_names = {field.name for field in dataclasses.fields(cls)}
    options = {key: value for key, value in ARGUMENTS.get(name, {}).items() if key in field_names}
    assert required_fields(cls) <= set(options)
    spec = f"{name}({', '.join(f'{key}={value!r}' for key, value in options.items())})"
    assert getattr(home, cls.__name__)(**options) == registry.make(spec)


def test_objects_and_names_train_the_same_network() -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(40, 3))
    data = gg.from_arrays(x, x.sum(axis=1), name="sums")
    common = {"layers": [8], "epochs": 2, "batch_size": 8, "seed": 1}
    objects = gg.train(
        data,
        activation=gg.nn.LeakyReLU(0.2),
        init=gg.init.XavierNormal(),
        loss=gg.losses.Huber(0.5),
        optimizer=gg.optim.Adam(0.02),
        schedule=gg.optim.Warmup(1, gg.optim.Cosine(0.1)),
        **common,
    )
    names = gg.train(
        data,
        activation="leaky_relu(0.2)",
        init="xavier_normal",
        loss="huber(0.5)",
        optimizer="adam(0.02)",
        schedule="warmup(1, 'cosine(0.1)')",
        **common,
    )
    assert objects.history == names.history
    for key, weights in names.model.weights.items():
        np.testing.assert_array_equal(objects.model.weights[key], weights)


def test_no_two_public_names_differ_in_case_only() -> None:
    dotted = [f"{space}.{name}" for space, module in NAMESPACES.items() for name in module.__all__]
    assert [name for name, count in Counter(map(str.lower, dotted)).items() if count > 1] == []


def test_the_top_level_has_few_names_and_no_parts() -> None:
    assert len([name for name in gg.__all__ if name not in NAMESPACES]) <= 45
    parts = {cls for registry, _ in HOMES for cls in map(registry.__getitem__, registry)}
    assert [name for name in gg.__all__ if name not in NAMESPACES and getattr(gg, name) in parts] == []


def test_every_op_is_listed() -> None:
    assert set(table.__all__) - {"TABLE"} <= set(gg.ops.__all__)


@pytest.mark.parametrize("space", sorted(NAMESPACES))
def test_every_listed_name_exists_and_no_module_hides_it(space: str) -> None:
    package = NAMESPACES[space]
    (folder,) = map(Path, package.__path__)
    modules = {path.stem for path in folder.iterdir()}
    for name in package.__all__:
        assert getattr(package, name) is not None
        assert name in NAMESPACES or name not in modules, f"the module {name} would hide the public name"
    assert set(package.__all__) <= set(dir(package))
    assert [name for name in dir(package) if not name.startswith("__")] == [
        name for name in package.__all__ if not name.startswith("__")
    ]


def test_star_imports_bring_all_names() -> None:
    names: dict[str, Any] = {}
    exec("from glassgrad import *\nfrom glassgrad.nn import *", names)
    assert {*gg.__all__, *gg.nn.__all__} <= set(names)
    assert names["nn"] is gg.nn


def test_the_error_for_a_name_of_another_namespace_suggests_it() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'Dense'; use glassgrad\.nn\.Dense$"):
        gg.Dense  # noqa: B018
    with pytest.raises(AttributeError, match=r"no attribute 'dense'$"):
        gg.dense  # noqa: B018
    assert not hasattr(gg.nn, "Adam")


@pytest.mark.parametrize(
    ("name", "unwanted"),
    [
        ("optim.Adam", "glassgrad.nn"),
        ("optim.Cosine", "glassgrad.optim.optimizers"),
        ("nn.Dense", "glassgrad.nn.layers.convolution"),
        ("init.HeNormal", "glassgrad.ops.table"),
        ("losses.Huber", "glassgrad.losses.classification"),
        ("ops.exp", "glassgrad.program"),
    ],
)
def test_a_public_name_loads_only_what_it_needs(name: str, unwanted: str) -> None:
    code = f"import sys, glassgrad as gg; gg.{name}; print([m for m in sys.modules if m.startswith({unwanted!r})])"
    assert run_python(code) == "[]"


def test_importing_the_package_loads_only_the_listing() -> None:
    code = "import sys, glassgrad; print(sorted(m for m in sys.modules if m.startswith('glassgrad.')))"
    assert run_python(code) == "['glassgrad.common', 'glassgrad.common.lazy']"


def load_tool() -> ModuleType:
    spec = spec_from_file_location("write_stubs", ROOT / "tools" / "write_stubs.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_stubs_are_up_to_date() -> None:
    """The stubs equal the output of tools/write_stubs.py."""
    stubs = load_tool().stubs()
    assert len(stubs) == len(NAMESPACES)
    for path, text in stubs.items():
        assert path.read_text(encoding="utf-8") == text, f"{path} is not up to date; run tools/write_stubs.py"
