"""The floors of the house: imports inside ``glassgrad`` go downwards only (see docs/architecture.md).

Large rooms have floors inside, to which the same rule applies: an entry in ``INNER_FLOORS`` is all that takes. No
module imports itself through others, anywhere.
"""

from __future__ import annotations

import ast
import io
import subprocess
import sys
import tokenize
from collections.abc import Iterable, Iterator, Mapping
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
    ("losses",),
    ("nn", "optim", "backends.reference", "backends.native", "backends.xla"),
    ("init", "backends.base"),
    ("program",),
    ("autodiff", "passes"),
    ("ops",),
    ("graph",),
    ("common",),
)

# The floors inside large rooms, top to bottom: sub-rooms are modules or packages, named from their room on.
INNER_FLOORS: dict[str, tuple[tuple[str, ...], ...]] = {
    "backends.native": (
        ("backend",),
        ("driver",),
        ("codegen",),
        ("kernels", "products"),
        ("plan", "math"),
        ("ir",),
        ("runtime",),
    ),
    "diagnosis": (
        ("diagnose",),
        ("kinds",),
        ("neurons", "learning_rate", "initialization", "loss", "chain_rule"),
        ("measures",),
        ("core",),
    ),
}


def heights(floors: Iterable[Iterable[str]]) -> dict[str, int]:
    """The height of each room of ``floors``."""
    return {room: -floor for floor, rooms in enumerate(floors) for room in rooms}


HEIGHT = heights(FLOORS)

# Layers and optimizers know no backend, although what the backends share lies below them.
FORBIDDEN = {
    ("nn", "backends.base"),
    ("optim", "backends.base"),
    ("optim", "init"),
    ("losses", "optim"),
    ("losses", "init"),
    ("losses", "backends.base"),
    ("losses", "backends.reference"),
    ("losses", "backends.native"),
    ("losses", "backends.xla"),
}

# The packages with public names: their __init__ holds a lazy listing and nothing else. All others are empty.
NAMESPACES = ("", "init", "losses", "nn", "ops", "optim")
LISTING = "__getattr__, __dir__, __all__ = lazy_names"

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


def room_of(module: str, height: Mapping[str, int] = HEIGHT) -> str | None:
    """The room that holds ``module`` (a dotted name below ``glassgrad``, or below a room), or None."""
    parts = module.split(".")
    prefixes = (".".join(parts[:end]) for end in range(len(parts), 0, -1))
    return next((prefix for prefix in prefixes if prefix in height), None)


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


def inner_direction(
    room: str, module: str, target: str, inner_floors: Mapping[str, tuple[tuple[str, ...], ...]]
) -> str | None:
    """What is wrong with ``module`` importing ``target``, both in ``room``, or None (also if it has no floors)."""
    if room not in inner_floors:
        return None
    height = heights(inner_floors[room])
    own, other = (room_of(name.removeprefix(f"{room}."), height) for name in (module, target))
    if own is None or other is None or own == other:
        return None
    if height[own] == height[other]:
        return f"{room}.{own} must not know its sibling {room}.{other}"
    return f"{room}.{own} imports upwards from {room}.{other}" if height[other] > height[own] else None


def names_in(sources: Mapping[str, str]) -> tuple[dict[str, str], set[str], set[str]]:
    """The dotted name of each path, and which of them are packages and modules."""
    dotted = {path: ".".join(PurePosixPath(path).with_suffix("").parts) for path in sources}
    packages = {name.removesuffix(".__init__") for name in dotted.values() if name.endswith(".__init__")}
    modules = {name for name in dotted.values() if not name.endswith("__init__")}
    return dotted, packages, modules


