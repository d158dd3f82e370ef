"""The floors of the house: imports inside ``glassgrad`` go downwards only (see docs/architecture.md)."""

from __future__ import annotations

import ast
import io
import subprocess
import sys
import tokenize
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "glassgrad"

# Top to bottom. Rooms on one floor are siblings; a room is a module or a package.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("__main__",),
    ("cli", "web"),
    ("estimators",),
    ("report",),
    ("diagnosis", "explain"),
    ("training",),
    ("files",),
    ("data",),
    ("nn", "optim", "backends.reference", "backends.native", "backends.xla"),
    ("backends.base",),
    ("program",),
    ("autodiff", "passes"),
    ("ops",),
    ("graph",),
    ("common",),
)
HEIGHT = {room: -floor for floor, rooms in enumerate(FLOORS) for room in rooms}

# The floors inside a room, top to bottom, by names below the room. Every module of such a room stands on one of them.
INNER_FLOORS: dict[str, tuple[tuple[str, ...], ...]] = {
    "diagnosis": (
        ("diagnose",),
        ("kinds",),
        ("neurons", "learning_rate", "initialization", "loss", "chain_rule"),
        ("measures",),
        ("core",),
    ),
}

# Layers and optimizers know no backend, although what the backends share lies below them.
FORBIDDEN = {("nn", "backends.base"), ("optim", "backends.base")}

# The only room in which a heavy library may be imported at the top level of a module (None: nowhere).
HEAVY: dict[str, str | None] = {
    "jax": "backends.xla",
    "jaxlib": "backends.xla",
    "llvmlite": "backends.native",
    "typer": "cli",
    "rich": "cli",
    "sklearn": "estimators",
    "matplotlib": "report",
    "plotly": "report",
    "pandas": None,
    "narwhals": None,
    "pyarrow": None,
}

AUTODIFF_LIMIT = 150


@dataclass(frozen=True)
class Import:
    """One imported module; ``names`` is empty for ``import module``."""

    line: int
    module: str
    names: tuple[str, ...] = ()
    relative: bool = False
    at_top: bool = True


