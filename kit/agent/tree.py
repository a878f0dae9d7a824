"""
The tree of a search: a pure fold of the journal's events, and questions about it.

Node 0 is the start script. It is valid, has no parent, and its time is the reference time of the spec.
Control nodes are part of the tree, but no scaffold sees them.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass, replace

from kit.agent.events import (
    BudgetStopped,
    Decided,
    EvaluationEnded,
    Event,
    NodeEnded,
    NodeReserved,
    RunEnded,
    RunStarted,
)
from kit.agent.node import Action, ActionKind, EvaluationStatus, Node, NodeStatus
from kit.core.errors import IntegrityError

START = 0
"""The id of the start script."""


@dataclass(frozen=True, slots=True)
class Tree:
    """What the journal says about the search so far."""

    nodes: tuple[Node, ...] = ()
    """In the order of reservation: node n is at index n - 1."""
    start_ms: float | None = None
    """Reference time of the start script in milliseconds."""
    start_sd_ms: float | None = None
    decisions: int = 0
    """Decisions so far, with that of the control nodes."""
    pending: tuple[Action, ...] = ()
    """Actions that are decided and not yet reserved."""
    batch: tuple[int, ...] = ()
    """Nodes that were reserved since the last decision."""
    stopped: BudgetStopped | None = None
    ended: RunEnded | None = None

    def node(self, node_id: int) -> Node:
        """Return a node by its id, from 1."""
        if not 1 <= node_id <= len(self.nodes):
            raise IntegrityError(f"the journal has no node {node_id}")
        return self.nodes[node_id - 1]

    @property
    def searched(self) -> tuple[Node, ...]:
        """The nodes that count into a scaffold's number: all but controls."""
        return tuple(node for node in self.nodes if node.action.kind is not ActionKind.CONTROL)

    @property
    def open(self) -> Node | None:
        """The node that has not ended, if any."""
        return next((node for node in self.nodes if node.status is None), None)

    def children(self, node_id: int) -> tuple[Node, ...]:
        """Return the search nodes made from a node, in the order of reservation."""
        return tuple(node for node in self.searched if node.action.parent == node_id)

    def time_ms(self, node_id: int) -> float | None:
        """Return the time of a node that reached the target loss; for the start, its reference time."""
        if node_id == START:
            return self.start_ms
        node = self.node(node_id)
        valid = node.status is not None and node.status.valid and node.evaluation is not None
        return node.evaluation.time_ms if valid and node.evaluation else None

    def best(self) -> int:
        """
        Return the id of the fastest valid script of the whole tree; START if none is faster than the start.

        Of equal times, the earlier node. A start without a reference time is slower than any valid node.
        """
        return fastest(self, (START, *(node.id for node in self.searched)))

    def winner(self) -> int | None:
        """Return the fastest valid node, even if it is slower than the start; None without a valid node."""
        timed = [node.id for node in self.searched if self.time_ms(node.id) is not None]
        return fastest(self, timed) if timed else None

    def is_leaf(self, node_id: int) -> bool:
        """
        Tell whether a node has no child with a script of its own.

        A child that ended without a script (no answer, a refused edit, an infrastructure failure) has changed
        nothing: its parent can be tried again.
        """
        return not any(child.status is None or has_script(child) for child in self.children(node_id))

    def bug_depth(self, node_id: int) -> int:
        """Return the number of buggy nodes in a row that end in this one; 0 if it is not buggy."""
        depth = 0
        while node_id != START and _is_buggy(self.node(node_id)):
            depth += 1
            node_id = self.node(node_id).action.parent
        return depth

    def buggy_leaves(self, max_bug_depth: int) -> tuple[int, ...]:
        """Return the ids of the leaves that may be debugged, in the order of reservation."""
        return tuple(
            node.id
            for node in self.searched
            if _is_buggy(node) and self.is_leaf(node.id) and self.bug_depth(node.id) <= max_bug_depth
        )

    def stable_ancestor(self, node_id: int) -> int:
        """Return the nearest valid script on the way from a node to the start, the node itself included."""
        while node_id != START and not _is_valid(self.node(node_id)):
            node_id = self.node(node_id).action.parent
        return node_id

    def descendants(self, node_id: int, levels: int) -> tuple[Node, ...]:
        """Return the search nodes at most `levels` below a node, in the order of reservation."""
        found: list[Node] = []
        generation = {node_id}
        for _ in range(levels):
            below = [node for node in self.searched if node.action.parent in generation]
            found += below
            generation = {node.id for node in below}
        return tuple(sorted(found, key=lambda node: node.id))


def fastest(tree: Tree, candidates: Iterable[int], prefer_later: bool = False) -> int:
    """Return the candidate with the lowest time; START if none has a time. Ties: the earlier node."""
    timed = [(time, i) for i in candidates if (time := tree.time_ms(i)) is not None]
    return (
        min(timed, key=lambda pair: (pair[0], -pair[1] if prefer_later else pair[1]))[1] if timed else START
    )


def has_script(node: Node) -> bool:
    """Tell whether a node was evaluated, so that it can have children."""
    return node.status is not None and (node.status.valid or node.status.buggy)


def _is_buggy(node: Node) -> bool:
    return node.status is not None and node.status.buggy


def _is_valid(node: Node) -> bool:
    return node.status is not None and node.status.valid


def fold(events: Iterable[Event]) -> Tree:
    """Return the tree that the events of a journal describe. Raises `IntegrityError` if they contradict."""
    return functools.reduce(apply, events, Tree())


def apply(tree: Tree, event: Event) -> Tree:
    """Return the tree after one more event. Raises `IntegrityError` if the event cannot follow."""
    if tree.ended is not None and isinstance(event, Decided | NodeReserved | NodeEnded):
        raise IntegrityError("the journal goes on after the end of its run")
    match event:
        case RunStarted():
            reference = event.spec.evaluation
            return replace(tree, start_ms=reference.start_ms, start_sd_ms=reference.start_sd_ms)
        case Decided():
            return replace(tree, decisions=event.decision + 1, pending=event.actions, batch=())
        case NodeReserved():
            return _reserve(tree, event)
        case EvaluationEnded() if event.outcome.status is not EvaluationStatus.CANCELLED:
            return _change(tree, replace(tree.node(event.node), evaluation=event.outcome))
        case NodeEnded():
            return _end(tree, event)
        case BudgetStopped():
            return replace(tree, stopped=event)
        case RunEnded():
            return replace(tree, ended=event)
        case _:
            return tree


def _reserve(tree: Tree, event: NodeReserved) -> Tree:
    if event.node != len(tree.nodes) + 1 or tree.pending[:1] != (event.action,) or tree.open is not None:
        raise IntegrityError(f"the journal reserves node {event.node} out of order")
    node = Node(event.node, event.action, None)
    return replace(tree, nodes=(*tree.nodes, node), pending=tree.pending[1:], batch=(*tree.batch, event.node))


def _end(tree: Tree, event: NodeEnded) -> Tree:
    node = tree.node(event.node)
    if node.status is not None:
        raise IntegrityError(f"the journal ends node {event.node} twice")
    if (event.status.valid or event.status is NodeStatus.BUGGY_LOSS) and node.evaluation is None:
        raise IntegrityError(f"the journal ends node {event.node} as {event.status} without an evaluation")
    ended = replace(
        node,
        status=event.status,
        reason=event.reason,
        submission_sha256=event.submission_sha256,
        improved_over_start=event.improved_over_start,
    )
    return _change(tree, ended)


def _change(tree: Tree, node: Node) -> Tree:
    return replace(tree, nodes=(*tree.nodes[: node.id - 1], node, *tree.nodes[node.id :]))