def complaints(
    sources: Mapping[str, str], inner_floors: Mapping[str, tuple[tuple[str, ...], ...]] = INNER_FLOORS
) -> list[str]:
    """Every broken rule in ``sources`` (text by path below src/glassgrad), one line each."""
    dotted, packages, modules = names_in(sources)
    wrong: list[str] = []
    for path, source in sources.items():
        tree = ast.parse(source)
        found = list(find_imports(tree))
        wrong += [f"{path}:{item.line} relative import" for item in found if item.relative]
        if path == "__init__.py" or path.removesuffix("/__init__.py") in NAMESPACES:
            wrong += [f"{path}: {problem}" for problem in listing_problems(path, tree, modules)]
            continue
        room = room_of(dotted[path].removesuffix(".__init__"))
        if path.endswith("__init__.py"):
            name = dotted[path].removesuffix(".__init__")
            if room is None and not any(known.startswith(name + ".") for known in HEIGHT):
                wrong.append(f"{path}: no such room in FLOORS")
            if [node for node in tree.body if not isinstance(node, ast.Expr)]:
                wrong.append(f"{path}: the __init__ of a package without public names stays empty")
            continue
        if room is None:
            wrong.append(f"{path}: no such room in FLOORS")
            continue
        inside = dotted[path].removeprefix(f"{room}.")
        if room in inner_floors and room_of(inside, heights(inner_floors[room])) is None:
            wrong.append(f"{path}: no such room in INNER_FLOORS of {room}")
        for item in found:
            top = item.module.split(".")[0]
            if top == "glassgrad" and not item.relative:
                for target, unfit in targets(item, packages, modules):
                    other = room_of(target)
                    problem = unfit or (direction(room, other) if other else None)
                    if problem is None and other == room:
                        problem = inner_direction(room, dotted[path], target, inner_floors)
                    wrong += [f"{path}:{item.line} {problem}"] if problem else []
            elif top in HEAVY and item.at_top and HEAVY[top] != room:
                place = HEAVY[top] or "no room"
                wrong.append(f"{path}:{item.line} imports {top} at the top level; only {place} may")
    return wrong


def import_cycles(sources: Mapping[str, str]) -> list[str]:
    """The cycles in which modules import one another, inside functions or not: one line for each knot of modules."""
    dotted, packages, modules = names_in(sources)
    imported: dict[str, set[str]] = {}
    for path, source in sources.items():
        if not path.endswith("__init__.py"):
            imports = (i for i in find_imports(ast.parse(source)) if i.module.split(".")[0] == "glassgrad")
            names = {name for item in imports for name, _ in targets(item, packages, modules)}
            imported[dotted[path]] = names & modules
    reachable = {module: reached_from(module, imported) for module in imported}
    knots = {
        frozenset(other for other in reached if module in reachable[other])
        for module, reached in reachable.items()
        if module in reached
    }
    return sorted(" <-> ".join(sorted(knot)) for knot in knots)


def reached_from(module: str, imported: Mapping[str, set[str]]) -> set[str]:
    """Every module that ``module`` imports, at whatever distance; itself only where there is a cycle."""
    reached: set[str] = set()
    waiting = list(imported[module])
    while waiting:
        other = waiting.pop()
        if other not in reached:
            reached.add(other)
            waiting.extend(imported[other])
    return reached


def listing_problems(path: str, tree: ast.Module, modules: set[str]) -> Iterator[str]:
    """What is wrong with the ``__init__`` of a public namespace: other code, or a name from a wrong room."""
    code = [node for node in tree.body if not isinstance(node, ast.Expr)]
    if not code:
        return
    importing, *rest = code
    if ast.unparse(importing) != "from glassgrad.common.lazy import lazy_names" or len(rest) != 1:
        yield "holds more than its lazy listing"
        return
    call = rest[0].value if isinstance(rest[0], ast.Assign) else None
    if not ast.unparse(rest[0]).startswith(f"{LISTING}(__name__, {{") or not isinstance(call, ast.Call):
        yield "holds more than its lazy listing"
        return
    for module in ast.literal_eval(call.args[1]):
        target = module.removeprefix("glassgrad.")
        own, other = room_of(path.removesuffix("/__init__.py")), room_of(target)
        if target not in modules:
            yield f"lists names of {module}, which does not exist"
        elif own and other and (problem := direction(own, other)):
            yield problem


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


def test_no_module_imports_itself_at_whatever_distance() -> None:
    assert import_cycles(read_sources()) == []


@pytest.mark.parametrize("room", sorted(INNER_FLOORS))
def test_every_inner_room_exists(room: str) -> None:
    folder = PACKAGE.joinpath(*room.split("."))
    for name in heights(INNER_FLOORS[room]):
        place = folder.joinpath(*name.split("."))
        assert place.is_dir() or place.with_suffix(".py").is_file(), name


def test_autodiff_stays_small() -> None:
    sizes = {path: code_lines(text) for path, text in read_sources().items() if path.startswith("autodiff")}
    assert 0 < sum(sizes.values()) <= AUTODIFF_LIMIT, sizes


def test_importing_glassgrad_is_light() -> None:
    heavy = [*HEAVY, "safetensors"]
    script = f"import sys, glassgrad; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# The walker itself: a made-up house in which each line breaks one rule, or none.


