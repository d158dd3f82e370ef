"""The key and the code of a program depend on neither the process nor its hash seed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
NUMBERS = range(0, 40, 2)  # of random networks

# Iteration over a set of strings depends on the hash seed; over a set of other objects, on their addresses.
SCRIPT = f"""
import hashlib, json, sys
from backends import nets
from backends.random_networks import draw, evaluation_task, training_task
from glassgrad.backends.native.driver.inspect import inspect
from glassgrad.backends.native.runtime.cache import key_of
from glassgrad.backends.native.runtime.machine import machine

target = machine("avx2")
programs = {{name: nets.program(name, watch=True) for name in ("dense", "conv", "recurrent")}}
for number in range({NUMBERS.start}, {NUMBERS.stop}, {NUMBERS.step}):
    recipe = draw(number)
    programs[f"training {{number}}"] = training_task(recipe).program
    if recipe["evaluates"]:
        programs[f"evaluation {{number}}"] = evaluation_task(recipe).program
results = {{}}
for name, program in programs.items():
    results[name] = [key_of(program, target)]
    for stage in ("groups", "schedule", "llvm"):
        results[name].append(hashlib.sha256(inspect(program, stage, target).encode()).hexdigest())
json.dump({{"hash": hash("a string"), "programs": results}}, sys.stdout)
"""


def test_keys_and_code_are_the_same_for_every_hash_seed() -> None:
    paths = os.pathsep.join([str(TESTS), *(path for path in sys.path if path)])
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT],
            env=os.environ | {"PYTHONPATH": paths, "PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in ("1", "2")
    ]
    first, second = (json.loads(process.communicate(timeout=300)[0]) for process in processes)
    assert all(process.returncode == 0 for process in processes)
    assert first["hash"] != second["hash"]
    assert len(first["programs"]) >= len(NUMBERS) + 3
    assert first["programs"] == second["programs"]
