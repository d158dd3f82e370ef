"""The layers of the package: imports inside ``glassgrad`` go downwards only (see docs/architecture.md).

A floor is a layer; a room is a module or package on a floor. A large room may have floors inside, listed in
``INNER_FLOORS``, to which the same rule applies. Import cycles are not allowed anywhere. The file is one, because the
import walker and its own tests belong together.

This is one file because all rules share the walker over the sources and its house of samples.
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

# Top to bottom. Rooms on one floor are siblings, which do not import each other.
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

# The floors inside large rooms, top to bottom. Inner rooms are named relative to their room.
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

# (room, room that it must not import), although the second lies on a lower floor.
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

# The packages with public names. Their __init__ holds only a lazy listing; every other __init__ is empty.
NAMESPACES = ("", "init", "losses", "nn", "ops", "optim")
LISTING = "__getattr__, __dir__, __all__ = lazy_names"

# By heavy library: the only room whose modules may import it at the top level (None: no room).
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
    """All imports in ``node``. ``at_top`` says whether they run when the module is imported."""
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
    """The room of ``module``, a dotted name relative to ``glassgrad`` or to a room; None if it is in no room."""
    parts = module.split(".")
    prefixes = (".".join(parts[:end]) for end in range(len(parts), 0, -1))
    return next((prefix for prefix in prefixes if prefix in height), None)


def targets(statement: Import, packages: set[str], modules: set[str]) -> Iterator[tuple[str, str | None]]:
    """The modules that ``statement`` imports from glassgrad: (dotted name, error message or None)."""
    if statement.module == "glassgrad":
        yield "", "imports glassgrad itself"
        return
    base = statement.module.removeprefix("glassgrad.")
    children = [f"{base}.{name}" for name in statement.names]
    for target in [child if child in packages | modules else base for child in children] or [base]:
        if target in packages:
            yield target, f"imports the package glassgrad.{target}; name the leaf module"
        elif target not in modules:
            yield target, f"imports glassgrad.{target}, which does not exist"
        else:
            yield target, None


def direction(room: str, other: str) -> str | None:
    """The error message if ``room`` must not import ``other``, else None."""
    if room == other:
        return None
    if HEIGHT[other] == HEIGHT[room] or (room, other) in FORBIDDEN:
        return f"{room} must not know its sibling {other}"
    return f"{room} imports upwards from {other}" if HEIGHT[other] > HEIGHT[room] else None


def inner_direction(
    room: str, module: str, target: str, inner_floors: Mapping[str, tuple[tuple[str, ...], ...]]
) -> str | None:
    """The error message if ``module`` must not import ``target``, both in ``room``; else None."""
    if room not in inner_floors:
        return None
    height = heights(inner_floors[room])
    inner, other = (room_of(name.removeprefix(f"{room}."), height) for name in (module, target))
    if inner is None or other is None or inner == other:
        return None
    if height[inner] == height[other]:
        return f"{room}.{inner} must not know its sibling {room}.{other}"
    return f"{room}.{inner} imports upwards from {room}.{other}" if height[other] > height[inner] else None


def names_in(sources: Mapping[str, str]) -> tuple[dict[str, str], set[str], set[str]]:
    """The dotted names by path, the packages, and the modules of ``sources``."""
    dotted = {path: ".".join(PurePosixPath(path).with_suffix("").parts) for path in sources}
    packages = {name.removesuffix(".__init__") for name in dotted.values() if name.endswith(".__init__")}
    modules = {name for name in dotted.values() if not name.endswith("__init__")}
    return dotted, packages, modules


def violations_in(
    sources: Mapping[str, str], inner_floors: Mapping[str, tuple[tuple[str, ...], ...]] = INNER_FLOORS
) -> list[str]:
    """One line per violation in ``sources`` (source text by path relative to src/glassgrad)."""
    dotted, packages, modules = names_in(sources)
    violations: list[str] = []
    for path, source in sources.items():
        tree = ast.parse(source)
        imports = list(find_imports(tree))
        violations += [f"{path}:{item.line} relative import" for item in imports if item.relative]
        if path == "__init__.py" or path.removesuffix("/__init__.py") in NAMESPACES:
            violations += [f"{path}: {problem}" for problem in listing_problems(path, tree, modules)]
            continue
        room = room_of(dotted[path].removesuffix(".__init__"))
        if path.endswith("__init__.py"):
            name = dotted[path].removesuffix(".__init__")
            if room is None and not any(registered.startswith(name + ".") for registered in HEIGHT):
                violations.append(f"{path}: no such room in FLOORS")
            if [node for node in tree.body if not isinstance(node, ast.Expr)]:
                violations.append(f"{path}: the __init__ of a package without public names stays empty")
            continue
        if room is None:
            violations.append(f"{path}: no such room in FLOORS")
            continue
        inside = dotted[path].removeprefix(f"{room}.")
        if room in inner_floors and room_of(inside, heights(inner_floors[room])) is None:
            violations.append(f"{path}: no such room in INNER_FLOORS of {room}")
        for item in imports:
            top = item.module.split(".")[0]
            if top == "glassgrad" and not item.relative:
                for target, error in targets(item, packages, modules):
                    other = room_of(target)
                    problem = error or (direction(room, other) if other else None)
                    if problem is None and other == room:
                        problem = inner_direction(room, dotted[path], target, inner_floors)
                    violations += [f"{path}:{item.line} {problem}"] if problem else []
            elif top in HEAVY and item.at_top and HEAVY[top] != room:
                allowed_room = HEAVY[top] or "no room"
                violations.append(
                    f"{path}:{item.line} imports {top} at the top level; only {allowed_room} may"
                )
    return violations


def import_cycles(sources: Mapping[str, str]) -> list[str]:
    """The import cycles, including imports inside functions: one line per strongly connected group of modules."""
    dotted, packages, modules = names_in(sources)
    imported: dict[str, set[str]] = {}
    for path, source in sources.items():
        if not path.endswith("__init__.py"):
            imports = (i for i in find_imports(ast.parse(source)) if i.module.split(".")[0] == "glassgrad")
            names = {name for item in imports for name, _ in targets(item, packages, modules)}
            imported[dotted[path]] = names & modules
    reachable = {module: reached_from(module, imported) for module in imported}
    groups = {
        frozenset(other for other in reached if module in reachable[other])
        for module, reached in reachable.items()
        if module in reached
    }
    return sorted(" <-> ".join(sorted(group)) for group in groups)


def reached_from(module: str, imported: Mapping[str, set[str]]) -> set[str]:
    """All modules that ``module`` imports, directly or indirectly. It contains itself only in a cycle."""
    reached: set[str] = set()
    pending = list(imported[module])
    while pending:
        other = pending.pop()
        if other not in reached:
            reached.add(other)
            pending.extend(imported[other])
    return reached


def listing_problems(path: str, tree: ast.Module, modules: set[str]) -> Iterator[str]:
    """The violations in the ``__init__`` of a public namespace: other code, or a name from a wrong room."""
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
        room, other = room_of(path.removesuffix("/__init__.py")), room_of(target)
        if target not in modules:
            yield f"lists names of {module}, which does not exist"
        elif room and other and (problem := direction(room, other)):
            yield problem


def code_lines(source: str) -> int:
    """The number of lines of code, without blank lines, comments and docstrings."""
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
    assert violations_in(sources) == []


def test_no_import_cycles() -> None:
    assert import_cycles(read_sources()) == []


@pytest.mark.parametrize("room", sorted(INNER_FLOORS))
def test_every_inner_room_exists(room: str) -> None:
    folder = PACKAGE.joinpath(*room.split("."))
    for name in heights(INNER_FLOORS[room]):
        path = folder.joinpath(*name.split("."))
        assert path.is_dir() or path.with_suffix(".py").is_file(), name


def test_autodiff_stays_small() -> None:
    sizes = {path: code_lines(text) for path, text in read_sources().items() if path.startswith("autodiff")}
    assert 0 < sum(sizes.values()) <= AUTODIFF_LIMIT, sizes


def test_importing_glassgrad_is_light() -> None:
    heavy = [*HEAVY, "safetensors"]
    script = f"import sys, glassgrad; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# Tests of the import walker itself, on a small made-up package in which each case breaks one rule or none.


def listing(module: str) -> str:
    """The source of an ``__init__`` that lists one name from ``module``."""
    return f'from glassgrad.common.lazy import lazy_names\n{LISTING}(__name__, {{"{module}": ("name",)}})'


SMALL_PACKAGE = {
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


def test_a_valid_package_has_no_violations() -> None:
    assert violations_in(SMALL_PACKAGE) == []


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
def test_the_walker_accepts_valid_sources(path: str, source: str) -> None:
    assert violations_in(SMALL_PACKAGE | {path: source}) == []


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
def test_the_walker_finds_each_violation(path: str, source: str, problem: str) -> None:
    violations = violations_in(SMALL_PACKAGE | {path: source})
    assert len(violations) == 1
    assert violations[0].startswith(path)
    assert problem in violations[0]


INNER = {"nn": (("top",), ("left", "right"), ("low.deep", "low.other"), ("low",))}
INNER_PACKAGE = {
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
def test_the_walker_finds_each_violation_inside_a_room(path: str, source: str, problem: str) -> None:
    (violation,) = violations_in(INNER_PACKAGE | {path: source}, INNER)
    assert violation.startswith(path)
    assert problem in violation


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
def test_the_walker_accepts_valid_sources_inside_a_room(path: str, source: str) -> None:
    assert violations_in(INNER_PACKAGE | {path: source}, INNER) == []


def test_a_room_without_inner_floors_has_no_inner_order() -> None:
    upwards = {"nn/low/new.py": "from glassgrad.nn.top import A", "nn/new.py": ""}
    assert violations_in(INNER_PACKAGE | upwards, {}) == []


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
def test_the_walker_finds_each_cycle(sources: dict[str, str], cycles: list[str]) -> None:
    assert import_cycles(sources) == cycles


def test_code_lines_ignores_blank_lines_comments_and_docstrings() -> None:
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
"""The module that loads public names, which may be on any floor."""


@pytest.mark.parametrize("path", sorted(set(read_sources()) - {LAZY_NAMES}))
def test_no_module_imports_dynamically_except_the_listed_ones(path: str) -> None:
    """The walker above does not see ``sys.modules`` and ``import_module`` with a computed name."""
    assert escapes(read_sources()[path]) == ESCAPES.get(path, [])


def escapes(source: str) -> list[str]:
    """The uses of ``sys.modules`` in ``source``, and of ``import_module`` with a computed name."""
    uses = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.modules":
            uses.append("sys.modules")
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            first = node.args[0] if node.args else None
            if not (isinstance(first, ast.Constant) and isinstance(first.value, str)):
                uses.append(ast.unparse(node))
    return uses


# The allowed uses by path, each with the reason why it does not import upwards.
ESCAPES = {
    # Commands of the command line, in the same room.
    "cli/app.py": ["import_module(f'glassgrad.cli.{name}')"],
    # Modules registered with `add_later`; test_lazily_registered_parts_are_in_the_room_that_registers_them.
    "common/registry.py": ["import_module(self._modules[name])"],
    # The operators of values; test_operators_are_in_the_ops_package.
    "ops/op.py": ["import_module(module)"],
    # Whether NumPy has been loaded.
    "common/constraints.py": ["sys.modules"],
    # Parts of pyarrow.
    "data/arrow_columns.py": ["importlib.import_module(part)"],
    # Backends lie below training; test_backends_are_below_training.
    "training/backends.py": ["import_module(module)"],
    # Whether the table of emitters, in the same room, has been loaded.
    "backends/native/backend.py": ["sys.modules"],
}


def test_dynamic_imports_are_found() -> None:
    assert escapes("import sys\nx = sys.modules['glassgrad']") == ["sys.modules"]
    assert escapes("import_module('glassgrad.' + name)") == ["import_module('glassgrad.' + name)"]
    assert escapes("import_module('glassgrad.nn.layers')") == []


def test_operators_are_in_the_ops_package() -> None:
    from glassgrad.ops.op import ELEMENTWISE, PRODUCTS

    assert {room_of(module.removeprefix("glassgrad.")) for module in (ELEMENTWISE, PRODUCTS)} == {"ops"}


def test_backends_are_below_training() -> None:
    from glassgrad.training.backends import BACKENDS

    rooms = [room_of(module.removeprefix("glassgrad.")) for module, _ in BACKENDS.values()]
    assert all(room is not None and HEIGHT[room] < HEIGHT["training"] for room in rooms)


def test_lazily_registered_parts_are_in_the_room_that_registers_them() -> None:
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
        room = room_of(".".join(PurePosixPath(path).with_suffix("").parts))
        assert room_of(str(module).removeprefix("glassgrad.")) == room
