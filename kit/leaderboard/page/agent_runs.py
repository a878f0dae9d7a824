"""
Agents' runs on the board: verified, grouped by what they share but the seed, and averaged over seeds.

A run counts if `kit.agent.verify` finds no fault and a trusted key signed its summary. Between two nodes the
best FSR so far holds; after a run's last node it holds too, so that runs of different length are compared.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kit.agent.curve import CurveAxis, CurvePoint, curve_of, steps_of
from kit.agent.horizon import horizon_of
from kit.agent.journal import JOURNAL
from kit.agent.node import NodeStatus
from kit.agent.recorded import RecordedRun
from kit.agent.verify import verify_run
from kit.benchmark.tasks import load_task
from kit.core.errors import KitError, PrerequisiteError
from kit.core.facts import facts_root
from kit.core.reading import unreadable
from kit.leaderboard.page.rank import RefusedSubmission
from kit.result.keys import Trusted
from kit.values.task_id import listed_as

MAX_RUNS = 10_000
SWEEP_RUNS = "cells/*/runs/*"
"""Where the directory of a sweep has its runs."""

STATUS_CLASSES: tuple[tuple[str, tuple[NodeStatus, ...]], ...] = (
    ("faster than its parent", (NodeStatus.VALID_IMPROVED,)),
    ("valid, not faster", (NodeStatus.VALID_NOT_IMPROVED,)),
    ("crashed", (NodeStatus.BUGGY_CRASH,)),
    ("missed the loss", (NodeStatus.BUGGY_LOSS,)),
    ("timed out", (NodeStatus.TIMED_OUT,)),
    ("audit failed", (NodeStatus.AUDIT_FAILED,)),
    ("no usable edit", (NodeStatus.EDIT_FAILED, NodeStatus.NO_ANSWER, NodeStatus.REFUSED_BY_MODEL)),
    ("outside the agent", (NodeStatus.INFRA_FAILED, NodeStatus.LOST, NodeStatus.STOPPED)),
)
"""How the statuses of nodes are shown, in the order of the stack."""


@dataclass(frozen=True, slots=True)
class AgentGroup:
    """Runs of one scaffold with one model and the same hints at one task; they differ in their seeds."""

    task: str
    """With its horizon, if it has one: `46 to 62`."""
    scaffold: str
    """With its fidelity, if that is not the paper's, and `own times` if FSR has other times than the task."""
    model: str
    hints: tuple[int, ...]
    runs: tuple[RecordedRun, ...]
    """By seed."""
    curves: tuple[tuple[CurvePoint, ...], ...]
    """One for each run."""

    @property
    def label(self) -> str:
        """Name the group within its task."""
        hints = f"hints {','.join(map(str, self.hints))}" if self.hints else "no hints"
        return f"{self.scaffold} · {self.model} · {hints}"


@dataclass(frozen=True, slots=True)
class JudgedWinner:
    """The winner of one run."""

    task: str
    group: str
    """The label of the run's group."""
    model: str
    hints: str
    seed: int
    node: int
    fsr: float | None
    """Of the fresh series, if the winner was timed again; else that of the search."""
    recovered: float | None
    """The distance recovered in tokens; None if it was not measured."""
    d: float | None
    l: float | None  # noqa: E741 - the guide's name
    reliable: bool | None
    """Whether the controls of L passed; None without L."""


@dataclass(frozen=True, slots=True)
class AgentRuns:
    """The runs that count, and those that do not, with the reasons."""

    groups: tuple[AgentGroup, ...]
    refused: tuple[RefusedSubmission, ...]
    winners: tuple[JudgedWinner, ...] = ()
    """Winners with what was judged or measured about them; empty if nothing was asked for."""


@dataclass(frozen=True, slots=True)
class BandPoint:
    """The best FSR so far at one place of an axis, over seeds."""

    x: float
    mean: float
    low: float
    high: float


def read_agent_runs(folders: Sequence[Path], trusted: Trusted) -> AgentRuns:
    """
    Verify the runs in directories; each is a run's directory, or contains some.

    Raises `PrerequisiteError` if a directory has no run or more than `MAX_RUNS`.
    """
    counted: dict[str, RecordedRun] = {}
    refused: list[RefusedSubmission] = []
    for folder in dict.fromkeys(found for given in folders for found in _runs_in(given)):
        run, reasons = _checked(folder, trusted)
        if run is not None and run.contents.head in counted:
            reasons = ("it is there twice",)
        if reasons or run is None:
            refused.append(RefusedSubmission(str(folder), reasons))
        else:
            counted[run.contents.head] = run
    return AgentRuns(group_runs(tuple(counted.values())), tuple(refused))


