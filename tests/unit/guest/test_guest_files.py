"""What holds for every file that runs inside an image, and can be seen without running it."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

import kit.guest

FOLDER = Path(kit.guest.__file__).parent
FILES = sorted(
    p.relative_to(FOLDER).as_posix()
    for p in (*FOLDER.glob("*.py"), *FOLDER.glob("modules/*.py"))
    if p.name != "__init__.py"
)
SIBLINGS = {p.stem for p in FOLDER.glob("*.py")}
"""They lie in the same folder of the guest when they need each other."""
MODULES = {p.stem for p in (FOLDER / "modules").glob("*.py")}
"""They lie in the image, beside its wheels."""
ALLOWED = sys.stdlib_module_names | {"torch", "numpy", "tiktoken", "triton"} | SIBLINGS | MODULES


def imported(source: str) -> set[str]:
    """Return the top names of every import, also of those inside functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add("." if node.level else (node.module or "").split(".")[0])
    return found


def test_the_trainer_is_among_the_files() -> None:
    assert "train_reference.py" in FILES


@pytest.mark.parametrize("name", FILES)
def test_a_guest_file_imports_nothing_of_the_kit(name: str) -> None:
    assert imported((FOLDER / name).read_text()) <= ALLOWED


@pytest.mark.parametrize("source", ["import kit.core.digest", "from kit import store", "from . import x"])
def test_an_import_of_the_kit_would_be_seen(source: str) -> None:
    assert not imported(f"def f():\n    {source}\n") <= ALLOWED


def test_no_room_imports_a_guest_file() -> None:
    guest = re.compile(r"(from|import) kit\.guest|from kit import .*guest")
    modules = [p for p in FOLDER.parent.rglob("*.py") if not p.is_relative_to(FOLDER)]
    assert len(modules) > 400
    assert [p for p in modules if guest.search(p.read_text())] == []


@pytest.mark.parametrize("name", FILES)
def test_a_guest_file_compiles_under_the_oldest_python_of_an_image(name: str) -> None:
    ast.parse((FOLDER / name).read_text(), feature_version=(3, 11))
