"""A check as a value: its id, what a failure means, what it sees and what it cannot see. Runs nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass

from kit.audit.finding import Finding, Outcome, Severity


@dataclass(frozen=True, slots=True)
class Check:
    """One check. Its texts are what the documentation and the command line show."""

    id: str
    severity: Severity
    sees: str
    cannot_see: str

    def passed(self, detail: str, **figures: float) -> Finding:
        """Return the finding of a check that found nothing wrong."""
        return self._finding(Outcome.PASSED, detail, figures)

    def failed(self, detail: str, **figures: float) -> Finding:
        """Return the finding of a check that found something."""
        return self._finding(Outcome.FAILED, detail, figures)

    def skipped(self, detail: str, **figures: float) -> Finding:
        """Return the finding of a check that could not judge; it earns no trust."""
        return self._finding(Outcome.SKIPPED, detail, figures)

    def _finding(self, outcome: Outcome, detail: str, figures: dict[str, float]) -> Finding:
        finite = {name: float(value) for name, value in figures.items() if math.isfinite(value)}
        return Finding(self.id, self.severity, outcome, detail, tuple(sorted(finite.items())))
