"""Find the settings in a script that select its validation tokens."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from kit.audit.patterns import OFFICIAL, OFFICIAL_TOKENS, VALIDATION


def settings(node: ast.AST) -> Iterator[str]:
    """Yield every assignment of the validation's size or files."""
    pairs: list[tuple[str, ast.expr | None]] = []
    match node:
        case ast.Assign(targets=targets, value=value):
            pairs = [
                (t.id if isinstance(t, ast.Name) else t.attr, value)
                for t in targets
                if isinstance(t, ast.Name | ast.Attribute)
            ]
        case (
            ast.AnnAssign(target=ast.Name(id=name), value=value)
            | ast.AugAssign(target=ast.Name(id=name), value=value)
        ):
            pairs = [(name, value)]
        case ast.keyword(arg=str(name), value=value):
            pairs = [(name, value)]
    for name, value in pairs:
        if VALIDATION.fullmatch(name.lower()) and value is not None and (text := _value(value)):
            yield f"{name.lower()} = {text}"


def _value(node: ast.expr) -> str:
    """Format a value; empty for the official validation window, with any batch size."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.FloorDiv):
        by = node.left
        if (by.attr if isinstance(by, ast.Attribute) else getattr(by, "id", "")) == "val_tokens":
            return ""
    if isinstance(node, ast.Constant) and node.value in OFFICIAL:
        return ""
    number = _product(node)
    if number is not None:
        return "" if number == OFFICIAL_TOKENS else str(number)
    return ast.unparse(node)[:120]


def _product(node: ast.expr) -> int | None:
    match node:
        case ast.Constant(value=int(value)):
            return value
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            a, b = _product(left), _product(right)
            return None if a is None or b is None else a * b
    return None
