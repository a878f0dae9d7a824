"""Names in the tree: one class name has one meaning, modules that are named exist, files of tests differ."""

from __future__ import annotations

import ast
import importlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
KIT = REPOSITORY / "kit"
MENTION = re.compile(r"(?<![\w./-])kit((?:\.[A-Za-z_]\w*)+|(?:/[\w-]+)+(?:\.\w+)*)")
"""`kit.core.store` or `kit/core/store.py`, but not `speedrun-kit.run`."""
MOVED = (
    "bundle", "deadlines", "digest", "engine", "errors", "facts", "fidelity", "hints", "imagetest",
    "logfile", "metrics", "records", "report", "run", "schema", "store", "submission", "submit", "tasks",
    "transfer",
)  # fmt: skip
"""Modules of version 0.1.0 that lay directly in kit/, and are now in rooms."""


def written() -> Iterator[Path]:
    """
    Yield every file that people write.

    Not those whose bytes are fixed (records/, images/, hints/, kit/guest/, tests/assets/golden), and not
    CHANGELOG.md: they may name modules of the past.
    """
    fixed = (KIT / "guest", REPOSITORY / "tests" / "assets" / "golden")
    for room in ("kit", "tests", "docs", "benchmarks"):
        for path in sorted((REPOSITORY / room).rglob("*")):
            if path.suffix in (".py", ".md", ".toml", ".nix") and not any(map(path.is_relative_to, fixed)):
                yield path
    yield from (REPOSITORY / name for name in ("Makefile", "flake.nix", "pyproject.toml", ".ci/run"))
    yield from (p for p in sorted(REPOSITORY.glob("*.md")) if p.name != "CHANGELOG.md")


def stale(mention: str) -> bool:
    """
    Tell whether `.core.stores` or `/core/stores.py` names a module that is not in the package.

    A first part that is no room counts only if it is in `MOVED`: `kit.version` is a field of a variable.
    What stands after a module, its attributes, is not checked.
    """
    dotted = mention.startswith(".")
    first, *rest = mention[1:].split("." if dotted else "/")
    if not (KIT / first).is_dir():
        return first.removesuffix(".py") in MOVED
    if not dotted:
        return not any((KIT / f"{mention[1:]}{ending}").exists() for ending in ("", ".py"))
    place = KIT / first
    for part in rest:
        if (place / f"{part}.py").is_file():
            return False
        if not (place / part).is_dir():
            inside = (place / "__init__.py").read_text()
            return not part.startswith("__") and re.search(rf"\b{part}\b", inside) is None
        place /= part
    return False


def test_no_class_name_is_defined_twice():
    places = defaultdict(list)
    for path in sorted(KIT.rglob("*.py")):
        if not path.is_relative_to(KIT / "guest"):
            for node in ast.walk(ast.parse(path.read_bytes())):
                if isinstance(node, ast.ClassDef):
                    places[node.name].append(f"{path.relative_to(REPOSITORY)}:{node.lineno}")
    assert len(places) > 100
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_no_two_files_of_tests_have_one_name():
    """pytest imports them by this name, so a run over all of tests/ would stop before its first test."""
    names = Counter(path.name for path in (REPOSITORY / "tests").rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []


def test_every_module_that_is_named_exists():
    wrong = [
        f"{path.relative_to(REPOSITORY)}: kit{mention}"
        for path in written()
        for mention in MENTION.findall(path.read_text())
        if stale(mention)
    ]
    assert wrong == []


@pytest.mark.parametrize("old", MOVED)
def test_a_module_of_before_the_rooms_is_found(old):
    for text in (f"import kit.{old}.x", f"see kit/{old}/x.py", f"`kit/{old}.py`", f"`kit.{old}`"):
        (mention,) = MENTION.findall(text)
        assert stale(mention), text


def test_what_is_in_the_package_is_not_stale():
    for text in ("kit.core.store.Store", "kit/core/store.py", "kit.core.schema.parse_toml", "kit/guest/"):
        (mention,) = MENTION.findall(text)
        assert not stale(mention), text
    assert stale(".core.stores") and stale("/core/stores.py") and MENTION.findall("speedrun-kit.run") == []


def test_every_name_that_a_benchmark_imports_from_the_kit_exists():
    """No other test runs the benchmarks."""
    imported = {
        (node.module, alias.name)
        for path in (REPOSITORY / "benchmarks").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "kit"
        for alias in node.names
    }
    assert len(imported) > 50
    missing = [
        f"{module}.{name}"
        for module, name in sorted(imported)
        if not hasattr(importlib.import_module(module), name)
        and not list((REPOSITORY / module.replace(".", "/")).glob(f"{name}*"))
    ]
    assert missing == []