def group_runs(runs: Sequence[RecordedRun]) -> tuple[AgentGroup, ...]:
    """Return runs in groups that differ in their seeds alone, sorted."""
    groups: dict[tuple[str, str, str, tuple[int, ...]], list[RecordedRun]] = {}
    for run in runs:
        groups.setdefault(_key(run), []).append(run)
    return tuple(_group(key, groups[key]) for key in sorted(groups))


def band_of(group: AgentGroup, axis: CurveAxis) -> tuple[BandPoint, ...]:
    """Return mean, lowest and highest of the group's curves; empty if a run spent nothing on the axis."""
    curves = [steps_of(points, axis) for points in group.curves]
    if not curves or not all(curves):
        return ()
    places = sorted({x for curve in curves for x, _ in curve})
    return tuple(_at(curves, x) for x in places)


def shares_of(group: AgentGroup) -> tuple[tuple[float, ...], ...]:
    """Return, for each step, the share of each of `STATUS_CLASSES` among the runs that came so far."""
    longest = max((len(points) for points in group.curves), default=0)
    steps = []
    for step in range(longest):
        there = [points[step].status for points in group.curves if len(points) > step]
        counts = [sum(status in members for status in there) for _, members in STATUS_CLASSES]
        steps.append(tuple(count / len(there) for count in counts))
    return tuple(steps)


def _runs_in(folder: Path) -> Iterator[Path]:
    if (folder / JOURNAL).is_file():
        yield folder
        return
    try:
        found = sorted(path for path in folder.iterdir() if (path / JOURNAL).is_file())
        found += sorted(path.parent for path in folder.glob(f"{SWEEP_RUNS}/{JOURNAL}"))
    except OSError as e:
        raise unreadable(folder, e) from e
    if not found:
        raise PrerequisiteError(f"no agent's run in {folder}", "pass the directory that `agent run` wrote to")
    if len(found) > MAX_RUNS:
        raise PrerequisiteError(f"{folder} has more than {MAX_RUNS} runs")
    yield from found


def _checked(folder: Path, trusted: Trusted) -> tuple[RecordedRun | None, tuple[str, ...]]:
    """Return a run, and why it does not count."""
    try:
        check = verify_run(folder, trusted)
    except KitError as e:
        return None, (e.headline,)
    if check.faults:
        return check.run, check.faults
    if check.summary is None:
        return check.run, ("it has no signed summary: the run has not ended",)
    if check.run is None or check.run.tree.ended is None:
        return check.run, ("the run has not ended",)
    return check.run, () if check.trusted else (f"signed by untrusted key {check.summary.key_id[:12]}",)


def _key(run: RecordedRun) -> tuple[str, str, str, tuple[int, ...]]:
    spec = run.spec
    own = "" if _has_task_times(run) else ", own times"
    fidelity = "" if spec.fidelity.value == "paper" else f" ({spec.fidelity.value})"
    horizon = horizon_of(spec)
    task = str(spec.task) if horizon is None else f"{spec.task} to {horizon.record}"
    return task, f"{spec.policy.name}{fidelity}{own}", spec.model.name, spec.hints


def _has_task_times(run: RecordedRun) -> bool:
    """Tell whether FSR is measured between the times of the task's records, as everywhere on the board."""
    try:
        task = load_task(facts_root(), listed_as(str(run.spec.task)))
    except KitError:
        return False
    settings, horizon = run.spec.evaluation, horizon_of(run.spec)
    if horizon is not None:
        ends = horizon.steps[0].time_ms, horizon.steps[-1].time_ms
        return (settings.start_ms, settings.target_ms) == ends
    return (settings.start_ms, settings.target_ms) == (task.start.reference_ms, task.target.reference_ms)


def _group(key: tuple[str, str, str, tuple[int, ...]], runs: list[RecordedRun]) -> AgentGroup:
    ordered = tuple(sorted(runs, key=lambda run: (run.spec.seed, run.contents.head)))
    return AgentGroup(*key, ordered, tuple(curve_of(run) for run in ordered))


def _at(curves: Sequence[Sequence[tuple[float, float]]], x: float) -> BandPoint:
    values = []
    for curve in curves:
        last = bisect.bisect_right([place for place, _ in curve], x) - 1
        values.append(curve[last][1])
    return BandPoint(x, sum(values) / len(values), min(values), max(values))