def listing(module: str) -> str:
    """The source of an ``__init__`` that lists one name of ``module``."""
    return f'from glassgrad.common.lazy import lazy_names\n{LISTING}(__name__, {{"{module}": ("name",)}})'


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
    "backends/native/codegen/module.py": "from llvmlite import ir",
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
        ("__init__.py", listing("glassgrad.nn.layers")),
        ("nn/__init__.py", listing("glassgrad.nn.layers")),
        ("nn/__init__.py", listing("glassgrad.graph.node")),
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
        ("backends/native/ir/bad.py", "from glassgrad.backends.xla import lower", "sibling"),
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
        ("graph/__init__.py", "from glassgrad.common.errors import InputError", "stays empty"),
        ("nn/__init__.py", "from glassgrad.nn.layers import Dense", "more than its lazy listing"),
        ("nn/__init__.py", listing("glassgrad.nn.layers") + "\nimport jax", "more than its lazy listing"),
        ("nn/__init__.py", listing("glassgrad.optim.adam"), "sibling"),
        ("nn/__init__.py", listing("glassgrad.cli.main"), "upwards"),
        ("nn/__init__.py", listing("glassgrad.nn.gone"), "does not exist"),
        ("__init__.py", "from glassgrad.nn.layers import Dense", "more than its lazy listing"),
        ("__init__.py", "import glassgrad.common.lazy\nDense = 1", "more than its lazy listing"),
        ("__init__.py", listing("glassgrad.nn.gone"), "does not exist"),
        ("nn/bad.py", "import jax.numpy as jnp", "only backends.xla"),
        ("nn/bad.py", "class Eager:\n    import jax", "only backends.xla"),
        ("nn/bad.py", "try:\n    from rich.table import Table\nexcept ImportError:\n    pass", "only cli"),
        ("backends/xla.py", "import llvmlite", "only backends.native"),
        ("cli/bad.py", "import pandas", "only no room"),
    ],
)
def test_the_walker_sees_each_broken_rule(path: str, source: str, problem: str) -> None:
    found = complaints(HOUSE | {path: source})
    assert len(found) == 1
    assert found[0].startswith(path)
    assert problem in found[0]


INNER = {"nn": (("top",), ("left", "right"), ("low.deep", "low.other"), ("low",))}
INNER_HOUSE = {
    "common/__init__.py": "",
    "common/errors.py": "",
    "optim/adam.py": "",
    "nn/__init__.py": "",
    "nn/top.py": "",
    "nn/left/__init__.py": "",
    "nn/left/a.py": "",
    "nn/right/__init__.py": "",
    "nn/right/b.py": "",
    "nn/low/__init__.py": "",
    "nn/low/deep.py": "",
    "nn/low/other.py": "",
    "nn/low/rest.py": "",
}


@pytest.mark.parametrize(
    ("path", "source", "problem"),
    [
        ("nn/left/new.py", "from glassgrad.nn.top import A", "upwards from nn.top"),
        ("nn/left/new.py", "def late():\n    from glassgrad.nn import top", "upwards from nn.top"),
        (
            "nn/left/new.py",
            "from importlib import import_module\nimport_module('glassgrad.nn.top')",
            "upwards",
        ),
        ("nn/left/new.py", "from glassgrad.nn.right.b import B", "sibling nn.right"),
        ("nn/low/rest.py", "from glassgrad.nn.low.deep import D", "upwards from nn.low.deep"),
        ("nn/low/deep.py", "from glassgrad.nn.low.other import D", "sibling nn.low.other"),
        ("nn/new.py", "", "no such room in INNER_FLOORS of nn"),
        ("nn/new/part.py", "", "no such room in INNER_FLOORS of nn"),
        ("nn/top.py", "from glassgrad.nn.low import gone\n", "leaf module"),
        ("nn/low/rest.py", "from glassgrad.optim.adam import Adam", "sibling optim"),
    ],
)
def test_the_walker_sees_each_broken_rule_inside_a_room(path: str, source: str, problem: str) -> None:
    (complaint,) = complaints(INNER_HOUSE | {path: source}, INNER)
    assert complaint.startswith(path)
    assert problem in complaint


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("nn/top.py", "from glassgrad.nn.left import a\nfrom glassgrad.nn.low.rest import C"),
        ("nn/left/new.py", "from glassgrad.nn.left.a import A"),
        ("nn/low/deep.py", "from glassgrad.nn.low.rest import C"),
        ("nn/low/rest.py", "from glassgrad.common.errors import InputError"),
        ("cli/new.py", "from glassgrad.nn.low.rest import C"),
    ],
)
def test_the_walker_lets_sound_sources_pass_inside_a_room(path: str, source: str) -> None:
    assert complaints(INNER_HOUSE | {path: source}, INNER) == []


def test_a_room_without_floors_inside_orders_nothing() -> None:
    upwards = {"nn/low/new.py": "from glassgrad.nn.top import A", "nn/new.py": ""}
    assert complaints(INNER_HOUSE | upwards, {}) == []


