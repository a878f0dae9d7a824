"""
What a verified bundle says about a node. Imports nothing that runs guests.

A node's status follows from its bundle alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from kit.agent.node import EvaluationOutcome, EvaluationStatus
from kit.agent.spec import AgentSpec
from kit.core.text import one_line
from kit.result.appraisal.timing import counted_time
from kit.result.predicate import AuditCheck, Outcome, Predicate, Severity, Verdict
from kit.score.metrics import fsr
from kit.values.run_result import RunStatus

_TIMEOUTS = (RunStatus.TIMED_OUT, RunStatus.STALLED)


@dataclass(frozen=True, slots=True)
class ReferenceTimes:
    """The times that FSR is measured between, in milliseconds."""

    start_ms: float
    target_ms: float
    start_sd_ms: float | None = None
    """Standard deviation of the start script's time; None if unknown."""
    source: str = "paper"
    """Where the times come from: the paper's machines, or this machine."""


def reference_of_spec(spec: AgentSpec) -> ReferenceTimes | None:
    """Return the times that FSR is measured between; None if the spec has none."""
    settings = spec.evaluation
    if settings.start_ms is None or settings.target_ms is None:
        return None
    return ReferenceTimes(settings.start_ms, settings.target_ms, settings.start_sd_ms)


def outcome_of(p: Predicate, bundle_sha256: str, reference: ReferenceTimes | None) -> EvaluationOutcome:
    """Return what a verified predicate says about a node; `bundle_sha256` is the bundle's."""
    status = _status(p)
    counted = counted_time(p) if status is EvaluationStatus.REACHED else None
    time_ms = counted.total if counted else None
    return EvaluationOutcome(
        run_id=p.run.id,
        status=status,
        bundle_sha256=bundle_sha256,
        time_ms=time_ms,
        val_loss=p.claims.final_val_loss,
        fsr=None if time_ms is None or reference is None else _fsr(reference, time_ms),
        wall_s=p.observations.wall_s,
        gpu_seconds=p.observations.wall_s * p.run.gpus,
        reason=_reason(p),
    )


def _fsr(reference: ReferenceTimes, time_ms: float) -> float:
    return fsr(reference.start_ms, reference.target_ms, time_ms)


def findings_of(p: Predicate) -> tuple[str, ...]:
    """Return the audits that a run failed, as text; those that refuse it come first."""
    failed = sorted(_failed(p), key=lambda c: c.severity is not Severity.FATAL)
    return tuple(f"{c.id}: {one_line(c.detail)}" for c in failed)


def _failed(p: Predicate) -> list[AuditCheck]:
    return [c for c in p.audit.checks if c.outcome is Outcome.FAILED]


def _status(p: Predicate) -> EvaluationStatus:
    if p.run.status is RunStatus.LOST:
        return EvaluationStatus.INFRA_FAILED
    if p.run.status is RunStatus.CANCELLED:
        return EvaluationStatus.CANCELLED
    match p.score.verdict:
        case Verdict.REACHED:
            return EvaluationStatus.REACHED
        case Verdict.MISSED:
            return EvaluationStatus.MISSED
        case Verdict.REFUSED:
            return EvaluationStatus.AUDIT_FAILED
        case Verdict.FAILED:
            timed_out = p.run.status in _TIMEOUTS
            return EvaluationStatus.TIMED_OUT if timed_out else EvaluationStatus.CRASHED


def _reason(p: Predicate) -> str:
    loss, target = p.claims.final_val_loss, p.task.target_val_loss
    match p.score.verdict:
        case Verdict.REACHED | Verdict.MISSED:
            return f"val_loss {loss:.4f}, target {target:g}"
        case Verdict.REFUSED:
            fatal = [c.id for c in _failed(p) if c.severity is Severity.FATAL]
            return f"{', '.join(fatal)} failed, so the claimed loss does not count"
        case Verdict.FAILED:
            return one_line(p.run.reason)
