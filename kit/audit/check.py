"""The definition of a check: its id, its severity, what it detects and what it cannot detect."""

from __future__ import annotations

import math
from dataclasses import dataclass

from kit.audit.finding import Finding, Outcome, Severity


@dataclass(frozen=True, slots=True)
class Check:
    """One check. The documentation and the command line show its texts."""

    id: str
    severity: Severity
    sees: str
    cannot_see: str

    def passed(self, detail: str, **figures: float) -> Finding:
        """Return the finding that this check passed."""
        return self._finding(Outcome.PASSED, detail, figures)

    def failed(self, detail: str, **figures: float) -> Finding:
        """Return the finding that this check failed."""
        return self._finding(Outcome.FAILED, detail, figures)

    def skipped(self, detail: str, **figures: float) -> Finding:
        """Return the finding that this check was skipped; a skipped check earns no tier."""
        return self._finding(Outcome.SKIPPED, detail, figures)

    def _finding(self, outcome: Outcome, detail: str, figures: dict[str, float]) -> Finding:
        finite = {name: float(value) for name, value in figures.items() if math.isfinite(value)}
        return Finding(self.id, self.severity, outcome, detail, tuple(sorted(finite.items())))