def find_imports(node: ast.AST, at_top: bool = True) -> Iterator[Import]:
    """Every import below ``node``; ``at_top`` says whether it runs when the module is imported."""
    if isinstance(node, ast.Import):
        yield from (Import(node.lineno, alias.name, at_top=at_top) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        names = tuple(alias.name for alias in node.names)
        yield Import(node.lineno, node.module or "", names, node.level > 0, at_top)
    elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
        for statement in node.body:
            yield from find_imports(statement, at_top=False)
        for statement in node.orelse:
            yield from find_imports(statement, at_top)
    else:
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                relative = first.value.startswith(".")
                yield Import(node.lineno, first.value, relative=relative, at_top=at_top)
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from find_imports(child, at_top and not inside)


def room_of(module: str) -> str | None:
    """The room that holds ``module`` (a dotted name below ``glassgrad``), or None."""
    parts = module.split(".")
    prefixes = (".".join(parts[:end]) for end in range(len(parts), 0, -1))
    return next((prefix for prefix in prefixes if prefix in HEIGHT), None)


def targets(found: Import, packages: set[str], modules: set[str]) -> Iterator[tuple[str, str | None]]:
    """What ``found`` imports from glassgrad: (dotted name below glassgrad, what is wrong with it or None)."""
    if found.module == "glassgrad":
        yield "", "imports glassgrad itself"
        return
    base = found.module.removeprefix("glassgrad.")
    children = [f"{base}.{name}" for name in found.names]
    for target in [child if child in packages | modules else base for child in children] or [base]:
        if target in packages:
            yield target, f"imports the package glassgrad.{target}; name the leaf module"
        elif target not in modules:
            yield target, f"imports glassgrad.{target}, which does not exist"
        else:
            yield target, None


def direction(room: str, other: str) -> str | None:
    """What is wrong with ``room`` importing ``other``, or None."""
    if room == other:
        return None
    if HEIGHT[other] == HEIGHT[room] or (room, other) in FORBIDDEN:
        return f"{room} must not know its sibling {other}"
    return f"{room} imports upwards from {other}" if HEIGHT[other] > HEIGHT[room] else None


def inner_room_of(room: str, module: str) -> tuple[str, int] | None:
    """The inner room of ``room`` that holds ``module`` (a dotted name below ``glassgrad``), and its height."""
    inside = module.removeprefix(f"{room}.")
    for floor, names in enumerate(INNER_FLOORS[room]):
        for name in names:
            if inside == name or inside.startswith(f"{name}."):
                return name, -floor
    return None


def inner_direction(room: str, module: str, target: str) -> str | None:
    """What is wrong with ``module`` importing ``target``, both in ``room``, or None."""
    one, other = inner_room_of(room, module), inner_room_of(room, target)
    if one is None or other is None or one == other:
        return None
    if one[1] == other[1]:
        return f"{room}.{one[0]} must not know its sibling {room}.{other[0]}"
    return f"{room}.{one[0]} imports upwards from {room}.{other[0]}" if other[1] > one[1] else None


def inner_complaints(sources: Mapping[str, str]) -> list[str]:
    """Every broken rule inside the rooms of ``INNER_FLOORS``: imports that do not go downwards, and cycles."""
    dotted = {path: ".".join(PurePosixPath(path).with_suffix("").parts) for path in sources}
    packages = {name.removesuffix(".__init__") for name in dotted.values() if name.endswith(".__init__")}
    modules = {name for name in dotted.values() if not name.endswith("__init__")}
    wrong: list[str] = []
    for room in INNER_FLOORS:
        imported: dict[str, set[str]] = {}
        for path, source in sources.items():
            module = dotted[path]
            if module not in modules or room_of(module) != room:
                continue
            if inner_room_of(room, module) is None:
                wrong.append(f"{path}: no such inner room in INNER_FLOORS[{room!r}]")
            imports = [
                item for item in find_imports(ast.parse(source)) if item.module.startswith("glassgrad.")
            ]
            pairs = [(item, target) for item in imports for target, _ in targets(item, packages, modules)]
            inside = [(item, target) for item, target in pairs if room_of(target) == room]
            imported[module] = {target for _, target in inside}
            problems = [(item.line, inner_direction(room, module, target)) for item, target in inside]
            wrong += [f"{path}:{line} {problem}" for line, problem in problems if problem]
        wrong += [f"{room}: import cycle {' -> '.join(cycle)}" for cycle in cycles(imported)]
    return wrong


def cycles(imported: Mapping[str, set[str]]) -> list[list[str]]:
    """A chain of modules for each one that imports itself by way of others."""
    found: list[list[str]] = []
    done: set[str] = set()

    def visit(module: str, chain: list[str]) -> None:
        if module in chain:
            found.append([*chain[chain.index(module) :], module])
        elif module not in done:
            for target in sorted(imported.get(module, ())):
                visit(target, [*chain, module])
            done.add(module)

    for module in sorted(imported):
        visit(module, [])
    return found


def complaints(sources: Mapping[str, str]) -> list[str]:
    """Every broken rule in ``sources`` (text by path below src/glassgrad), one line each."""
    dotted = {path: ".".join(PurePosixPath(path).with_suffix("").parts) for path in sources}
    packages = {name.removesuffix(".__init__") for name in dotted.values() if name.endswith(".__init__")}
    modules = {name for name in dotted.values() if not name.endswith("__init__")}
    wrong: list[str] = []
    for path, source in sources.items():
        tree = ast.parse(source)
        found = list(find_imports(tree))
        wrong += [f"{path}:{item.line} relative import" for item in found if item.relative]
        if path == "__init__.py":  # the public listing may name anything, lazily
            wrong += [f"{path}:{i.line} loads {i.module} eagerly" for i in found if i.at_top and is_heavy(i)]
            continue
        room = room_of(dotted[path].removesuffix(".__init__"))
        if path.endswith("__init__.py"):
            name = dotted[path].removesuffix(".__init__")
            if room is None and not any(known.startswith(name + ".") for known in HEIGHT):
                wrong.append(f"{path}: no such room in FLOORS")
            if [node for node in tree.body if not isinstance(node, ast.Expr)]:
                wrong.append(f"{path}: the __init__ of a package inside glassgrad stays empty")
            continue
        if room is None:
            wrong.append(f"{path}: no such room in FLOORS")
            continue
        for item in found:
            top = item.module.split(".")[0]
            if top == "glassgrad" and not item.relative:
                for target, unfit in targets(item, packages, modules):
                    other = room_of(target)
                    problem = unfit or (direction(room, other) if other else None)
                    wrong += [f"{path}:{item.line} {problem}"] if problem else []
            elif top in HEAVY and item.at_top and HEAVY[top] != room:
                place = HEAVY[top] or "no room"
                wrong.append(f"{path}:{item.line} imports {top} at the top level; only {place} may")
    return wrong


def is_heavy(item: Import) -> bool:
    """Whether loading ``item`` loads a heavy library or a part of glassgrad."""
    return item.module.split(".")[0] in {*HEAVY, "glassgrad"}


def code_lines(source: str) -> int:
    """Lines that carry code: blank lines, comments and docstrings do not count."""
    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in skipped and token.type != tokenize.ENDMARKER:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and ast.get_docstring(node) is not None:
                lines.difference_update(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return len(lines)


def read_sources() -> dict[str, str]:
    files = sorted(PACKAGE.rglob("*.py"))
    return {file.relative_to(PACKAGE).as_posix(): file.read_text(encoding="utf-8") for file in files}


def test_imports_go_downwards_only() -> None:
    sources = read_sources()
    assert len(sources) > 20, "the walker looked in the wrong place"
    assert complaints(sources) == []


def test_inside_a_room_imports_go_downwards_too() -> None:
    assert inner_complaints(read_sources()) == []


def test_autodiff_stays_small() -> None:
    sizes = {path: code_lines(text) for path, text in read_sources().items() if path.startswith("autodiff")}
    assert 0 < sum(sizes.values()) <= AUTODIFF_LIMIT, sizes


def test_importing_glassgrad_is_light() -> None:
    heavy = [*HEAVY, "safetensors"]
    script = f"import sys, glassgrad; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# The walker itself: a made-up house in which each line breaks one rule, or none.

HOUSE = {
    "__init__.py": "",
    "common/__init__.py": "",
    "common/errors.py": "",
    "graph/__init__.py": "",
    "graph/node.py": "from glassgrad.common.errors import InputError",
    "nn/__init__.py": "",
    "nn/layers.py": "",
    "optim/adam.py": "",
    "program.py": "",
    "backends/__init__.py": "",
    "backends/base.py": "from glassgrad.program import Program",
    "backends/xla.py": "import jax\nfrom glassgrad.backends.base import Executable",
    "backends/native/emit.py": "from llvmlite import ir",
    "cli/main.py": "import rich, typer\nfrom glassgrad.nn.layers import Dense",
}


def test_a_sound_house_draws_no_complaint() -> None:
    assert complaints(HOUSE) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("nn/good.py", "import numpy as np\nimport glassgrad.graph.node as node"),
        ("nn/good.py", "from glassgrad.graph import node"),
        ("nn/good.py", "from glassgrad.nn.layers import Dense"),
        ("nn/good.py", "def late():\n    import pandas"),
        ("nn/good.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import pandas"),
        (
            "__init__.py",
            "def __getattr__(name):\n    from glassgrad.nn.layers import Dense\n    return Dense",
        ),
    ],
)
def test_the_walker_lets_sound_sources_pass(path: str, source: str) -> None:
    assert complaints(HOUSE | {path: source}) == []


