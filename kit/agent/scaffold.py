"""The scaffolds of the paper as one pure function of the tree, and the history that a prompt may show."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import random
from collections.abc import Callable, Sequence

from kit.agent.node import Action, ActionKind, Node
from kit.agent.policy import Policy, SearchFidelity
from kit.agent.tree import START, Tree, fastest, has_script
from kit.core.digest import sha256_bytes
from kit.core.errors import UsageError

Scaffold = Callable[[Tree, random.Random], Sequence[Action]]
"""
Decides which nodes come next, from the tree and random numbers alone; none ends the search.

It is called once no node is open. With the same arguments it must give the same answer.
"""

HISTORY_LEVELS = 3
HISTORY_NODES = 3


def next_actions(
    tree: Tree, rng: random.Random, policy: Policy, fidelity: SearchFidelity = SearchFidelity.PAPER
) -> tuple[Action, ...]:
    """
    Return the nodes of the next decision; none if the search is complete.

    The last batch is cut to `max_nodes`. Control nodes do not count, and no node descends from one. No node
    may be open.
    """
    left = policy.max_nodes - len(tree.searched)
    if left <= 0:
        return ()
    if not tree.searched:
        return (Action(ActionKind.DRAFT),) * min(policy.initial, left)
    if policy.branch == 0:
        return ()
    leaves = tree.buggy_leaves(policy.max_bug_depth)
    if leaves and rng.random() < policy.debug_prob:
        return (Action(ActionKind.DEBUG, rng.choice(leaves)),)
    parent = tree.best() if fidelity is SearchFidelity.PAPER else _forgetful_best(tree)
    kind = ActionKind.DRAFT if parent == START else ActionKind.IMPROVE
    return (Action(kind, parent),) * min(policy.branch, left)


def checked_actions(tree: Tree, actions: Sequence[Action], max_nodes: int) -> tuple[Action, ...]:
    """
    Return the answer of a scaffold function from outside the kit, cut to the number of nodes left.

    Raises `UsageError` for a control node and for a parent without a script.
    """
    for action in actions:
        _check_action(tree, action)
    return tuple(actions)[: max(0, max_nodes - len(tree.searched))]


def _check_action(tree: Tree, action: Action) -> None:
    if action.kind is ActionKind.CONTROL:
        raise UsageError("a scaffold asked for a control node", "set the number of controls in the spec")
    known = {node.id for node in tree.searched if has_script(node)} | {START}
    if action.parent not in known:
        raise UsageError(
            f"a scaffold asked for a child of node {action.parent}, which has no script",
            "choose START, or a node whose status is valid or buggy",
        )


def own_policy(scaffold: Scaffold, max_nodes: int) -> Policy:
    """
    Return the policy of a scaffold function from outside the kit: its name and its source's digest.

    So a run is not resumed with another version of the function. Without its source, only the name counts.
    """
    name = getattr(scaffold, "__name__", type(scaffold).__name__)
    with contextlib.suppress(OSError, TypeError):
        name += f"@{sha256_bytes(inspect.getsource(scaffold).encode())[:12]}"
    return Policy(name, 1, 0, 0.0, 0, max_nodes)


def _forgetful_best(tree: Tree) -> int:
    """Return the fastest of the start, the last parent and its new children (fault "forgotten best")."""
    opened = {tree.node(child).action.parent for child in tree.batch}
    return fastest(tree, sorted({START, *opened, *tree.batch}), prefer_later=True)


def bug_history(tree: Tree, parent: int, fidelity: SearchFidelity) -> tuple[Node, ...]:
    """
    Return the failed attempts that a prompt for a child of `parent` shows: at most three, the latest.

    They are buggy nodes at most three levels below the nearest valid ancestor of `parent`; with the fault
    "root history", below the start.
    """
    ancestor = tree.stable_ancestor(parent) if fidelity is SearchFidelity.PAPER else START
    below = tree.descendants(ancestor, HISTORY_LEVELS)
    return tuple(node for node in below if node.status is not None and node.status.buggy)[-HISTORY_NODES:]


def decision_rng(seed: int, decision: int) -> random.Random:
    """Return the random numbers of one decision. They depend on nothing else, so no state is saved."""
    digest = hashlib.sha256(f"speedrun-kit decision {seed} {decision}".encode()).digest()
    return random.Random(int.from_bytes(digest, "big"))  # noqa: S311 - a search, not a secret
