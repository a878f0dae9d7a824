"""What evaluates a submission: `kit.evaluate`, a record of an earlier run, or a function of a test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from kit.agent.node import EvaluationOutcome


@dataclass(frozen=True, slots=True)
class EvaluatedRun:
    """A node's evaluation, with what the host may show of it to the model."""

    outcome: EvaluationOutcome
    log: Path | None
    """The guest's log; hostile text."""
    findings: tuple[str, ...] = ()
    """Audit findings that are not passed checks, in words."""
    losses: tuple[tuple[int, float], ...] = ()
    """Validation losses by step, in nats per token."""


class Evaluator(Protocol):
    """Evaluates a submission."""

    def evaluate(
        self, submission: Path, reserved: Callable[[str], None], cancelled: Callable[[], bool]
    ) -> EvaluatedRun:
        """
        Evaluate the directory `submission` and return what its verified bundle says.

        Calls `reserved` with the run's id before anything starts. A guest that fails is an outcome; so is a
        failure of the engine (`INFRA_FAILED`). Raises `PrerequisiteError` if no evaluation can start at all.
        """
        ...

    def close(self, run_id: str) -> EvaluatedRun | None:
        """
        Close a run that was reserved by an earlier process, and return it if it has a finished bundle.

        None: it was interrupted, its record now says `lost`, and the submission may be evaluated again.
        """
        ...