@pytest.mark.parametrize(
    ("sources", "cycles"),
    [
        ({"a.py": "from glassgrad.b import B", "b.py": "from glassgrad.c import C", "c.py": ""}, []),
        ({"a.py": "from glassgrad.a import A"}, ["a"]),
        ({"a.py": "from glassgrad.b import B", "b.py": "import glassgrad.a"}, ["a <-> b"]),
        (
            {"a.py": "from glassgrad.b import B", "b.py": "def late():\n    from glassgrad.a import A"},
            ["a <-> b"],
        ),
        (
            {
                "a.py": "from glassgrad.b import B",
                "b.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from glassgrad.a import A",
            },
            ["a <-> b"],
        ),
        (
            {"a.py": "import_module('glassgrad.b')", "b.py": "from glassgrad.a import A"},
            ["a <-> b"],
        ),
        (
            {
                "r/__init__.py": "",
                "r/a.py": "from glassgrad.r import b",
                "r/b.py": "from glassgrad.r.c import C",
                "r/c.py": "from glassgrad.r.a import A",
                "r/d.py": "from glassgrad.r.a import A",
                "e.py": "from glassgrad.f import F",
                "f.py": "from glassgrad.e import E",
            },
            ["e <-> f", "r.a <-> r.b <-> r.c"],
        ),
    ],
)
def test_the_walker_sees_each_cycle(sources: dict[str, str], cycles: list[str]) -> None:
    assert import_cycles(sources) == cycles


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


LAZY_NAMES = "common/lazy.py"
"""It serves the public names, which may lie on any floor."""


@pytest.mark.parametrize("path", sorted(set(read_sources()) - {LAZY_NAMES}))
def test_no_module_reaches_another_floor_through_sys_modules(path: str) -> None:
    """``sys.modules`` and ``import_module`` of a name that is computed would escape the walker above."""
    assert escapes(read_sources()[path]) == ESCAPES.get(path, [])


def escapes(source: str) -> list[str]:
    """The uses of ``sys.modules`` in ``source``, and of ``import_module`` with a name that is not written out."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.modules":
            found.append("sys.modules")
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            first = node.args[0] if node.args else None
            if not (isinstance(first, ast.Constant) and isinstance(first.value, str)):
                found.append(ast.unparse(node))
    return found


# Each with the reason why it does not lead upwards.
ESCAPES = {
    # Commands of the command line, in their own room.
    "cli/app.py": ["import_module(f'glassgrad.cli.{name}')"],
    # Modules that register their parts with `add_later`; test_parts_that_load_later_lie_in_the_room_that_names_them.
    "common/registry.py": ["import_module(self._modules[name])"],
    # The operators of values; test_operators_lie_in_the_room_of_ops.
    "ops/op.py": ["import_module(module)"],
    # Whether NumPy has been loaded.
    "common/constraints.py": ["sys.modules"],
    # Parts of pyarrow.
    "data/arrow_columns.py": ["importlib.import_module(part)"],
    # Backends lie below training; test_backends_are_found_below_training.
    "training/backends.py": ["import_module(module)"],
    # Whether the room's own table of emitters has been loaded.
    "backends/native/backend.py": ["sys.modules"],
}


def test_the_escapes_are_seen() -> None:
    assert escapes("import sys\nx = sys.modules['glassgrad']") == ["sys.modules"]
    assert escapes("import_module('glassgrad.' + name)") == ["import_module('glassgrad.' + name)"]
    assert escapes("import_module('glassgrad.nn.layers')") == []


def test_operators_lie_in_the_room_of_ops() -> None:
    from glassgrad.ops.op import ELEMENTWISE, PRODUCTS

    assert {room_of(module.removeprefix("glassgrad.")) for module in (ELEMENTWISE, PRODUCTS)} == {"ops"}


def test_backends_are_found_below_training() -> None:
    from glassgrad.training.backends import BACKENDS

    rooms = [room_of(module.removeprefix("glassgrad.")) for module, _ in BACKENDS.values()]
    assert all(room is not None and HEIGHT[room] < HEIGHT["training"] for room in rooms)


def test_parts_that_load_later_lie_in_the_room_that_names_them() -> None:
    calls = [
        (path, node.args[0].value)
        for path, source in read_sources().items()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).endswith(".add_later")
        and isinstance(node.args[0], ast.Constant)
    ]
    assert calls
    for path, module in calls:
        own = room_of(".".join(PurePosixPath(path).with_suffix("").parts))
        assert room_of(str(module).removeprefix("glassgrad.")) == own
