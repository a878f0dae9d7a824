"""Compute the texts of the board's tables; the files in `templates/` turn them into HTML."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite, isnan

from kit.leaderboard.page.legend import ABOUT_TIERS
from kit.leaderboard.page.rank import TIERS, BoardGroup, BoardResult, RefusedSubmission, config_of
from kit.leaderboard.submit.entry import Retraction, Submitted
from kit.leaderboard.submit.series import SubmittedSeries
from kit.result.appraisal.verdict import has_loss
from kit.result.predicate import Verdict
from kit.score.metrics import mean_below
from kit.score.report import ConfigScore, TaskScore
from kit.series.record import Arm
from kit.values.run_result import RunStatus
from kit.values.task_id import leading_number

NONE = "–"


RUN_HEADS = ("run", "time", "loss", "FSR", "tier and notes")
OVERALL_HEADS = ("Agent", "IQM", "Mean", "Median", "Tasks")


@dataclass(frozen=True, slots=True)
class Badge:
    """One framed word."""

    kind: str
    """Class of the page's style."""
    text: str
    about: str


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of the board."""

    label: str
    key: str
    """What the page's script sorts by."""
    text: str
    notes: tuple[str, ...] = ()
    badges: tuple[Badge, ...] = ()

    @property
    def one_line(self) -> bool:
        """Return whether the cell's lines must not wrap."""
        return self.label not in ("Agent", "Environment")


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run below its row of the board."""

    run_id: str
    capsule: str | None
    retracted: Retraction | None
    date: str
    """Day of its start, UTC, by the operator's clock."""
    time: str
    overhead: str
    loss: str
    verdict: str
    fsr: str
    lines: tuple[str, ...]
    """Tier, reruns, note and fidelity."""


@dataclass(frozen=True, slots=True)
class GroupRow:
    """One row of the board and its runs."""

    task: int | str
    tier: int
    """Index of its tier."""
    retracted: bool
    cells: tuple[Cell, ...]
    count: str
    runs: tuple[RunRow, ...]


@dataclass(frozen=True, slots=True)
class OverallFigure:
    """A value and its interval."""

    value: str
    interval: str


@dataclass(frozen=True, slots=True)
class OverallRow:
    """One configuration over all tasks."""

    config: str
    figures: tuple[OverallFigure, ...]
    tasks: str


@dataclass(frozen=True, slots=True)
class TextTable:
    """A table of plain texts."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def number_of(count: int, noun: str, plural: str = "") -> str:
    """Return a count with its noun, for example `1 run` and `2 runs`."""
    return f"{count} {noun}" if count == 1 else f"{count} {plural or f'{noun}s'}"


def group_row(group: BoardGroup) -> GroupRow:
    """Return a row of the board."""
    counted = [r for r in group.results if not r.submitted.entry.retracted]
    score = group.score
    best = min((r.time.total for r in counted if r.time is not None and _has_reached(r)), default=None)
    cells = (
        Cell("Task", str(leading_number(str(group.task))), f"{group.task} → {_next_record(group)}"),
        Cell("Agent", group.config, group.agent, (_model_and_hints(group),)),
        Cell("FSR", str(score.mean if score else -9), _fsr(score), tuple(_fsr_notes(score))),
        Cell("Reached", str(score.reached if score else -1), _reached(score), tuple(_reserved(group))),
        Cell(
            "Best time",
            str(1e18 if best is None else best),
            NONE if best is None else _clock(best),
            _days(group),
        ),
        _loss_cell(counted),
        Cell("Tier", str(TIERS.index(group.tier)), "", (), tuple(_badges(group, counted))),
        _environment(group.median),
    )
    runs = tuple(_run_row(r) for r in group.results)
    return GroupRow(
        group.task, TIERS.index(group.tier), not counted, cells, number_of(len(runs), "run"), runs
    )


def _days(group: BoardGroup) -> tuple[str, ...]:
    """Return the day of the row's first run, and that of the last if it is another."""
    days = sorted({_day(r.submitted.bundle.predicate.run.started_at) for r in group.results})
    return (days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}",)


