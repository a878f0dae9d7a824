"""
The time that a run is scored by: its own clock's, and what it needed outside of that. Measures nothing.

Phases are declared by the guest, so work could hide where its own clock does not run. What it needs there
beyond what the start script needs on the same machine is its untimed overhead, and belongs to its time.
"""

from __future__ import annotations

from dataclasses import dataclass

from kit.audit.baseline import UNTIMED_OVERHEAD, UNTIMED_OVERHEAD_FIGURE
from kit.result.predicate import Outcome, Predicate


@dataclass(frozen=True, slots=True)
class CountedTime:
    """Milliseconds."""

    claimed: float
    """By the guest's own clock; where it has none, the host's from the first timed step on."""
    untimed_overhead: float | None
    """Beyond the start script's; None if it was not measured."""

    @property
    def total(self) -> float:
        """What the run is scored by."""
        return self.claimed + (self.untimed_overhead or 0.0)


def counted_time(p: Predicate) -> CountedTime | None:
    """Return a run's time, with the overhead that its audit measured; None if it has neither clock."""
    if p.claims.train_time_ms is not None:
        return CountedTime(float(p.claims.train_time_ms), _untimed_overhead_ms(p))
    wall = p.observations.train_wall_s
    return None if wall is None else CountedTime(1000 * wall, None)


def outside_ms(p: Predicate) -> float | None:
    """Return the host's time to the last validation line that the guest's own clock does not show."""
    stamps = p.observations.val_point_host_ms
    last = stamps[-1] if stamps else None
    if last is None or p.claims.train_time_ms is None:
        return None
    return last - p.claims.train_time_ms


def _untimed_overhead_ms(p: Predicate) -> float | None:
    ran = (c for c in p.audit.checks if c.outcome is not Outcome.SKIPPED)
    check = next((c for c in ran if c.id == UNTIMED_OVERHEAD.id), None)
    overhead_s = dict(check.figures).get(UNTIMED_OVERHEAD_FIGURE) if check else None
    return None if overhead_s is None else 1000 * max(0.0, overhead_s)
