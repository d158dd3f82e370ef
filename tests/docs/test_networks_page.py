"""docs/networks.md names every layer type and every option, and its two examples are one network."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from pathlib import Path
from typing import Any

from glassgrad.nn.layer import LAYERS
from glassgrad.nn.network import Network, from_document

PAGE = (Path(__file__).parents[2] / "docs" / "networks.md").read_text()


def test_every_layer_and_option_is_on_the_page() -> None:
    rows = {
        name: line
        for line in PAGE.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`(\w+)`", line.split("|")[1])
    }
    built_in = {name: LAYERS[name] for name in LAYERS if LAYERS[name].__module__.startswith("glassgrad.nn.")}
    assert len(built_in) >= 16
    assert set(rows) == set(built_in)
    for name, cls in built_in.items():
        options = [item.name for item in dataclasses.fields(cls) if item.init]  # type: ignore[arg-type]
        missing = [option for option in options if f"`{option}`" not in rows[name]]
        assert not missing, f"{name}: {missing}"


def test_both_examples_are_the_same_network() -> None:
    (toml,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    (python,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {}
    exec(python, names)
    assert isinstance(names["network"], Network)
    assert from_document(tomllib.loads(toml)) == names["network"]