@pytest.mark.parametrize(
    ("path", "source", "problem"),
    [
        ("graph/bad.py", "from glassgrad.nn.layers import Dense", "upwards"),
        ("graph/bad.py", "import glassgrad.nn.layers", "upwards"),
        ("graph/bad.py", "def late():\n    from glassgrad.nn.layers import Dense", "upwards"),
        (
            "graph/bad.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import glassgrad.program",
            "upw",
        ),
        ("graph/bad.py", "import importlib\nimportlib.import_module('glassgrad.nn.layers')", "upwards"),
        ("nn/bad.py", "from glassgrad.optim.adam import Adam", "sibling"),
        ("optim/bad.py", "from glassgrad.backends.base import Executable", "sibling"),
        ("backends/native/bad.py", "from glassgrad.backends.xla import lower", "sibling"),
        ("backends/base.py", "from glassgrad.backends.xla import lower", "upwards"),
        ("cli/bad.py", "import glassgrad", "itself"),
        ("cli/bad.py", "from glassgrad import nn", "itself"),
        ("cli/bad.py", "from glassgrad.nn import Dense", "leaf module"),
        ("cli/bad.py", "import glassgrad.nn", "leaf module"),
        ("cli/bad.py", "from glassgrad.nn.gone import Dense", "does not exist"),
        ("nn/bad.py", "from .layers import Dense", "relative"),
        ("nn/bad.py", "from . import layers", "relative"),
        ("attic/box.py", "", "no such room"),
        ("attic/__init__.py", "", "no such room"),
        ("backends/fpga.py", "", "no such room"),
        ("nn/__init__.py", "from glassgrad.nn.layers import Dense", "stays empty"),
        ("nn/bad.py", "import jax.numpy as jnp", "only backends.xla"),
        ("nn/bad.py", "class Eager:\n    import jax", "only backends.xla"),
        ("nn/bad.py", "try:\n    from rich.table import Table\nexcept ImportError:\n    pass", "only cli"),
        ("backends/xla.py", "import llvmlite", "only backends.native"),
        ("cli/bad.py", "import pandas", "only no room"),
        ("__init__.py", "from glassgrad.nn.layers import Dense", "eagerly"),
    ],
)
def test_the_walker_sees_each_broken_rule(path: str, source: str, problem: str) -> None:
    found = complaints(HOUSE | {path: source})
    assert len(found) == 1
    assert found[0].startswith(path)
    assert problem in found[0]


