"""`speedrun eval --runs`: show a series on stderr while it goes on, and print its record's path."""

from __future__ import annotations

from collections.abc import Callable

from kit.cli.deadline_lines import show_missed_deadline
from kit.cli.interrupt import cancellable
from kit.cli.live import listener
from kit.cli.machine import load_per_core
from kit.cli.result_lines import show_look_alikes_of
from kit.cli.series_text import show_series, shown_below
from kit.cli.stderr import STDERR
from kit.cli.terminal import note, say_path
from kit.core.text import one_line
from kit.evaluate.audits import AuditSelection
from kit.evaluate.plan import RunPlan
from kit.evaluate.request import Places, Request
from kit.evaluate.run import Evaluation, Listener
from kit.result.keys import trusted
from kit.score.metrics import power
from kit.series.figures import open_series
from kit.series.record import SeriesPlan, Slot
from kit.series.run import SeriesRequest, plan_arms, run_series
from kit.values.profile import Profile

SD, MARGIN = 0.0017, 0.002
"""Nats per token: spread of final losses and usual distance from the target, of upstream's records."""


def run_series_live(
    request: Request,
    series_request: SeriesRequest,
    places: Places,
    audits: AuditSelection | None,
    as_json: bool,
) -> int:
    """Run a series, show its progress and its table; return the exit code."""
    arms = plan_arms(request, series_request, places)
    _tell_power(series_request.runs, request.profile)
    STDERR.stage("prepare data and image")
    with cancellable() as cancelled:
        shown = _ShownRuns(cancelled)
        record = run_series(arms, series_request, places, shown.listen, audits, _tell_plan, shown.tell_end)
        stopped = cancelled()
    STDERR.close()
    figures = open_series(record.parent, trusted(places.keys), places.records)
    show_series(figures, as_json)
    if not as_json:
        say_path(record)
    return 130 if stopped else 0 if shown_below(figures) else 1


def _tell_power(runs: int, profile: Profile) -> None:
    if runs < 2:
        note("a p-value needs at least 2 runs")
        return
    if profile is Profile.SMOKE:  # spread and margin of upstream's losses say nothing about these
        return
    chance = power(runs, SD, MARGIN)
    note(
        f"{runs} runs show a mean loss {MARGIN:g} below the target at p < 0.01 with probability {chance:.2f},"
        f" if runs differ by {SD:g} (sd), as upstream's do"
    )


def _tell_plan(plan: SeriesPlan) -> None:
    note(f"series {plan.id}: {len(plan.slots)} runs reserved and signed; stop rule: {plan.rule}")


class _ShownRuns:
    """Shows each run of a series while it goes on, and how it ended."""

    def __init__(self, cancelled: Callable[[], bool]) -> None:
        self._cancelled = cancelled
        self._load: float | None = None
        """Load average per core when the current run started."""

    def listen(self, plan: RunPlan) -> Listener:
        """Return what shows the next run."""
        self._load = load_per_core()
        return listener(plan, self._cancelled)

    def tell_end(self, slot: Slot, outcome: Evaluation | None) -> None:
        """Show how a run ended, and why it has no loss if it has none."""
        if outcome is None:
            note(f"  {slot.arm}: interrupted; its record says why")
            return
        p = outcome.predicate
        loss = "no loss" if p.claims.final_val_loss is None else f"val_loss {p.claims.final_val_loss:.4f}"
        note(f"  {slot.arm}: {p.run.status}: {one_line(p.run.reason)}; {p.score.verdict}, {loss}")
        show_missed_deadline(p, self._load, load_per_core())
        if p.claims.final_step is None:
            show_look_alikes_of(outcome.bundle.with_name("guest.log"), p.claims.grammar)
