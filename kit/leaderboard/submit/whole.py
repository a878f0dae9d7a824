"""
Whether series were submitted whole: every run that was reserved, or none. Reads no file, verifies nothing.

Runs of a series prove something together. So one that is left out, refused for whatever reason, retracted
alone or listed under another name keeps all the others of its series out, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from pathlib import Path

from kit.leaderboard.submit.entry import BoardEntry, Submitted
from kit.leaderboard.submit.finding import BoardFinding, BoardRule
from kit.leaderboard.submit.series import SubmittedSeries
from kit.series.documents import differences
from kit.series.record import Arm, SeriesPlan


def check_series(
    root: Path, runs: Sequence[Submitted], series: Sequence[SubmittedSeries], faulty: Set[str]
) -> Iterator[BoardFinding]:
    """
    Yield what is wrong with series and their runs, among what could be opened.

    `faulty` holds the places that already have a finding; of two series of one plan, one of them is never
    taken for the original. A place is named relative to `root`.
    """
    by_plan: dict[str, SubmittedSeries] = {}
    firsts: dict[tuple[str, SeriesPlan], SubmittedSeries] = {}
    for submitted in sorted(series, key=lambda s: _place(root, s) in faulty):
        # Not the file's digest: one signature fits into the envelopes of both versions.
        first = firsts.setdefault((submitted.documents.key_id, submitted.documents.plan), submitted)
        by_plan.setdefault(submitted.documents.plan_sha256, submitted)
        if first is not submitted:
            yield BoardFinding(
                _place(root, submitted), BoardRule.DUPLICATE, f"the series is also in {_place(root, first)}"
            )
    members: dict[str, list[Submitted]] = {plan: [] for plan in by_plan}
    for run in runs:
        named = run.bundle.predicate.series
        if named is None:
            continue
        if named.plan_sha256 in by_plan:
            members[named.plan_sha256].append(run)
        else:
            why = f"it is a run of the series {named.id}, which is not here: submit the whole series"
            yield BoardFinding(_place(root, run), BoardRule.SERIES, why)
    for plan, submitted in by_plan.items():
        yield from _check_whole(root, submitted, members[plan], faulty)


def _check_whole(
    root: Path, series: SubmittedSeries, members: Sequence[Submitted], faulty: Set[str]
) -> Iterator[BoardFinding]:
    findings: list[BoardFinding] = []
    for run in members:
        findings += [BoardFinding(_place(root, run), BoardRule.SERIES, why) for why in _misfits(series, run)]
    there = {run.bundle.predicate.run.id for run in members}
    place = _place(root, series)
    absent = [run_id for run_id in series.documents.bundles if run_id not in there]
    findings += [
        BoardFinding(place, BoardRule.SERIES, f"its run {run_id} is not here, or not valid")
        for run_id in absent
    ]
    bad = {f.where for f in findings} | faulty
    yield from findings
    every = (place, *(_place(root, run) for run in members))
    broken = next((where for where in every if where in bad), None)
    if broken is not None:
        why = f"the series {series.documents.plan.id} is not accepted as a whole: see {broken}"
        yield from (BoardFinding(where, BoardRule.SERIES, why) for where in every if where not in bad)


def _misfits(series: SubmittedSeries, run: Submitted) -> Iterator[str]:
    """Yield why a run that names the series does not fit into it."""
    if series.documents.ended is None:
        yield f"its series {series.documents.plan.id} has not ended"
        return
    yield from (f"it {why}" for why in differences(series.documents, run.bundle, run.bundle_sha256))
    slot = series.documents.slots.get(run.bundle.predicate.run.id)
    if run.entry.agent != series.entry.agent:
        yield f"its series is listed for the agent {series.entry.agent}"
    elif slot is not None and slot.arm is Arm.CANDIDATE and _config(run.entry) != _config(series.entry):
        yield "its model or hints are not those of its series"
    if (run.entry.retracted is None) != (series.entry.retracted is None):
        yield "a series is retracted as a whole: in its entry.json and in those of all its runs"


def _config(entry: BoardEntry) -> tuple[str | None, tuple[int, ...]]:
    return entry.model, entry.hints


def _place(root: Path, submitted: Submitted | SubmittedSeries) -> str:
    return submitted.where.relative_to(root).as_posix()
