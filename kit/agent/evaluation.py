"""
Evaluate a node's submission with `kit.evaluate`, and read its outcome from the signed bundle.

The bundle is verified again after it was written, and nothing else decides a node's status.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from kit.agent.evaluator import EvaluatedRun
from kit.agent.ledger import Interrupted
from kit.agent.node import EvaluationStatus
from kit.agent.outcome import ReferenceTimes, findings_of, outcome_of
from kit.core.digest import sha256_file
from kit.core.errors import KitError, PrerequisiteError, RunError
from kit.core.text import one_line
from kit.evaluate.plan import draft
from kit.evaluate.prepare import prepared
from kit.evaluate.recovery import close_lost
from kit.evaluate.request import Places, Request
from kit.evaluate.run import Listener, run_prepared
from kit.result.folder import BUNDLE
from kit.result.keys import Trusted, load_or_create
from kit.result.verify import open_bundle
from kit.sandbox.folder import RunFolder
from kit.sandbox.supervise import RunCallbacks
from kit.sandbox.turn import InterruptedWait

__all__ = ["KitEvaluator", "ReferenceTimes", "findings_of", "outcome_of"]

GUEST_LOG = "guest.log"


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
        run: list[tuple[RunFolder, float]] = []

        def on_reserved(folder: RunFolder) -> None:
            run.append((folder, time.monotonic()))
            reserved(folder.run_id)
            listener.reserved(folder)

        listener = self.listener(cancelled)
        plan = draft(replace(self.request, submission=submission), self.places)
        try:
            with prepared(plan, self.places) as ready:
                outcome = run_prepared(ready, self.places, replace(listener, reserved=on_reserved))
        except InterruptedWait as e:
            raise Interrupted from e
        except (RunError, PrerequisiteError) as e:
            if not run:
                raise
            folder, began_s = run[0]
            return self._failed(folder, e, time.monotonic() - began_s, plan.terms.gpus)
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

    def _failed(self, folder: RunFolder, e: KitError, wall_s: float, gpus: int) -> EvaluatedRun:
        """
        Return the outcome of a run whose engine or machine failed; its bundle says `lost`, and no time.

        The time since its reservation is charged, because its guest may have used the GPUs.
        """
        if not folder.result.is_file():
            raise e
        run = self.read(folder.result)
        outcome = replace(
            run.outcome,
            status=EvaluationStatus.INFRA_FAILED,
            reason=one_line(e.message),
            wall_s=wall_s,
            gpu_seconds=wall_s * gpus,
        )
        return replace(run, outcome=outcome)
