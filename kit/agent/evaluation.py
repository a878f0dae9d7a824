"""
Evaluate a node's submission with `kit.evaluate`, and read its outcome from the signed bundle.

The bundle is verified again after it was written, and nothing else decides a node's status.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from kit.agent.evaluator import EvaluatedRun
from kit.agent.node import EvaluationOutcome, EvaluationStatus
from kit.core.digest import sha256_file
from kit.core.errors import KitError, PrerequisiteError, RunError
from kit.core.text import one_line
from kit.evaluate.plan import draft
from kit.evaluate.prepare import prepared
from kit.evaluate.recovery import close_lost
from kit.evaluate.request import Places, Request
from kit.evaluate.run import Listener, run_prepared
from kit.result.appraisal.timing import counted_time
from kit.result.folder import BUNDLE
from kit.result.keys import Trusted, load_or_create
from kit.result.predicate import AuditCheck, Outcome, Predicate, Severity, Verdict
from kit.result.verify import open_bundle
from kit.sandbox.folder import RunFolder
from kit.sandbox.supervise import RunCallbacks
from kit.score.metrics import fsr
from kit.values.run_result import RunStatus

GUEST_LOG = "guest.log"
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


@dataclass(frozen=True, slots=True)
class KitEvaluator:
    """Evaluates submissions as `speedrun eval` does, without reruns, into the directory `places.out`."""

    request: Request
    """The request of every evaluation, but for the submission."""
    places: Places
    reference: ReferenceTimes | None
    """None: the score of a run is not known."""
    listener: Callable[[Callable[[], bool]], Listener] = field(
        default=lambda cancelled: Listener(RunCallbacks(cancelled=cancelled))
    )
    """Makes the callbacks of one evaluation."""

    def evaluate(
        self, submission: Path, reserved: Callable[[str], None], cancelled: Callable[[], bool]
    ) -> EvaluatedRun:
        """Evaluate a submission; see `kit.agent.evaluator.Evaluator`."""
        run: list[RunFolder] = []

        def on_reserved(folder: RunFolder) -> None:
            run.append(folder)
            reserved(folder.run_id)
            listener.reserved(folder)

        listener = self.listener(cancelled)
        plan = draft(replace(self.request, submission=submission), self.places)
        try:
            with prepared(plan, self.places) as ready:
                outcome = run_prepared(ready, self.places, replace(listener, reserved=on_reserved))
        except (RunError, PrerequisiteError) as e:
            if not run:
                raise
            return self._failed(run[0], e)
        return self.read(outcome.bundle)

    def close(self, run_id: str) -> EvaluatedRun | None:
        """Close an interrupted run; see `kit.agent.evaluator.Evaluator`."""
        close_lost(self.places.out, self.places.keys)
        bundle = self.places.out / run_id / BUNDLE
        if not bundle.is_file():
            return None
        run = self.read(bundle)
        return None if run.outcome.status is EvaluationStatus.INFRA_FAILED else run

    def read(self, bundle: Path) -> EvaluatedRun:
        """
        Verify a bundle, signed by the own key or one that was made for it, and return what it says.

        Raises `IntegrityError` if the bundle or a file beside it was changed.
        """
        trusted = Trusted((load_or_create(self.places.keys).public,))
        p = open_bundle(bundle, trusted).predicate
        losses = tuple(
            (point.step, point.val_loss) for point in p.claims.val_points if point.val_loss is not None
        )
        outcome = outcome_of(p, sha256_file(bundle), self.reference)
        return EvaluatedRun(outcome, bundle.with_name(GUEST_LOG), findings_of(p), losses)

    def _failed(self, folder: RunFolder, e: KitError) -> EvaluatedRun:
        """Return the outcome of a run whose engine or machine failed; its bundle says `lost`."""
        if not folder.result.is_file():
            raise e
        run = self.read(folder.result)
        status, reason = EvaluationStatus.INFRA_FAILED, one_line(e.message)
        return replace(run, outcome=replace(run.outcome, status=status, reason=reason))


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
