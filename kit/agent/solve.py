"""
Solve one node: ask the model for an edit, apply it, evaluate the result, and name the node's status.

A refused answer goes back to the model at most `repairs_per_node` times. Nothing is evaluated after a
refusal. The status follows from the outcome of the evaluation alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from kit.agent.edit.apply import EditResult
from kit.agent.llm.wire import CallFault, CallOutcome, ChatRequest, Message
from kit.agent.node import ActionKind, EvaluationOutcome, EvaluationStatus, Node, NodeStatus
from kit.agent.nodefiles import Files, files_digest
from kit.agent.prompt import repair_messages
from kit.agent.steps import NodeSteps
from kit.agent.tree import START, Tree
from kit.core.digest import Sha256

SIGNIFICANT_SD = 2.0

_EMPTY = "Your answer contains no text. Answer with the edit alone, in the format that was described."
_CUT = (
    "Your answer was cut at the limit of output tokens, so nothing was applied. Answer with a shorter edit, "
    "in the format that was described."
)
_REPAIRABLE = {CallFault.EMPTY: _EMPTY, CallFault.LENGTH: _CUT}
"""Faults that the model can repair, and what it is told."""
_NO_TEXT = "(no text)"
"""Some endpoints refuse a conversation with an empty message."""

_FAILED = {
    EvaluationStatus.MISSED: NodeStatus.BUGGY_LOSS,
    EvaluationStatus.CRASHED: NodeStatus.BUGGY_CRASH,
    EvaluationStatus.TIMED_OUT: NodeStatus.TIMED_OUT,
    EvaluationStatus.AUDIT_FAILED: NodeStatus.AUDIT_FAILED,
    EvaluationStatus.INFRA_FAILED: NodeStatus.INFRA_FAILED,
    EvaluationStatus.CANCELLED: NodeStatus.INFRA_FAILED,
}


class PromptBuilder(Protocol):
    """Writes the first messages of a node."""

    def prompt(self, node: Node, tree: Tree) -> tuple[Message, ...]:
        """Return the messages for a node. They depend on the arguments and recorded files alone."""
        ...


class Editor(Protocol):
    """Applies an answer to the parent's files."""

    def edit(self, parent_files: Mapping[str, bytes], answer: str) -> EditResult:
        """Return the new files or a refusal. The result depends on the arguments alone."""
        ...


@dataclass(frozen=True, slots=True)
class NodeResult:
    """How a node ended."""

    status: NodeStatus
    reason: str
    submission_sha256: Sha256 | None
    improved_over_start: bool | None


class SolveNode(Protocol):
    """Solves a node by its steps."""

    def solve(self, node: Node, parent_files: Files, tree: Tree, steps: NodeSteps) -> NodeResult:
        """
        Return how the node ended; calls, edits and evaluations go through `steps`.

        After an interruption it is called again from the beginning: with the same arguments it must make the
        same steps. Lets the exceptions of `steps` pass.
        """
        ...


class ModelSolver:
    """Solves nodes with a model."""

    def __init__(self, prompts: PromptBuilder, editor: Editor, template: ChatRequest) -> None:
        """Use `template` for every request; its messages are replaced."""
        self._prompts, self._editor, self._template = prompts, editor, template

    def solve(self, node: Node, parent_files: Files, tree: Tree, steps: NodeSteps) -> NodeResult:
        """See `SolveNode`."""
        if node.action.kind is ActionKind.CONTROL:
            return evaluated(node, parent_files, tree, steps)
        messages = self._prompts.prompt(node, tree)
        steps.show_prompt(messages)
        refusal, status = "", NodeStatus.NO_ANSWER
        for _ in range(1 + steps.repairs):
            outcome = steps.call(replace(self._template, messages=messages))
            if outcome.fault is not None and outcome.fault not in _REPAIRABLE:
                return _without_answer(outcome)
            answer = outcome.response.text if outcome.response is not None else ""
            if outcome.fault is not None:
                refusal = _REPAIRABLE[outcome.fault]
            else:
                result = self._editor.edit(parent_files, answer)
                steps.edited(result)
                if result.applied is not None:
                    return evaluated(node, result.applied, tree, steps)
                status, refusal = NodeStatus.EDIT_FAILED, result.reason
            messages = repair_messages(messages, answer or _NO_TEXT, refusal)
        return NodeResult(status, refusal, None, None)


def evaluated(node: Node, files: Files, tree: Tree, steps: NodeSteps) -> NodeResult:
    """Evaluate a node's files and return its result."""
    outcome = steps.evaluate(files)
    if outcome is None:
        return NodeResult(
            NodeStatus.LOST, "the evaluation was interrupted too often", files_digest(files), None
        )
    status, reason = status_of(outcome, node.action.parent, tree)
    better = improved_over_start(outcome, tree) if status.valid else None
    return NodeResult(status, reason, files_digest(files), better)


def status_of(outcome: EvaluationOutcome, parent: int, tree: Tree) -> tuple[NodeStatus, str]:
    """
    Return a node's status and the reason, from its evaluation and its parent.

    A valid node is improved if its time is below its parent's, or if its parent failed. If the start has no
    reference time, its children are improved if their FSR is positive.
    """
    if outcome.status is not EvaluationStatus.REACHED:
        return _FAILED[outcome.status], outcome.reason
    if outcome.time_ms is None:
        return NodeStatus.INFRA_FAILED, f"the bundle has no time: {outcome.reason}"
    parent_ms = tree.time_ms(parent)
    if parent_ms is not None:
        improved = outcome.time_ms < parent_ms
    elif parent == START:
        improved = outcome.fsr is not None and outcome.fsr > 0
    else:
        improved = True
    return NodeStatus.VALID_IMPROVED if improved else NodeStatus.VALID_NOT_IMPROVED, outcome.reason


def improved_over_start(outcome: EvaluationOutcome, tree: Tree) -> bool | None:
    """Tell whether a time lies below the start's by more than 2 sd; None if time or sd is unknown."""
    if outcome.time_ms is None or tree.start_ms is None or tree.start_sd_ms is None:
        return None
    return outcome.time_ms < tree.start_ms - SIGNIFICANT_SD * tree.start_sd_ms


def _without_answer(outcome: CallOutcome) -> NodeResult:
    match outcome.fault:
        case CallFault.REFUSED:
            status = NodeStatus.REFUSED_BY_MODEL
        case CallFault.CONTEXT_TOO_LONG:
            status = NodeStatus.NO_ANSWER
        case _:
            status = NodeStatus.INFRA_FAILED
    return NodeResult(status, f"{outcome.fault}: {outcome.detail}", None, None)
