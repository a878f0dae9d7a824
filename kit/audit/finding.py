"""What a check found. Decides nothing about the result; `kit.result.appraisal.verdict` does."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """What a failed check means for the result."""

    FATAL = "fatal"
    WARNING = "warning"
    INFO = "info"


class Outcome(StrEnum):
    """What came of a check."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check that ran, or that could not."""

    id: str
    severity: Severity
    outcome: Outcome
    detail: str
    figures: tuple[tuple[str, float], ...] = ()
    """Names and finite values, sorted by name."""
