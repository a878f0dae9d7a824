"""The values of a search: actions, nodes and their statuses, and the outcome of a node's evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from kit.core.codec import Prose


class ActionKind(StrEnum):
    """What a node is made for."""

    DRAFT = "draft"
    """A first change of the start script."""
    IMPROVE = "improve"
    DEBUG = "debug"
    CONTROL = "control"
    """The parent, unchanged: shows the FSR that noise alone gives. No search action: it has no child."""


@dataclass(frozen=True, slots=True)
class Action:
    """A node that a scaffold asks for. `parent` is a node's id, or 0 for the start script."""

    kind: ActionKind
    parent: int = 0


class NodeStatus(StrEnum):
    """How a node ended."""

    VALID_IMPROVED = "valid_improved"
    """It reached the target loss in less time than its parent."""
    VALID_NOT_IMPROVED = "valid_not_improved"
    BUGGY_CRASH = "buggy_crash"
    BUGGY_LOSS = "buggy_loss"
    """It ended above the target loss."""
    TIMED_OUT = "timed_out"
    AUDIT_FAILED = "audit_failed"
    EDIT_FAILED = "edit_failed"
    """No edit could be applied; nothing was evaluated."""
    NO_ANSWER = "no_answer"
    REFUSED_BY_MODEL = "refused_by_model"
    INFRA_FAILED = "infra_failed"
    """The endpoint, the engine or the machine failed, not the agent."""
    LOST = "lost"
    """The evaluation was interrupted more often than it is tried again."""
    STOPPED = "stopped"
    """A budget ended while the node was open."""

    @property
    def valid(self) -> bool:
        """Tell whether the node can be improved further."""
        return self in (NodeStatus.VALID_IMPROVED, NodeStatus.VALID_NOT_IMPROVED)

    @property
    def buggy(self) -> bool:
        """Tell whether the node can be debugged: a script that was evaluated and failed."""
        return self in (
            NodeStatus.BUGGY_CRASH,
            NodeStatus.BUGGY_LOSS,
            NodeStatus.TIMED_OUT,
            NodeStatus.AUDIT_FAILED,
        )


class EvaluationStatus(StrEnum):
    """How a node's evaluation ended, by its bundle."""

    REACHED = "reached"
    MISSED = "missed"
    CRASHED = "crashed"
    TIMED_OUT = "timed_out"
    AUDIT_FAILED = "audit_failed"
    INFRA_FAILED = "infra_failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class EvaluationOutcome:
    """What a node's verified bundle says."""

    run_id: str
    status: EvaluationStatus
    bundle_sha256: str
    time_ms: float | None
    """t': the run's time as the score counts it, in milliseconds."""
    val_loss: float | None
    """The last validation loss, in nats per token."""
    fsr: float | None
    """The fraction of the speedup recovered against the task's reference times; None without a valid time."""
    wall_s: float
    """Seconds from start to end of the guest, by the host's clock; `INFRA_FAILED`: from its reservation."""
    gpu_seconds: float
    """`wall_s` times the number of GPUs; 0 on a CPU."""
    reason: Prose
    """The verdict in words."""


@dataclass(frozen=True, slots=True)
class Node:
    """One node of the tree, as the journal tells it so far."""

    id: int
    """From 1, in the order of reservation; 0 is the start script, which is no node."""
    action: Action
    status: NodeStatus | None
    """None while the node is open."""
    submission_sha256: str | None = None
    evaluation: EvaluationOutcome | None = None
    reason: str = ""
    improved_over_start: bool | None = None
    """Whether its time lies below the start's by more than 2 sd; None if time or sd is unknown."""
