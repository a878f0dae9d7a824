"""Which times a run's FSR is taken between: measured here, scaled, re-timed by the paper, or official."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from kit.benchmark.tasks import Task
from kit.core.errors import PrerequisiteError
from kit.score.metrics import scaled
from kit.score.rows import Role, Row


class BaselineKind(StrEnum):
    """From best to worst."""

    SAME_MACHINE = "same-machine"
    """Start and target record were run on the candidate's machine."""
    SCALED = "scaled"
    """Only the start record was; the target is taken to be slower or faster by the same factor."""
    RETIMED = "re-timed"
    """The paper's times, of its machines."""
    OFFICIAL = "official"
    """The leaderboard's times, of upstream's machines."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """The two ends of FSR's scale, in milliseconds."""

    kind: BaselineKind
    start_ms: float
    target_ms: float
    start_runs: tuple[float, ...] = ()
    """What `start_ms` is the mean of; empty if it was not measured here."""
    target_runs: tuple[float, ...] = ()


def choose_baseline(
    task: Task, machine: str, rows: Sequence[Row], baseline_kind: BaselineKind | None
) -> Baseline:
    """
    Return the baseline of a task's runs on one machine; with `baseline_kind` None the best that they allow.

    A target that is not faster than its start here is no scale: then the next best is taken, unless it was
    asked for. Raises `PrerequisiteError` if what was asked for cannot be had.
    """
    for kind in BaselineKind if baseline_kind is None else (baseline_kind,):
        ends = _baseline_of(task, machine, rows, kind)
        if ends is not None and ends.target_ms < ends.start_ms:
            return ends
    raise PrerequisiteError(
        f"task {task.number} has no {baseline_kind} baseline",
        "run the start and the target record on the same machine, or use another --baseline",
    )


def _baseline_of(task: Task, machine: str, rows: Sequence[Row], kind: BaselineKind) -> Baseline | None:
    start, target = (_times(rows, task.number, machine, role) for role in (Role.START, Role.TARGET))
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
            return Baseline(kind, task.start.reference_ms, task.target.reference_ms)
        case BaselineKind.OFFICIAL:
            return Baseline(kind, 1000 * task.start.official_s, 1000 * task.target.official_s)


def _times(rows: Sequence[Row], task: int, machine: str, role: Role) -> tuple[float, ...]:
    return tuple(
        r.time_ms
        for r in rows
        if r.role is role and r.task == task and r.machine == machine and r.time_ms is not None
    )
