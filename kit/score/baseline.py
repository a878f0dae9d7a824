"""Choose the two reference times of a run's FSR: same-machine, scaled, re-timed or official."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from kit.benchmark.tasks import Task
from kit.core.errors import PrerequisiteError
from kit.score.metrics import scaled
from kit.score.rows import Role, Row


class BaselineKind(StrEnum):
    """Source of the two reference times, from best to worst."""

    SAME_MACHINE = "same-machine"
    """The start record and the target record ran on the candidate's machine."""
    SCALED = "scaled"
    """Only the start record ran there; the target's time is scaled by the same factor."""
    RETIMED = "re-timed"
    """Times that the paper measured on its machines."""
    OFFICIAL = "official"
    """Times from upstream's leaderboard, on upstream's machines."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """The times at which FSR is 0 and 1, in milliseconds."""

    kind: BaselineKind
    start_ms: float
    target_ms: float
    start_runs: tuple[float, ...] = ()
    """Times whose mean is `start_ms`; empty if it was not measured here."""
    target_runs: tuple[float, ...] = ()


class Baselines:
    """The baselines of many runs: that of a task on a machine is looked up and computed once."""

    def __init__(self, rows: Sequence[Row], kind: BaselineKind | None) -> None:
        """Take the rows of start and target records from `rows`; `kind` is as in `choose_baseline`."""
        self.kind = kind
        self._rows: dict[tuple[int | str, str], list[Row]] = {}
        for row in rows:
            if row.role is not Role.CANDIDATE:
                self._rows.setdefault((row.task, row.machine), []).append(row)
        self._measured: dict[tuple[int | str, str], tuple[tuple[float, ...], tuple[float, ...]]] = {}
        self._baselines: dict[tuple[int | str, str], Baseline] = {}

    def measured(self, task: Task, machine: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return what `measured_arms` returns."""
        key = task.listed, machine
        if key not in self._measured:
            self._measured[key] = measured_arms(task, machine, self._rows.get(key, ()))
        return self._measured[key]

    def baseline(self, task: Task, machine: str) -> Baseline:
        """Return what `choose_baseline` returns. Raises `PrerequisiteError` as it does."""
        key = task.listed, machine
        if key not in self._baselines:
            self._baselines[key] = choose_baseline(task, machine, self._rows.get(key, ()), self.kind)
        return self._baselines[key]


def choose_baseline(
    task: Task, machine: str, rows: Sequence[Row], baseline_kind: BaselineKind | None
) -> Baseline:
    """
    Return the baseline of a task's runs on one machine: of `baseline_kind`, or else the best available.

    A baseline whose target is not faster than its start is not used. Raises `PrerequisiteError` if
    `baseline_kind` is not available.
    """
    for kind in BaselineKind if baseline_kind is None else (baseline_kind,):
        ends = _baseline_of(task, machine, rows, kind)
        if ends is not None and ends.target_ms < ends.start_ms:
            return ends
    raise PrerequisiteError(
        f"task {task.name} has no {baseline_kind} baseline",
        "run the start and the target record on the same machine, or use another --baseline",
    )


def _baseline_of(task: Task, machine: str, rows: Sequence[Row], kind: BaselineKind) -> Baseline | None:
    start, target = measured_arms(task, machine, rows)
    here = sum(start) / len(start) if start else 0.0
    match kind:
        case BaselineKind.SAME_MACHINE:
            return (
                Baseline(kind, here, sum(target) / len(target), start, target) if start and target else None
            )
        case BaselineKind.SCALED:
            there = (task.start.reference_ms, task.target.reference_ms)
            return Baseline(kind, here, scaled(here, *there), start) if start else None
        case BaselineKind.RETIMED:
            if task.start.retimed_ms is None or task.target.retimed_ms is None:
                return None
            return Baseline(kind, task.start.reference_ms, task.target.reference_ms)
        case BaselineKind.OFFICIAL:
            return Baseline(kind, 1000 * task.start.official_s, 1000 * task.target.official_s)


def measured_arms(
    task: Task, machine: str, rows: Sequence[Row]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the times of the start and the target record that were measured on a machine."""
    start, target = (_times(rows, task.listed, machine, role) for role in (Role.START, Role.TARGET))
    return start, target


def _times(rows: Sequence[Row], task: int | str, machine: str, role: Role) -> tuple[float, ...]:
    return tuple(
        r.time_ms
        for r in rows
        if r.role is role and r.task == task and r.machine == machine and r.time_ms is not None
    )
