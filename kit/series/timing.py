"""The times of a series' runs, a candidate's with what it needs outside its own clock. Verifies nothing."""

from __future__ import annotations

from collections.abc import Mapping

from kit.result.appraisal.timing import CountedTime, compared_time, counted_time, outside_ms
from kit.result.appraisal.verdict import has_loss
from kit.result.predicate import Predicate
from kit.series.record import Arm, SeriesPlan


def times_of(plan: SeriesPlan, runs: Mapping[str, Predicate]) -> dict[str, CountedTime]:
    """
    Return the time of every run that ended with a loss, by its id; `runs` are those that were made.

    A candidate's excess is what it needs outside its own clock beyond the mean of the start record's own runs
    in this series; where there are none, its audit's; None without either.
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
