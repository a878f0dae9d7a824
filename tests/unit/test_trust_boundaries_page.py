"""docs/reference/trust-boundaries.md names functions that exist, and every module that signs."""

from __future__ import annotations

import ast
import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs" / "reference" / "trust-boundaries.md").read_text()


def defined(path: str) -> set[str]:
    names = set()
    for node in ast.parse((REPOSITORY / path).read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{f.name}" for f in node.body if isinstance(f, ast.FunctionDef)}
    return names


def test_every_function_that_the_page_names_exists():
    named = re.findall(r"`(kit/[\w/]+\.py):([\w.]+)`", PAGE)
    assert len(named) > 30
    assert [(path, name) for path, name in named if name not in defined(path)] == []


def test_every_module_that_signs_is_on_the_page():
    """Whoever calls `seal` signs; the page says what that depends on."""
    by_name = re.compile(r"\bseal\(")
    signing = {
        path.relative_to(REPOSITORY).as_posix()
        for path in (REPOSITORY / "kit").rglob("*.py")
        if by_name.search(path.read_text()) and path.name != "keys.py"
    }
    assert {path for path in signing if path not in PAGE} <= {"kit/result/reservation.py"}
