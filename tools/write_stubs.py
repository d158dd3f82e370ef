"""Write the type stub of each public namespace from its lazy listing.

    python tools/write_stubs.py

Type checkers and editors cannot see names that are loaded on first use. The stub beside each listing
(``__init__.pyi``) says which module each name comes from. Do not edit it: change the listing, then run this script.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "glassgrad"
WIDTH = 110


def read_listing(path: Path) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """The arguments of ``lazy_names`` in an ``__init__.py``: the public names by module, and the namespaces."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "lazy_names":
            namespaces = [item.value for item in node.keywords if item.arg == "namespaces"]
            return ast.literal_eval(node.args[1]), ast.literal_eval(namespaces[0]) if namespaces else ()
    raise ValueError(f"{path} has no listing")


def stub(names_by_module: Mapping[str, Sequence[str]], namespaces: Sequence[str] = ()) -> str:
    """The text of the stub."""
    lines = [_import("glassgrad", namespaces)] if namespaces else []
    lines += [_import(module, names_by_module[module]) for module in sorted(names_by_module)]
    public_names = sorted({*namespaces, *(name for names in names_by_module.values() for name in names)})
    entries = "".join(f'    "{name}",\n' for name in public_names)
    return "# Written by tools/write_stubs.py.\n\n" + "\n".join(lines) + f"\n\n__all__ = [\n{entries}]\n"


def _import(module: str, names: Sequence[str]) -> str:
    parts = [f"{name} as {name}" for name in sorted(names)]
    line = f"from {module} import {', '.join(parts)}"
    return line if len(line) <= WIDTH else f"from {module} import (\n    " + ",\n    ".join(parts) + ",\n)"


def stubs() -> dict[Path, str]:
    """The text of every stub, by its path."""
    _, namespaces = read_listing(PACKAGE / "__init__.py")
    folders = [PACKAGE, *(PACKAGE / name for name in namespaces)]
    return {folder / "__init__.pyi": stub(*read_listing(folder / "__init__.py")) for folder in folders}


if __name__ == "__main__":
    for path, text in stubs().items():
        path.write_text(text, encoding="utf-8")
        print(path)
