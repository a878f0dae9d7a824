"""
Resolve dotted names to full names for the fatal rules.

After `import torch.distributed as d`, `d.all_reduce` is `torch.distributed.all_reduce`.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass

from kit.audit.patterns import MAX_PARTS, REACHED


@dataclass(frozen=True, slots=True)
class ImportedNames:
    """Local names of imported objects."""

    full: dict[str, str]
    """Full name by local name."""
    roots: frozenset[str]
    """First parts of the full names."""
    meanings: Mapping[int, frozenset[str]]
    """Further full names of name and attribute nodes, by node id."""


_CUT = "…"
"""Replaces the first parts of a name that is too long."""


def imported_names(nodes: list[ast.AST], meanings: Mapping[int, frozenset[str]]) -> ImportedNames:
    """Map local names to full names: imports and simple aliases of them."""
    full: dict[str, str] = {}
    for node in nodes:
        match node:
            case ast.Import(names=aliases):
                for a in aliases:
                    full[a.asname or a.name.split(".")[0]] = a.name if a.asname else a.name.split(".")[0]
            case ast.ImportFrom(module=str(module), names=aliases):
                full |= {a.asname or a.name: f"{module}.{a.name}" for a in aliases}
    names = ImportedNames(full, frozenset({_CUT, *(name.split(".")[0] for name in full.values())}), meanings)
    for node in nodes:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Name() | ast.Attribute() as value):
                dotted = dotted_name(value, names)
                if dotted.split(".")[0] in names.roots and name not in full:
                    full[name] = dotted
    return names


def dotted_name(node: ast.expr, names: ImportedNames) -> str:
    """
    Return the full form of a dotted name; empty for any other expression.

    A name that goes through several modules begins with the last of them. Of a name longer than `MAX_PARTS`
    only the last parts are returned.
    """
    parts: list[str] = []
    while isinstance(node, ast.Attribute) and len(parts) < MAX_PARTS:
        parts.append(node.attr)
        node = node.value
    if isinstance(node, ast.Name):
        parts += reversed(names.full.get(node.id, node.id).split("."))
    elif parts:
        parts.append(_CUT if isinstance(node, ast.Attribute) else "?")
    if parts and parts[-1] in names.roots:
        again = next((n for n, part in enumerate(parts[1:-1], 1) if part in REACHED), len(parts))
        parts = parts[: again + 1]
    return ".".join(reversed(parts))


def full_names(node: ast.expr, names: ImportedNames) -> list[str]:
    """Return every full name of a name or dotted name, the direct one first."""
    plain = dotted_name(node, names)
    more = names.meanings.get(id(node))
    return [plain] if more is None else [plain, *sorted(more - {plain})]
