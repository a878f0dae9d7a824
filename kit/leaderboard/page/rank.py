"""
Turn checked entries into the rows of a board: scores, tiers and reproductions.

A result counts if the check has no finding about it, it is not retracted, and it is not a rerun of another
result: a rerun is evidence for the first result, not another run of an agent. A run that a series reserved
and never started counts as failed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kit.benchmark.records import Record, load
from kit.benchmark.tasks import Task, TaskSet, load_tasks
from kit.core.digest import Sha256
from kit.leaderboard.submit.check import CheckedBoard
from kit.leaderboard.submit.data_locks import describe_locks
from kit.leaderboard.submit.entry import BoardEntry, Submitted
from kit.leaderboard.submit.series import SubmittedSeries
from kit.result.appraisal.agreement import Agreement, compare, tolerance
from kit.result.appraisal.timing import CountedTime, counted_time
from kit.result.appraisal.trust import Tier, assess_tier
from kit.score.metrics import Interval
from kit.score.report import ConfigScore, RunScore, TaskScore, score
from kit.score.rows import Role, Row, rows_of
from kit.series.record import Arm
from kit.series.timing import times_of
from kit.values.task_id import in_order, listed_as

TIERS = tuple(Tier)
"""From lowest to highest."""
REPETITIONS = 5_000
MAX_POINTS = 60


@dataclass(frozen=True, slots=True)
class BoardResult:
    """One run on the board."""

    submitted: Submitted
    tier: Tier
    missing: str
    """Reason why it does not have the next tier."""
    reproduced_by: tuple[Sha256, ...]
    """Other trusted keys whose reruns agree."""
    contradicted_by: tuple[Sha256, ...]
    """Other trusted keys whose reruns disagree."""
    score: RunScore | None
    """None for a retracted run and for a baseline."""
    baseline: bool
    """Whether it ran a record's original script."""
    time: CountedTime | None
    """The scored time."""

    @property
    def run_id(self) -> str:
        """Return the run's id."""
        return self.submitted.bundle.predicate.run.id

    @property
    def curve(self) -> tuple[tuple[float, float], ...]:
        """Return at most `MAX_POINTS` pairs of seconds on the host's clock and nats per token."""
        p = self.submitted.bundle.predicate
        pairs = zip(p.claims.val_points, p.observations.val_point_host_ms, strict=True)
        points = [(ms / 1000, v.val_loss) for v, ms in pairs if ms is not None and v.val_loss is not None]
        stride = -(-len(points) // MAX_POINTS) or 1
        return tuple(points[::-stride][::-1])


@dataclass(frozen=True, slots=True)
class BoardGroup:
    """All runs of one agent, with one model and the same hints, at one task."""

    task: int | str
    config: str
    agent: str
    model: str | None
    hints: tuple[int, ...]
    results: tuple[BoardResult, ...]
    """Sorted by time; retracted runs last."""
    score: TaskScore | None
    """None if every run is retracted, or for baselines."""
    series: tuple[SubmittedSeries, ...] = ()
    """Series of its runs, and series in progress of the same agent, model and hints."""

    @property
    def reserved(self) -> int:
        """Count the runs that a series reserved."""
        plans = (submitted.documents.plan for submitted in self.series)
        return sum(slot.arm is Arm.CANDIDATE for plan in plans for slot in plan.slots)

    @property
    def chosen(self) -> int:
        """Count the runs outside a series; the total number of attempts is unknown."""
        return sum(r.submitted.bundle.predicate.series is None for r in self.results)

    @property
    def tier(self) -> Tier:
        """Return the lowest tier of the runs that count."""
        counted = [r for r in self.results if not r.submitted.entry.retracted]
        return min((r.tier for r in counted), key=TIERS.index, default=TIERS[0])

    @property
    def median(self) -> BoardResult:
        """Return the run with the median time, for the plot."""
        counted = [r for r in self.results if not r.submitted.entry.retracted] or list(self.results)
        return counted[(len(counted) - 1) // 2]


@dataclass(frozen=True, slots=True)
class RefusedSubmission:
    """An entry that was not accepted, with all reasons."""

    where: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Board:
    """Everything that the page shows."""

    groups: tuple[BoardGroup, ...]
    """Sorted by task, then score, best first."""
    baselines: tuple[BoardGroup, ...]
    overall: tuple[ConfigScore, ...]
    """Each configuration over the tasks of the board's set; a task without a run counts as 0."""
    series: tuple[SubmittedSeries, ...]
    """Every accepted series, by task and age."""
    refused: tuple[RefusedSubmission, ...]
    data: str = ""
    """Which data locks the results were compared with; empty without results of full runs."""
    smoke: tuple[Submitted, ...] = ()
    """Valid runs of the smoke profile, which is never ranked."""


def rank(checked: CheckedBoard, root: Path, tasks: Sequence[Task]) -> Board:
    """
    Return the board of a checked repository; `root` is `kit.core.facts.facts_root()`.

    Tiers and scores are computed from the bundles. `tasks` is the set of the overall figures; runs of other
    tasks have their own rows.
    """
    accepted = checked.accepted
    firsts = {s.bundle_sha256: s for s in accepted}
    record_of = functools.cache(lambda number: load(root / "records", number))
    verdicts: dict[Sha256, list[tuple[Sha256, Agreement]]] = {}
    for first, key, agreement in _reruns(accepted, firsts, record_of):
        verdicts.setdefault(first, []).append((key, agreement))
    own = [s for s in accepted if s.bundle.predicate.reproduces is None]
    times = _times(own, checked.series)
    named = [(s, _timed(row, times)) for s in own for row in rows_of(s.bundle, record_of, config_of(s.entry))]
    counted = [row for s, row in named if s.entry.retracted is None]
    counted += _never_started(checked.series, counted)
    every = load_tasks(root, TaskSet.ALL)
    numbers = {t.listed for t in tasks}
    overall = _scores([row for row in counted if row.task in numbers], tasks)
    others = [row for row in counted if row.task not in numbers]
    scored = (*overall, *_scores(others, every, partial=True))
    scores = {(c.config, t.task): t for c in scored for t in c.tasks}
    groups = list(_groups(named, verdicts, scores, checked.series, times))
    return Board(
        groups=tuple(sorted((g for g in groups if not g.results[0].baseline), key=_order)),
        baselines=tuple(sorted((g for g in groups if g.results[0].baseline), key=_order)),
        overall=tuple(sorted(overall, key=_best_first)),
        series=tuple(sorted(checked.series, key=_series_order)),
        refused=_refused(checked),
        data=describe_locks(checked.locks, checked.with_shards) if checked.with_shards else "",
        smoke=tuple(sorted(checked.smoke, key=lambda s: s.bundle.predicate.run.started_at)),
    )


def _times(own: Sequence[Submitted], series: Sequence[SubmittedSeries]) -> dict[str, CountedTime]:
    """Return each run's time by run id; in a series, with the overhead against its start arm."""
    predicates = {s.bundle.predicate.run.id: s.bundle.predicate for s in own}
    times = {run: time for run, p in predicates.items() if (time := counted_time(p)) is not None}
    for submitted in series:
        times |= times_of(submitted.documents.plan, predicates)
    return times


def _timed(row: Row, times: Mapping[str, CountedTime]) -> Row:
    return replace(row, time_ms=times[row.run].total) if row.time_ms is not None else row


def _never_started(series: Sequence[SubmittedSeries], rows: Sequence[Row]) -> list[Row]:
    """Return a failed row for each reserved candidate run that never started."""
    listed = {(row.task, row.config) for row in rows if row.role is Role.CANDIDATE}
    missing = []
    for submitted in series:
        plan, ended = submitted.documents.plan, submitted.documents.ended
        task, config = listed_as(plan.name), config_of(submitted.entry)
        if ended is None or submitted.entry.retracted is not None or (task, config) not in listed:
            continue
        missing += [
            Row(task, config, Role.CANDIDATE, "", slot.run_id, None, None, None, str(submitted.where))
            for slot in plan.slots
            if slot.arm is Arm.CANDIDATE and slot.run_id in ended.not_started
        ]
    return missing


def config_of(entry: BoardEntry) -> str:
    """Return the name of a configuration: agent, model and hints."""
    hints = "no hints" if not entry.hints else f"hints {', '.join(map(str, entry.hints))}"
    return " · ".join(part for part in (entry.agent, entry.model, hints) if part)


def figure(config: ConfigScore, name: str) -> Interval:
    """Return one of a configuration's figures: `iqm`, `mean` or `median`."""
    return next(f for f in config.figures if f.name == name)


def _best_first(config: ConfigScore) -> tuple[float, float, str]:
    return -figure(config, "iqm").value, -figure(config, "mean").value, config.config


def _scores(rows: Sequence[Row], tasks: Sequence[Task], *, partial: bool = False) -> tuple[ConfigScore, ...]:
    if not any(row.role is Role.CANDIDATE for row in rows):
        return ()
    return score(rows, tasks, partial=partial, repetitions=REPETITIONS)


def _reruns(
    accepted: Sequence[Submitted],
    firsts: Mapping[Sha256, Submitted],
    record_of: Callable[[str | int], Record],
) -> Iterator[tuple[Sha256, Sha256, Agreement]]:
    """Yield (first bundle, key of the rerun, agreement) for every rerun by another key that stands by it."""
    for second in accepted:
        named = second.bundle.predicate.reproduces
        first = firsts.get(named.bundle_sha256) if named else None
        if first is None or second.entry.retracted or first.bundle.key_id == second.bundle.key_id:
            continue
        p = first.bundle.predicate
        allowed = tolerance(p.task.profile, record_of(p.task.id))
        comparison = compare(first.bundle.statement, second.bundle.statement, allowed)
        yield first.bundle_sha256, second.bundle.key_id, comparison.agreement


def _groups(
    named: Sequence[tuple[Submitted, Row]],
    verdicts: Mapping[Sha256, Sequence[tuple[Sha256, Agreement]]],
    scores: Mapping[tuple[str, int | str], TaskScore],
    series: Sequence[SubmittedSeries],
    times: Mapping[str, CountedTime],
) -> Iterator[BoardGroup]:
    together: dict[tuple[int | str, str, bool], list[Submitted]] = {}
    for submitted, row in named:
        if row.role is not Role.TARGET:
            key = (row.task, row.config, row.role is Role.START)
            together.setdefault(key, []).append(submitted)
    by_config: dict[tuple[int | str, str], list[SubmittedSeries]] = {}
    for one in series:
        by_config.setdefault((_task_of(one), config_of(one.entry)), []).append(one)
    for (task, config, baseline), members in together.items():
        scored = None if baseline else scores.get((config, task))
        runs = {r.run: r for r in scored.runs} if scored else {}
        results = [_result(m, verdicts, runs, baseline, times) for m in members]
        entry = members[0].entry
        yield BoardGroup(
            task=task,
            config=config,
            agent=entry.agent,
            model=entry.model,
            hints=entry.hints,
            results=tuple(sorted(results, key=_by_time)),
            score=scored,
            series=() if baseline else tuple(by_config.get((task, config), ())),
        )


def _result(
    submitted: Submitted,
    verdicts: Mapping[Sha256, Sequence[tuple[Sha256, Agreement]]],
    runs: Mapping[str, RunScore],
    baseline: bool,
    times: Mapping[str, CountedTime],
) -> BoardResult:
    about = verdicts.get(submitted.bundle_sha256, ())
    agreed = tuple(sorted({key for key, how in about if how is Agreement.REPRODUCED}))
    against = tuple(sorted({key for key, how in about if how is Agreement.NOT_REPRODUCED}))
    assessment = assess_tier(submitted.bundle.predicate, submitted.bundle.trusted)
    gone = submitted.entry.retracted is not None
    return BoardResult(
        submitted=submitted,
        tier=assessment.tier,
        missing=assessment.missing,
        reproduced_by=agreed,
        contradicted_by=against,
        score=None if gone or baseline else runs.get(submitted.bundle.predicate.run.id),
        baseline=baseline,
        time=times.get(submitted.bundle.predicate.run.id),
    )


def _by_time(result: BoardResult) -> tuple[bool, float, str]:
    gone = result.submitted.entry.retracted is not None
    return gone, float("inf") if result.time is None else result.time.total, result.run_id


def _order(group: BoardGroup) -> tuple[tuple[int, str], float, str]:
    return in_order(group.task), -group.score.mean if group.score else 0.0, group.config


def _task_of(series: SubmittedSeries) -> int | str:
    return listed_as(series.documents.plan.name)


def _series_order(series: SubmittedSeries) -> tuple[tuple[int, str], str]:
    return in_order(_task_of(series)), series.documents.plan.id


def _refused(checked: CheckedBoard) -> tuple[RefusedSubmission, ...]:
    reasons: dict[str, list[str]] = {}
    for finding in checked.findings:
        reasons.setdefault(finding.where, []).append(f"{finding.rule}: {finding.message}")
    return tuple(RefusedSubmission(where, tuple(messages)) for where, messages in sorted(reasons.items()))
