"""The stages of the native compiler as text."""

from __future__ import annotations

import re

import pytest

from backends.nets import program
from glassgrad.backends.native.driver.generate import schedule_program
from glassgrad.backends.native.driver.inspect import STAGES, inspect
from glassgrad.backends.native.runtime.machine import host, machine
from glassgrad.common.errors import InputError
from glassgrad.losses.table import loss
from glassgrad.nn.layers.dense import Dense
from glassgrad.nn.network import Sequential
from glassgrad.optim.optimizers import optimizer
from glassgrad.program import Program
from glassgrad.training.programs import training_program


def small() -> Program:
    network = Sequential(("hidden", Dense(32, "relu")), ("out", Dense(10)))
    made = optimizer("sgd(0.1, momentum=0.9)")
    return training_program(network, (64,), loss("cross_entropy"), made, batch=32, targets=None)


def lines(stage: str, given: Program | None = None) -> list[str]:
    return inspect(given or small(), stage).splitlines()


def test_the_stages_are_named() -> None:
    assert list(STAGES) == ["graph", "groups", "schedule", "llvm", "assembly"]
    with pytest.raises(InputError, match=r"unknown stage 'asembly'; did you mean 'assembly'\?") as caught:
        inspect(small(), "asembly")
    for name in STAGES:
        assert name in str(caught.value)


def test_the_graph_is_the_step_as_equations() -> None:
    text = lines("graph")
    headings = [line for line in text if line in ("forward:", "backward:", "update:", "gives:")]
    assert headings[0] == "forward:"
    assert headings[-2:] == ["update:", "gives:"]
    assert any("features @ hidden.weights" in line and "float32[32, 32]" in line for line in text)
    given = text[text.index("gives:") + 1 :]
    names = [line.split(" = ")[0].strip() for line in given]
    assert names == [*small().updates, "loss"]
    assert all(re.fullmatch(r"\s+\S+ = %\d+", line) for line in given)


def test_the_groups_list_the_nodes_of_each_loop() -> None:
    text = lines("groups")
    product = text.index("0: product 32 x 32")
    first = [line.split() for line in text[product + 1 :]]
    group = first[: next(i for i, words in enumerate(first) if words[0].endswith(":"))]
    # A dense layer in one kernel: the product, the bias, and ReLU in its epilogue.
    assert [words[3].split("(")[0] for words in group] == ["matmul", "add", "less_equal", "select"]
    assert {words[0] for words in group} == {"m"}
    kinds = {line.split()[0] for line in text[1:] if line.startswith("    ")}
    assert kinds == {"m", "r", "c", "s"}


def test_the_schedule_lists_kernels_and_the_arena() -> None:
    given = small()
    schedule = schedule_program(given, host())
    text = inspect(given, "schedule")
    assert text.startswith("every step:\n")
    assert text.endswith(f"arena: {schedule.size} bytes")
    kernels = re.findall(r"^ +\d+ (k\d+_\w+) -> (.*)  \[(.*)\]$", text, re.MULTILINE)
    assert len(kernels) == len(list(schedule.kernels()))
    assert kernels[0][0].startswith("k0_matmul_add")
    assert kernels[0][2].startswith("product 32 x 32; 1 unit")
    table = text[text.index("buffers:") :].splitlines()[2:-1]
    buffers = [re.fullmatch(r" *(\d+) +(\d+)  (always|\d+ - \d+) +(.+): (\S+.*)", line) for line in table]
    assert all(buffers)
    offsets = [int(match[1]) for match in buffers if match]
    assert offsets == sorted(offsets)
    assert all(int(match[1]) + int(match[2]) <= schedule.size for match in buffers if match)
    replaced = [match[4] for match in buffers if match and match[3] == "always"]
    assert any(re.fullmatch(r"hidden\.weights = %\d+", name) for name in replaced)  # in place


def test_the_schedule_shows_loops_copies_and_shared_kernels() -> None:
    text = inspect(program("recurrent"), "schedule")
    assert re.search(r"^ +\d+ 12 times:$", text, re.MULTILINE)
    assert re.search(r"^ +\d+ 12 times, backwards:$", text, re.MULTILINE)
    assert re.search(r"^ +\d+     copy \S+ <- \S+ \(\d+ bytes\)$", text, re.MULTILINE)
    assert "shared among threads" in inspect(program("dense"), "schedule")
    assert "shared among threads" not in inspect(small(), "schedule")


def test_values_have_the_same_number_in_every_stage() -> None:
    graph = inspect(small(), "graph")
    (name,) = re.findall(r"(%\d+) = features @ hidden\.weights", graph)
    assert f"{name} = matmul(features, hidden.weights)" in inspect(small(), "groups")


def test_the_code_is_what_is_compiled() -> None:
    text = inspect(small(), "llvm", machine("avx512"))
    assert "define dso_local void @run(" in text
    assert "<16 x float>" in text
    assert "<16 x float>" not in inspect(small(), "llvm", machine("avx2"))
    kernels = re.findall(r"define dso_local void @(k\w+)\(", text)
    assembly = inspect(small(), "assembly", machine("avx512"))
    for name in ("run", *kernels):
        assert f"{name}:" in assembly
    assert "vfmadd" in assembly
