"""
No module of the kit imports itself in a circle: whichever is imported first, it can be.

The contract `acyclic_siblings` in pyproject.toml is stricter, in that it sees imports in functions and under
TYPE_CHECKING too, but it compares siblings only: a package and its own module are none.
"""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted((REPOSITORY / "kit").rglob("*.py")):
        parts = path.relative_to(REPOSITORY).with_suffix("").parts
        found[".".join(parts).removesuffix(".__init__")] = path
    return found


def imported(body: list[ast.stmt], known: dict[str, Path]) -> Iterator[str]:
    """The modules that these statements import when they are run, those in functions left out."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in known else str(node.module)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.unparse(node.test):
            yield from imported([*node.body, *node.orelse], known)
        elif isinstance(node, ast.Try | ast.With | ast.ClassDef):
            yield from imported(node.body, known)


def test_no_module_imports_itself_in_a_circle():
    known = modules()
    graph = {
        name: {other for other in imported(ast.parse(path.read_text()).body, known) if other in known}
        for name, path in known.items()
    }
    assert len(graph) > 100 and "kit.result.keys" in graph["kit.result.folder"]
    list(graphlib.TopologicalSorter(graph).static_order())  # raises `CycleError`, which names the circle
