"""
Compute the time that a run is scored by.

The guest declares the phases, so a script could hide work outside its own clock. Time spent there beyond the
start script's on the same machine is the untimed overhead, and is added. So is any lag of the guest's clock
that the host's stamps prove: a slow clock gains nothing.
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
    """The time that a run is scored by, in milliseconds."""

    claimed: float
    """Time on the guest's clock, corrected by the host's stamps; see `counted_time`."""
    untimed_overhead: float | None
    """Time outside the clock beyond the start script's; None if it was not measured."""

    @property
    def total(self) -> float:
        """Return the sum, which the run is scored by."""
        return self.claimed + (self.untimed_overhead or 0.0)


def counted_time(p: Predicate) -> CountedTime | None:
    """
    Return a run's time with its untimed overhead; None if neither clock gives a time.

    If the record's script has no clock, the host's clock counts: from the first timed step to the last
    validation line if the remaining time was compared with the start script's, else from the guest's start.
    So missing or late lines cannot shorten the time.
    """
    if p.audit.tier_rules == FIRST_RULES:
        return _by_first_rules(p)
    overhead = _untimed_overhead_ms(p)
    timed = _timed_ms(p, compared=overhead is not None or runs_start_script(p))
    if timed is None:
        return None
    return CountedTime(timed, None if overhead is None else max(0.0, overhead - _lag_ms(p)))


def compared_time(p: Predicate, start_outside_ms: float) -> CountedTime | None:
    """Return a run's time with its untimed overhead, given the start script's `start_outside_ms`."""
    timed, outside = _compared_ms(p), outside_ms(p)
    if timed is None or outside is None:
        return None
    return CountedTime(timed, max(0.0, outside - start_outside_ms))


def outside_ms(p: Predicate) -> float | None:
    """Return the host's time up to the last validation line, without the timed steps."""
    stamps = p.observations.val_point_host_ms
    last = stamps[-1] if stamps else None
    timed = _compared_ms(p)
    return None if last is None or timed is None else last - timed


def runs_start_script(p: Predicate) -> bool:
    """Return whether a run's submission is the start record's script."""
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
    """Return the guest's time with its lag if the record's script has a clock, else the host's time."""
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