def _next_record(group: BoardGroup) -> str:
    number = group.results[0].submitted.bundle.predicate.task.target
    return str(number) if number is not None else "?"


def _model_and_hints(group: BoardGroup) -> str:
    hints = "no hints" if not group.hints else f"hints {', '.join(map(str, group.hints))}"
    return " · ".join(part for part in (group.model, hints) if part)


def _fsr(score: TaskScore | None) -> str:
    return NONE if score is None else f"{score.mean:.3f}"


def _fsr_notes(score: TaskScore | None) -> Iterator[str]:
    if score is None:
        return
    if score.unresolved:
        yield "unresolved: gap within noise"
        return
    if score.ratio is not None and isfinite(score.ratio.low):
        yield f"95 %: {score.ratio.low:.2f} to {score.ratio.high:.2f}"
    if score.kinds:
        yield ", ".join(score.kinds)


def _reached(score: TaskScore | None) -> str:
    return NONE if score is None else f"{score.reached} of {len(score.runs)}"


def _reserved(group: BoardGroup) -> Iterator[str]:
    """Yield how many runs a series reserved, and how many the submitter selected."""
    if group.score is None:
        return
    if group.series:
        count = len(group.series)
        yield f"{group.reserved} reserved in {'a series' if count == 1 else f'{count} series'}"
    if group.chosen:
        yield f"{group.chosen} not in a series"


def _has_reached(result: BoardResult) -> bool:
    return result.submitted.bundle.predicate.score.verdict is Verdict.REACHED


def _loss_cell(results: Sequence[BoardResult]) -> Cell:
    """
    Return the mean over the runs that ended with a loss, also above the target, and its p-value.

    A run that failed or was refused has printed a loss too, but none that counts.
    """
    ended = (p for r in results if has_loss(p := r.submitted.bundle.predicate))
    losses = [loss for p in ended if (loss := p.claims.final_val_loss) is not None]
    if not losses:
        return Cell("Mean loss", "99", NONE)
    test = mean_below(losses, results[0].submitted.bundle.predicate.task.target_val_loss)
    notes = () if isnan(test.p) else (f"p = {test.p:.3f}",)
    return Cell("Mean loss", str(test.mean), f"{test.mean:.4f}", notes)


def _badges(group: BoardGroup, counted: Sequence[BoardResult]) -> Iterator[Badge]:
    if not counted:
        yield Badge("x", "retracted", "The submitter withdrew every run of this row.")
        return
    yield Badge(f"t{TIERS.index(group.tier)}", group.tier, ABOUT_TIERS[group.tier])
    if again := sum(bool(r.reproduced_by) for r in counted):
        about = "Runs that a rerun under another trusted key confirmed."
        yield Badge("r", f"reproduced: {again} of {len(counted)}", about)
    if against := sum(bool(r.contradicted_by) for r in counted):
        about = "Runs that a rerun under another trusted key contradicts."
        yield Badge("x", f"rerun disagrees: {against}", about)


def _environment(result: BoardResult) -> Cell:
    p = result.submitted.bundle.predicate
    where = p.environment
    gpus: dict[str, int] = {}
    for gpu in p.hardware.gpus:
        gpus[gpu.name] = gpus.get(gpu.name, 0) + 1
    cards = ", ".join(f"{n} × {name}" for name, n in sorted(gpus.items())) or "no GPU"
    return Cell("Environment", "", cards, (f"{where.era}, {where.runtime.name}, {where.isolation.level}",))


