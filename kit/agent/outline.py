"""The order in which a run's tree is read, and what a person asks about one node."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from kit.agent.events import CallEnded, Edited
from kit.agent.node import ActionKind, Node
from kit.agent.nodefiles import NodeFiles
from kit.agent.recorded import NodeAccount, RecordedRun, ended_calls, read_call
from kit.agent.tree import START
from kit.core.errors import KitError

MAX_TEXT = 2_000_000
"""Characters that are read of one text."""


@dataclass(frozen=True, slots=True)
class Branch:
    """One node in its place of the tree."""

    node: Node
    depth: int
    """0 for a node that was made from the start script."""


@dataclass(frozen=True, slots=True)
class NodeCall:
    """One call of a node."""

    ended: CallEnded
    edited: Edited | None
    """What became of the answer; None if there was none to apply."""


@dataclass(frozen=True, slots=True)
class NodeDetails:
    """What is known about one node."""

    node: Node
    account: NodeAccount
    calls: tuple[NodeCall, ...]
    feedback: str
    """The last message that the model was sent; empty if no call is recorded."""
    diff: str
    """The change against the parent; empty if no edit was applied."""
    children: tuple[int, ...]


def branches(run: RecordedRun) -> Iterator[Branch]:
    """Yield every node below its parent, in the order of reservation."""
    waiting = [(node.id, 0) for node in reversed(_children(run, START))]
    while waiting:
        node, depth = waiting.pop()
        yield Branch(run.tree.node(node), depth)
        waiting += [(child.id, depth + 1) for child in reversed(_children(run, node))]


def view_of(run: RecordedRun, node_id: int) -> NodeDetails:
    """Return what is known about a node. Raises `IntegrityError` if the journal has no such node."""
    node = run.tree.node(node_id)
    events = [line.event for line in run.of_node(node_id)]
    edits = {e.call: e for e in events if isinstance(e, Edited)}
    calls = tuple(NodeCall(ended, edits.get(ended.call)) for _, ended in ended_calls(events))
    return NodeDetails(
        node=node,
        account=run.account(node_id),
        calls=calls,
        feedback=_feedback(run, calls),
        diff=_text(NodeFiles(run.folder, node_id)),
        children=tuple(child.id for child in _children(run, node_id)),
    )


def _children(run: RecordedRun, node_id: int) -> tuple[Node, ...]:
    """Return the nodes below one, with control nodes, which have the start as their parent."""
    controls = tuple(n for n in run.tree.nodes if n.action.kind is ActionKind.CONTROL)
    mine = tuple(n for n in controls if n.action.parent == node_id)
    return mine + run.tree.children(node_id)


def _feedback(run: RecordedRun, calls: tuple[NodeCall, ...]) -> str:
    if not calls:
        return ""
    try:
        request, _ = read_call(run.folder, calls[-1].ended.node, calls[-1].ended.call)
    except KitError as e:
        return f"({e.headline})"
    return request.messages[-1].content if request.messages else ""


def _text(files: NodeFiles) -> str:
    try:
        with files.diff.open(encoding="utf-8", errors="replace") as f:
            return f.read(MAX_TEXT)
    except OSError:
        return ""