ROOM = {
    "diagnosis/__init__.py": "",
    "diagnosis/diagnose.py": "from glassgrad.diagnosis.kinds import KINDS",
    "diagnosis/kinds.py": "from glassgrad.diagnosis.loss import overfitting",
    "diagnosis/core/__init__.py": "",
    "diagnosis/core/evidence.py": "",
    "diagnosis/measures/__init__.py": "",
    "diagnosis/measures/flow.py": "from glassgrad.diagnosis.core.evidence import Trial",
    "diagnosis/loss/__init__.py": "",
    "diagnosis/loss/overfitting.py": "from glassgrad.diagnosis.measures.flow import look",
    "diagnosis/neurons/__init__.py": "",
    "diagnosis/neurons/question.py": "from glassgrad.diagnosis.core import evidence",
}


@pytest.mark.parametrize(
    ("path", "source", "problem"),
    [
        ("diagnosis/loss/good.py", "from glassgrad.diagnosis.loss.overfitting import KIND", None),
        ("diagnosis/core/bad.py", "from glassgrad.diagnosis.measures.flow import look", "upwards"),
        (
            "diagnosis/measures/bad.py",
            "def late():\n    import glassgrad.diagnosis.loss.overfitting",
            "upwards",
        ),
        ("diagnosis/loss/bad.py", "from glassgrad.diagnosis.kinds import KINDS", "upwards"),
        ("diagnosis/loss/bad.py", "from glassgrad.diagnosis.neurons import question", "sibling"),
        ("diagnosis/attic.py", "", "no such inner room"),
        ("diagnosis/measures/flow.py", "import glassgrad.diagnosis.measures.flow", "cycle"),
    ],
)
def test_the_walker_sees_each_broken_rule_inside_a_room(path: str, source: str, problem: str | None) -> None:
    assert inner_complaints(ROOM) == []
    found = inner_complaints(ROOM | {path: source})
    assert len(found) == (problem is not None)
    assert problem is None or problem in found[0]


def test_a_cycle_is_seen_by_way_of_others() -> None:
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c", "a"]]
    assert cycles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_only_code_counts_as_code() -> None:
    source = '''"""Two lines
of docstring."""

# a comment
VALUE = """a text
of two lines"""


class Thing:
    """A docstring."""

    def method(self):  # with a comment
        """Another
        docstring."""
        return (
            1
        )
'''
    assert code_lines(source) == 7
