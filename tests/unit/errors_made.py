"""A whole run of the unit tests makes every error of the kit at least once, wherever the kit makes one."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kit.core import errors

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def places() -> Iterator[str]:
    """Yield each place in kit/ that makes an error, as file:line; the guest's files know none."""
    paths = [p for p in (ROOT / "kit").rglob("*.py") if not p.is_relative_to(ROOT / "kit" / "guest")]
    trees = {p: ast.parse(p.read_bytes()) for p in paths}
    kinds = {name for name, kind in vars(errors).items() if isinstance(kind, type)}
    for node in (n for tree in trees.values() for n in ast.walk(tree) if isinstance(n, ast.ClassDef)):
        if any(isinstance(base, ast.Name) and base.id in kinds for base in node.bases):
            kinds.add(node.name)
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in kinds:
                yield f"{path.relative_to(ROOT)}:{node.lineno}"


class ErrorsMade:
    """Notes where errors are made, in every worker; compares at the end of a run of all unit tests."""

    def __init__(self) -> None:
        self.made: set[str] = set()
        self.missing: list[str] = []
        plain = errors.KitError.__init__

        def noted(error: errors.KitError, *arguments: str, **named: str) -> None:
            maker = sys._getframe(1)
            path = Path(maker.f_code.co_filename)
            if path.is_relative_to(ROOT / "kit"):
                self.made.add(f"{path.relative_to(ROOT)}:{maker.f_lineno}")
            plain(error, *arguments, **named)

        errors.KitError.__init__ = noted

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        self.made.update(getattr(node, "workeroutput", {}).get("errors made", ()))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput["errors made"] = sorted(self.made)
        elif session.exitstatus == 0 and _whole(session.config):
            self.missing = sorted(set(places()) - self.made)
            session.exitstatus = 1 if self.missing else 0

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        for place in self.missing:
            terminalreporter.write_line(f"FAILED {place}: no unit test makes this error", red=True)


def _whole(config: pytest.Config) -> bool:
    """Tell whether all unit tests were asked for, by root: others skip what root alone is refused."""
    chosen = ("keyword", "markexpr", "deselect", "ignore", "lf", "collectonly")
    asked = [Path(argument).resolve() for argument in config.args]
    return os.geteuid() == 0 and asked == [HERE] and not any(getattr(config.option, c, None) for c in chosen)
