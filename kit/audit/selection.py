"""Source rule `selection`: calls and indexes that select, clamp or drop losses."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kit.audit.patterns import CRITERIA, CRITERION_OPTIONS, LOSSES, SELECTION

PLAIN = ("mean", "sum")
"""Reductions that use every token."""


@dataclass(frozen=True, slots=True)
class LossNodes:
    """Ids of the nodes of one tree that contain a loss or a comparison, at any depth; computed once."""

    losses: frozenset[int]
    comparisons: frozenset[int]


def find_loss_nodes(nodes: Sequence[ast.AST]) -> LossNodes:
    """Find the nodes that contain losses or comparisons. `nodes` lists each node before its children."""
    losses: set[int] = set()
    comparisons: set[int] = set()
    for node in reversed(nodes):  # children first
        inside = [id(child) for child in ast.iter_child_nodes(node)]
        if _is_of_losses(node) or not losses.isdisjoint(inside):
            losses.add(id(node))
        if isinstance(node, ast.Compare) or not comparisons.isdisjoint(inside):
            comparisons.add(id(node))
    return LossNodes(frozenset(losses), frozenset(comparisons))


def selections_in(node: ast.AST, loss_nodes: LossNodes) -> Iterator[str]:
    """Yield each selection of losses by a call or an index; `losses.sort()` gives `sort() of losses`."""
    match node:
        case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)):
            if name in SELECTION and id(node) in loss_nodes.losses:
                yield f"{name}() of losses"
            if name in CRITERIA:
                yield from _options(name, node.keywords)
        case ast.Subscript(slice=where) if (
            id(where) in loss_nodes.comparisons and id(node) in loss_nodes.losses
        ):
            yield "losses selected by a comparison"


def _options(name: str, keywords: list[ast.keyword]) -> Iterator[str]:
    for keyword in keywords:
        plain = isinstance(keyword.value, ast.Constant) and keyword.value.value in PLAIN
        if keyword.arg in CRITERION_OPTIONS and not plain:
            yield f"{name}({keyword.arg}={ast.unparse(keyword.value)[:40]})"


def _is_of_losses(node: ast.AST) -> bool:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return LOSSES.search(name) is not None
    return False
