"""Compute the times of a series' runs, with the candidates' untimed overhead."""

from __future__ import annotations

from collections.abc import Mapping

from kit.result.appraisal.timing import CountedTime, compared_time, counted_time, outside_ms
from kit.result.appraisal.verdict import has_loss
from kit.result.predicate import Predicate
from kit.series.record import Arm, SeriesPlan


def times_of(plan: SeriesPlan, runs: Mapping[str, Predicate]) -> dict[str, CountedTime]:
    """
    Return the time of every run that ended with a loss, by run id; `runs` are the runs with a bundle.

    A candidate's untimed overhead is its time outside its own timer, minus the mean of the start record's
    runs in this series. Without such runs, it comes from the candidate's audit, or else is None.
    """
    scored = [(slot, p) for slot in plan.slots if (p := runs.get(slot.run_id)) is not None and has_loss(p)]
    starts = [ms for slot, p in scored if slot.arm is Arm.START and (ms := outside_ms(p)) is not None]
    times: dict[str, CountedTime] = {}
    for slot, p in scored:
        time = counted_time(p)
        if slot.arm is Arm.CANDIDATE and starts:
            time = compared_time(p, sum(starts) / len(starts)) or time
        if time is not None:
            times[slot.run_id] = time
    return times
