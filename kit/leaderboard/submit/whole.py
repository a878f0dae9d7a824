"""
Check that each series was submitted whole: all its reserved runs, or none.

The runs of a series are evidence only together. If one run is missing, rejected, retracted alone or listed
under another name, the whole series is rejected. A run of another key, or at a path that no such series
has, is none of its runs and is rejected alone: otherwise, a copy of one run could take a series away.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from pathlib import Path

from kit.leaderboard.submit.compare import relative_place
from kit.leaderboard.submit.entry import BoardEntry, Submitted, place_of
from kit.leaderboard.submit.finding import BoardFinding, BoardRule
from kit.leaderboard.submit.precedence import BoardBase, Mark, find_copies
from kit.leaderboard.submit.series import SubmittedSeries, place_of_series
from kit.result.predicate import Series
from kit.series.documents import run_mismatches
from kit.series.record import Arm


def check_series(
    root: Path,
    runs: Sequence[Submitted],
    series: Sequence[SubmittedSeries],
    faulty: Set[str],
    base: BoardBase | None = None,
) -> Iterator[BoardFinding]:
    """
    Yield the findings about series and their runs that could be opened.

    `faulty` holds the places that already have a finding; of two series of one plan, one of them is never
    taken for the original. A place is named relative to `root`.
    """
    dated = ((relative_place(root, s), s.documents.plan.created_at, s) for s in series)
    copies = list(find_copies(dated, SubmittedSeries, _marks, faulty, base))
    yield from copies
    faulty = faulty | {f.where for f in copies}
    by_plan: dict[str, list[SubmittedSeries]] = {}
    for submitted in series:
        if place_of_series(submitted.documents, submitted.entry.agent) == relative_place(root, submitted):
            by_plan.setdefault(submitted.documents.plan_sha256, []).append(submitted)
    members: dict[Path, list[Submitted]] = {s.where: [] for same in by_plan.values() for s in same}
    for run in runs:
        named = run.bundle.predicate.series
        if named is None:
            continue
        place, same = relative_place(root, run), by_plan.get(named.plan_sha256, [])
        own = next((s for s in same if place_of(run.bundle, s.entry.agent) == place), None)
        if own is not None and run.bundle.key_id == own.documents.key_id:
            members[own.where].append(run)
        else:
            yield BoardFinding(place, BoardRule.SERIES, _why_none(run, named, same, own))
    for submitted in (s for same in by_plan.values() for s in same):
        yield from _check_whole(root, submitted, members[submitted.where], faulty)


def _marks(submitted: SubmittedSeries) -> tuple[Mark, ...]:
    # Not the file's digest: one signature fits into the envelopes of both versions.
    plan = submitted.documents.key_id, submitted.documents.plan
    return (Mark(BoardRule.DUPLICATE, "the same series is also in", plan),)


def _why_none(
    run: Submitted, named: Series, same: Sequence[SubmittedSeries], own: SubmittedSeries | None
) -> str:
    """Return why a run is none of the series that it names."""
    if not same:
        return f"run of series {named.id}, which is missing: submit the whole series"
    if own is None:
        return f"its series is listed under agent {', '.join(sorted(s.entry.agent for s in same))}"
    return f"signed by {run.bundle.key_id}, and its series by {own.documents.key_id}"


def _check_whole(
    root: Path, series: SubmittedSeries, members: Sequence[Submitted], faulty: Set[str]
) -> Iterator[BoardFinding]:
    findings: list[BoardFinding] = []
    for run in members:
        findings += [
            BoardFinding(relative_place(root, run), BoardRule.SERIES, why) for why in _misfits(series, run)
        ]
    there = {run.bundle.predicate.run.id for run in members}
    place = relative_place(root, series)
    absent = [run_id for run_id in series.documents.bundles if run_id not in there]
    findings += [
        BoardFinding(place, BoardRule.SERIES, f"run {run_id} is missing or invalid") for run_id in absent
    ]
    bad = {f.where for f in findings} | faulty
    yield from findings
    every = (place, *(relative_place(root, run) for run in members))
    broken = next((where for where in every if where in bad), None)
    if broken is not None:
        why = f"series {series.documents.plan.id} is rejected as a whole because of {broken}"
        yield from (BoardFinding(where, BoardRule.SERIES, why) for where in every if where not in bad)


def _misfits(series: SubmittedSeries, run: Submitted) -> Iterator[str]:
    """Yield why a run that names the series does not match it."""
    if series.documents.ended is None:
        yield f"series {series.documents.plan.id} has not ended"
        return
    yield from (f"this run {why}" for why in run_mismatches(series.documents, run.bundle, run.bundle_sha256))
    slot = series.documents.slots.get(run.bundle.predicate.run.id)
    if slot is not None and slot.arm is Arm.CANDIDATE and _config(run.entry) != _config(series.entry):
        yield "its model or hints differ from those of its series"
    if (run.entry.retracted is None) != (series.entry.retracted is None):
        yield "retract the whole series: in its entry.json and in the entry.json of every run"


def _config(entry: BoardEntry) -> tuple[str | None, tuple[int, ...]]:
    return entry.model, entry.hints
