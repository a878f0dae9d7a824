"""
The time that a run is scored by: its own clock's, and what it needed outside of that. Measures nothing.

Phases are declared by the guest, so work could hide where its own clock does not run. What it needs there
beyond what the start script needs on the same machine is its untimed overhead, and belongs to its time. So
does what the host's stamps prove beyond the guest's clock: one that is a little slow gains nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from kit.audit.baseline import UNTIMED_OVERHEAD, UNTIMED_OVERHEAD_FIGURE
from kit.audit.evidence import TRAINING_LINES
from kit.audit.trace import LAG_FIGURE, PACE
from kit.core.digest import tree_digest
from kit.result.appraisal.trust import FIRST_RULES
from kit.result.predicate import AuditCheck, Outcome, Predicate


@dataclass(frozen=True, slots=True)
class CountedTime:
    """Milliseconds."""

    claimed: float
    """By the guest's own clock, and never less than the host's stamps prove; see `counted_time`."""
    untimed_overhead: float | None
    """Beyond the start script's; None if it was not measured."""

    @property
    def total(self) -> float:
        """What the run is scored by."""
        return self.claimed + (self.untimed_overhead or 0.0)


def counted_time(p: Predicate) -> CountedTime | None:
    """
    Return a run's time, with the overhead that its audit measured; None if it has neither clock.

    Where the record's script has no clock, the host's counts: from the first timed step to the last
    validation line if the rest was compared with the start script's, else from the guest's start. Lines that
    a guest leaves out or prints late shorten nothing.
    """
    if p.audit.tier_rules == FIRST_RULES:
        return _by_first_rules(p)
    overhead = _untimed_overhead_ms(p)
    timed = _timed_ms(p, compared=overhead is not None or runs_start_script(p))
    if timed is None:
        return None
    return CountedTime(timed, None if overhead is None else max(0.0, overhead - _lag_ms(p)))


def compared_time(p: Predicate, start_outside_ms: float) -> CountedTime | None:
    """Return a run's time with what it needs outside of it beyond the start script's `start_outside_ms`."""
    timed, outside = _compared_ms(p), outside_ms(p)
    if timed is None or outside is None:
        return None
    return CountedTime(timed, max(0.0, outside - start_outside_ms))


def outside_ms(p: Predicate) -> float | None:
    """Return the host's time to the last validation line that is outside the timed steps."""
    stamps = p.observations.val_point_host_ms
    last = stamps[-1] if stamps else None
    timed = _compared_ms(p)
    return None if last is None or timed is None else last - timed


def runs_start_script(p: Predicate) -> bool:
    """Tell whether a run is of the start record's own script."""
    files = {f.name: f.sha256 for f in p.inputs.submission}
    return tree_digest(files) == p.task.baseline_submission_sha256


def _compared_ms(p: Predicate) -> float | None:
    if p.audit.tier_rules == FIRST_RULES:
        return None if p.claims.train_time_ms is None else float(p.claims.train_time_ms)
    return _timed_ms(p, compared=True)


def _by_first_rules(p: Predicate) -> CountedTime | None:
    if p.claims.train_time_ms is not None:
        return CountedTime(float(p.claims.train_time_ms), _untimed_overhead_ms(p))
    wall = p.observations.train_wall_s
    return None if wall is None else CountedTime(1000 * wall, None)


def _timed_ms(p: Predicate, compared: bool) -> float | None:
    """Return the guest's own time and its lag where the record's script has a clock, else the host's."""
    if p.evidence.guest_clock and p.claims.train_time_ms is not None:
        return p.claims.train_time_ms + _lag_ms(p)
    lines, wall = _judged(p, TRAINING_LINES.id), p.observations.train_wall_s
    if compared and lines is not None and lines.outcome is Outcome.PASSED and wall is not None:
        return 1000 * wall
    stamps = p.observations.val_point_host_ms
    return stamps[-1] if stamps else None


def _lag_ms(p: Predicate) -> float:
    return 1000 * max(0.0, _figure(p, PACE.id, LAG_FIGURE) or 0.0) if p.evidence.guest_clock else 0.0


def _untimed_overhead_ms(p: Predicate) -> float | None:
    overhead_s = _figure(p, UNTIMED_OVERHEAD.id, UNTIMED_OVERHEAD_FIGURE)
    return None if overhead_s is None else 1000 * max(0.0, overhead_s)


def _figure(p: Predicate, check_id: str, name: str) -> float | None:
    check = _judged(p, check_id)
    return dict(check.figures).get(name) if check else None


def _judged(p: Predicate, check_id: str) -> AuditCheck | None:
    ran = (c for c in p.audit.checks if c.outcome is not Outcome.SKIPPED)
    return next((c for c in ran if c.id == check_id), None)
