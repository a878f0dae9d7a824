"""How a script picks among its losses, bounds them or leaves some out, for the source rules."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from kit.audit.patterns import CRITERIA, CRITERION_OPTIONS, LOSSES, SELECTION

PLAIN = ("mean", "sum")
"""Reductions that take every token."""


def picked(node: ast.AST) -> Iterator[str]:
    """Yield what is done to losses by a call or an index; `losses.sort()` is one of `sort of losses`."""
    match node:
        case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)):
            if name in SELECTION and _of_losses(node):
                yield f"{name} of losses"
            if name in CRITERIA:
                yield from _options(name, node.keywords)
        case ast.Subscript(slice=where) if _compares(where) and _of_losses(node):
            yield "losses picked by a comparison"


def _options(name: str, keywords: list[ast.keyword]) -> Iterator[str]:
    for keyword in keywords:
        plain = isinstance(keyword.value, ast.Constant) and keyword.value.value in PLAIN
        if keyword.arg in CRITERION_OPTIONS and not plain:
            yield f"{name}({keyword.arg}={ast.unparse(keyword.value)[:40]})"


def _of_losses(node: ast.AST) -> bool:
    names = (n.id if isinstance(n, ast.Name) else n.attr for n in ast.walk(node) if isinstance(n, _NAMED))
    return any(LOSSES.search(name) for name in names)


def _compares(node: ast.AST) -> bool:
    return any(isinstance(n, ast.Compare) for n in ast.walk(node))


_NAMED = (ast.Name, ast.Attribute)
