"""The scaffolds of the paper as one pure function of the tree, and the history that a prompt may show."""

from __future__ import annotations

import hashlib
import random

from kit.agent.node import Action, ActionKind, Node
from kit.agent.policy import Policy, SearchFidelity
from kit.agent.tree import START, Tree, fastest

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
