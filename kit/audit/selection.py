"""How a script picks among its losses, bounds them or leaves some out, for the source rules."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from kit.audit.patterns import CRITERIA, CRITERION_OPTIONS, LOSSES, SELECTION

PLAIN = ("mean", "sum")
"""Reductions that take every token."""


@dataclass(frozen=True, slots=True)
class LossNodes:
    """Ids of the nodes of one tree in which something stands, at any depth; looked for once, not at each."""

    losses: frozenset[int]
    comparisons: frozenset[int]


def find_loss_nodes(nodes: Sequence[ast.AST]) -> LossNodes:
    """Look for names of losses and comparisons among a tree's nodes, each before those in it."""
    losses: set[int] = set()
    comparisons: set[int] = set()
    for node in reversed(nodes):  # what is in a node comes before it
        inside = [id(child) for child in ast.iter_child_nodes(node)]
        if _is_of_losses(node) or not losses.isdisjoint(inside):
            losses.add(id(node))
        if isinstance(node, ast.Compare) or not comparisons.isdisjoint(inside):
            comparisons.add(id(node))
    return LossNodes(frozenset(losses), frozenset(comparisons))


def selections_in(
    node: ast.AST, loss_nodes: LossNodes, called: Collection[str], handed: Collection[str]
) -> Iterator[str]:
    """
    Yield what is done to losses by a call or an index; `losses.sort()` is one of `sort of losses`.

    `called` are the last parts of the names of what is called, `handed` of what `functools.partial` gets.
    """
    match node:
        case ast.Call(args=args, keywords=keywords):
            for name in sorted(SELECTION.intersection(called)):
                if id(node) in loss_nodes.losses:
                    yield f"{name} of losses"
            for name in sorted(CRITERIA.keys() & called):
                yield from _options(name, args, keywords)
            for name in sorted(CRITERIA.keys() & handed):
                yield from _options(name, args[1:], keywords)
        case ast.Subscript(slice=where) if (
            id(where) in loss_nodes.comparisons and id(node) in loss_nodes.losses
        ):
            yield "losses picked by a comparison"


def _options(name: str, args: list[ast.expr], keywords: list[ast.keyword]) -> Iterator[str]:
    for keyword in keywords:
        plain = isinstance(keyword.value, ast.Constant) and keyword.value.value in PLAIN
        if keyword.arg is None or (keyword.arg in CRITERION_OPTIONS and not plain):
            yield f"{name}({keyword.arg or '**'}={ast.unparse(keyword.value)[:40]})"
    for arg in (*args[CRITERIA[name] :], *(a for a in args[: CRITERIA[name]] if isinstance(a, ast.Starred))):
        yield f"{name}({ast.unparse(arg)[:40]}) by its place"


def _is_of_losses(node: ast.AST) -> bool:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return LOSSES.search(name) is not None
    return False
