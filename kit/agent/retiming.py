"""Time the winner again in a fresh series with all audits (`retime_winner`)."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from kit.agent.events import Retimed
from kit.agent.journal import JOURNAL, open_journal, read_journal
from kit.agent.node import EvaluationStatus
from kit.agent.nodefiles import NodeFiles
from kit.agent.outcome import reference_of_spec
from kit.agent.series_score import outcomes_of, retimed_score
from kit.agent.session import RunHooks
from kit.agent.spec import AgentSpec
from kit.agent.tree import fold
from kit.core.errors import UsageError
from kit.evaluate.audits import AuditSelection, select_audits
from kit.evaluate.plan import RunPlan
from kit.evaluate.request import Places, Request
from kit.evaluate.run import Evaluation, Listener
from kit.result.keys import Trusted, load_or_create
from kit.series.figures import open_series
from kit.series.record import Slot
from kit.series.run import SeriesRequest, plan_arms, run_series


class EndedRun(Protocol):
    """A run whose winner can be timed again."""

    @property
    def folder(self) -> Path:
        """Its directory."""
        ...

    @property
    def spec(self) -> AgentSpec:
        """Its choices."""
        ...

    @property
    def evaluation(self) -> Request:
        """The request of its evaluations."""
        ...

    @property
    def places(self) -> Places:
        """Those of its evaluations: `out` is the directory of bundles."""
        ...


@dataclass(frozen=True, slots=True)
class RetimedArms:
    """The scripts that run in turn with a winner, so that all times are of one machine and one day."""

    interleave: bool = False
    """Run the start script, and the target's."""
    horizon: str | None = None
    """The record of the target's script; None for the next record."""


NO_ARMS = RetimedArms()


@dataclass(frozen=True, slots=True)
class RetimedWinner:
    """The times of a run's winner: in the search, and in a series of its own."""

    event: Retimed
    series: Path
    """The series' directory."""


def retimed_of(folder: Path) -> Retimed | None:
    """Return the last retiming that the journal in `folder` holds, if any."""
    events = read_journal(folder / JOURNAL).events
    return next((event for event in reversed(events) if isinstance(event, Retimed)), None)


def retime_winner(
    run: EndedRun,
    runs: int,
    hooks: RunHooks,
    listen: Callable[[RunPlan], Listener],
    audits: AuditSelection | None = None,
    ended: Callable[[Slot, Evaluation | None], None] = lambda slot, outcome: None,
    arms: RetimedArms = NO_ARMS,
) -> RetimedWinner | None:
    """
    Run the winner's submission in a series of `runs` runs with all audits, and write a `Retimed`.

    The winner of a search is the fastest of many runs, so its time there is too low by chance. `arms` says
    which other scripts run in turn with it. Returns None if the series was cancelled. Raises `UsageError` if
    the search has no winner or has not ended, and as running a series does.
    """
    tree = fold(read_journal(run.folder / JOURNAL).events)
    winner = tree.ended.winner if tree.ended is not None else None
    if winner is None:
        raise UsageError("the search has no winner to be timed again", "finish the search first")
    node, files = tree.node(winner), NodeFiles(run.folder, winner)
    series, chosen = (
        SeriesRequest(runs, arms.interleave, horizon=arms.horizon),
        audits or select_audits(["all"]),
    )
    with files.private_copy(files.read_submission(node.submission_sha256)) as copy:
        plans = plan_arms(replace(run.evaluation, submission=copy), series, run.places)
    record = run_series(plans, series, run.places, listen, chosen, ended=ended)
    if hooks.cancelled():
        return None
    event = _event(run, winner, tree.time_ms(winner) or 0.0, record.parent, runs)
    with open_journal(run.folder, hooks.now, hooks.redact)[0] as journal:
        journal.append(event)
    return RetimedWinner(event, record.parent)


def _event(run: EndedRun, winner: int, search_ms: float, series: Path, runs: int) -> Retimed:
    trusted = Trusted((load_or_create(run.places.keys).public,))
    figures = open_series(series, trusted, run.places.records)
    reference = reference_of_spec(run.spec)
    outcomes = outcomes_of(figures, reference)
    times = [o.time_ms for o in outcomes if o.status is EvaluationStatus.REACHED and o.time_ms is not None]
    mean = statistics.fmean(times) if times else None
    return Retimed(
        node=winner,
        series=series.name,
        runs=runs,
        reached=len(times),
        search_ms=search_ms,
        mean_ms=mean,
        sd_ms=statistics.stdev(times) if len(times) > 1 else None,
        fsr=retimed_score(figures, reference, times),
    )
