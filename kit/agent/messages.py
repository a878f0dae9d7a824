"""Write the prompts of nodes from the tree and the files of a run (`TreePrompts`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from kit.agent.feedback import mark, summarize
from kit.agent.llm.wire import Message
from kit.agent.node import Node, NodeStatus
from kit.agent.nodefiles import Files, NodeFiles
from kit.agent.policy import Policy, SearchFidelity
from kit.agent.prompt import Earlier, NodeView, PromptTask, first_messages
from kit.agent.scaffold import bug_history
from kit.agent.tree import START, Tree
from kit.core.text import one_line

DIFF = "diff.patch"
_WORDS = {
    NodeStatus.VALID_IMPROVED: "reached the target loss, faster than the script it was made from",
    NodeStatus.VALID_NOT_IMPROVED: "reached the target loss, not faster than the script it was made from",
    NodeStatus.BUGGY_CRASH: "crashed",
    NodeStatus.BUGGY_LOSS: "did not reach the target loss",
    NodeStatus.TIMED_OUT: "timed out",
    NodeStatus.AUDIT_FAILED: "failed an audit",
    NodeStatus.EDIT_FAILED: "no edit could be applied",
}
"""The statuses that a prompt tells of; others say nothing about an idea."""


class TreePrompts:
    """Builds the first messages of a node, from the tree and from files that the journal binds."""

    def __init__(
        self,
        run: Path,
        task: PromptTask,
        start: Files,
        target_loss: float,
        policy: Policy,
        fidelity: SearchFidelity,
        secret: str,
    ) -> None:
        """Read nodes from the directory `run`; `secret` marks text of guests (see `feedback.mark`)."""
        self._run, self._task, self._start, self._target_loss = run, task, start, target_loss
        self._policy, self._fidelity, self._secret = policy, fidelity, secret

    def prompt(self, node: Node, tree: Tree) -> tuple[Message, ...]:
        """See `kit.agent.solve.PromptBuilder`."""
        parent = node.action.parent
        view = NodeView(
            kind=node.action.kind,
            files=self._files(parent, tree),
            feedback=self._feedback(parent, tree),
            earlier=tuple(self._earlier(one) for one in self._shown(node, tree)),
        )
        return first_messages(self._task, view)

    def _files(self, parent: int, tree: Tree) -> Files:
        if parent == START:
            return self._start
        return NodeFiles(self._run, parent).read_submission(tree.node(parent).submission_sha256)

    def _feedback(self, parent: int, tree: Tree) -> str:
        if parent == START:
            return ""
        node = tree.node(parent)
        if node.evaluation is None:
            return one_line(node.reason)
        run = NodeFiles(self._run, parent).read_evaluated(node.evaluation)
        return summarize(run, self._target_loss, mark(self._secret, parent), tree.time_ms(node.action.parent))

    def _shown(self, node: Node, tree: Tree) -> Iterator[Node]:
        """
        Yield the attempts that a prompt tells of: siblings, then ancestors, then failures below them.

        Samples of a policy without later decisions are independent and see none of the others.
        """
        if self._policy.branch == 0:
            return
        told: set[int] = {node.id}
        parent = node.action.parent
        siblings = reversed([one for one in tree.children(parent) if one.id < node.id])
        for one in (*siblings, *_ancestors(parent, tree), *bug_history(tree, parent, self._fidelity)):
            if one.id not in told and one.status in _WORDS:
                told.add(one.id)
                yield one

    def _earlier(self, node: Node) -> Earlier:
        words = _WORDS[node.status] if node.status is not None else ""
        outcome = node.evaluation
        if outcome is not None and outcome.time_ms is not None:
            words += f"; {outcome.time_ms / 1000:.2f} s of training"
        if outcome is not None and outcome.val_loss is not None:
            words += f"; last validation loss {outcome.val_loss:.4f}"
        return Earlier(node.id, words, self._diff(node))

    def _diff(self, node: Node) -> str:
        path = NodeFiles(self._run, node.id).folder / DIFF
        if node.submission_sha256 is None or not path.is_file():
            return ""
        return path.read_bytes().decode("utf-8", "replace")


def _ancestors(node_id: int, tree: Tree) -> Iterator[Node]:
    while node_id != START:
        node = tree.node(node_id)
        yield node
        node_id = node.action.parent