def _run_row(result: BoardResult) -> RunRow:
    entry = result.submitted.entry
    p = result.submitted.bundle.predicate
    loss, time = p.claims.final_val_loss, result.time
    overhead = time.untimed_overhead if time else None
    return RunRow(
        run_id=p.run.id,
        capsule=entry.capsule,
        retracted=entry.retracted,
        date=_day(p.run.started_at),
        time=NONE if time is None else _clock(time.total),
        overhead=f"includes {_clock(overhead)} untimed overhead" if overhead else "",
        loss=NONE if loss is None else f"{loss:.4f}",
        verdict="" if loss is None else p.score.verdict,
        fsr=NONE if result.score is None else f"{result.score.fsr:.3f}",
        lines=tuple(_tier_lines(result)),
    )


def _tier_lines(result: BoardResult) -> Iterator[str]:
    yield result.tier + (f": {result.missing}" if result.missing else "")
    for key in result.reproduced_by:
        yield f"reproduced by key {key[:12]}"
    for key in result.contradicted_by:
        yield f"not reproduced by key {key[:12]}"
    if result.submitted.entry.note:
        yield result.submitted.entry.note
    p = result.submitted.bundle.predicate
    yield ", ".join(f"{name} {level}" for name, level in p.environment.fidelity)


def _day(moment: str) -> str:
    """Return the day of an ISO 8601 moment."""
    return moment.partition("T")[0]


def _clock(ms: float) -> str:
    seconds = ms / 1000
    return f"{seconds:.1f} s" if seconds < 90 else f"{seconds / 60:.2f} min"


def overall_row(config: ConfigScore, tasks: int) -> OverallRow:
    """Return one configuration's figures over all tasks, in the order of `OVERALL_HEADS`."""
    named = {f.name: f for f in config.figures}
    figures = tuple(
        OverallFigure(f"{f.value:.3f}", f"{f.low:.2f} to {f.high:.2f}")
        for f in (named[name] for name in ("iqm", "mean", "median"))
    )
    return OverallRow(config.config, figures, f"{len(config.tasks)} of {tasks}")


def series_table(series: Sequence[SubmittedSeries]) -> TextTable:
    """Return what each series reserved, and how it ended."""
    heads = ("task", "agent", "series", "reserved runs", "stop rule", "ended")
    return TextTable(heads, tuple(_series_row(submitted) for submitted in series))


def _series_row(submitted: SubmittedSeries) -> tuple[str, ...]:
    plan, ended = submitted.documents.plan, submitted.documents.ended
    counts = {arm: sum(slot.arm is arm for slot in plan.slots) for arm in Arm}
    reserved = ", ".join(f"{n} {arm}" for arm, n in counts.items() if n)
    state = "in progress" if ended is None else ended.reason
    if ended is not None and ended.not_started:
        state += f"; {len(ended.not_started)} never started"
    if submitted.entry.retracted:
        state = f"retracted on {submitted.entry.retracted.on}: {submitted.entry.retracted.reason}"
    return plan.name, config_of(submitted.entry), plan.id, reserved, str(plan.rule), state


def smoke_table(smoke: Sequence[Submitted]) -> TextTable:
    """Return the valid runs of the smoke profile."""
    return TextTable(
        ("date", "record", "agent", "run", "status", "loss", "target loss"), tuple(map(_smoke_row, smoke))
    )


def _smoke_row(submitted: Submitted) -> tuple[str, ...]:
    p = submitted.bundle.predicate
    loss = p.claims.final_val_loss
    return (
        _day(p.run.started_at),
        str(p.task.id),
        config_of(submitted.entry),
        p.run.id,
        p.score.verdict if p.run.status is RunStatus.COMPLETED else p.run.status,
        NONE if loss is None else f"{loss:.4f}",
        f"{p.task.target_val_loss:.4f}",
    )


def refused_table(refused: Sequence[RefusedSubmission]) -> TextTable:
    """Return what was not accepted, with all reasons."""
    rows = tuple((item.where, "; ".join(item.reasons)) for item in refused)
    return TextTable(("directory", "reasons"), rows)
