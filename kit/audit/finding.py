"""The outcome of a check. `kit.result.appraisal.verdict` derives the verdict from all findings."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """What a failed check means for the result."""

    FATAL = "fatal"
    WARNING = "warning"
    INFO = "info"


class Outcome(StrEnum):
    """The outcome of a check."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check, with its detail and figures."""

    id: str
    severity: Severity
    outcome: Outcome
    detail: str
    figures: tuple[tuple[str, float], ...] = ()
    """Names and finite values, sorted by name."""
