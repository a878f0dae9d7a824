"""
The most that a sweep can take, before anything is started: evaluations, GPU-hours, walltime, USD.

Idle GPUs are those that a job holds and no evaluation uses. They are compared for two ways to run a cell: one
job for the agent and its evaluations, and a job for the agent without GPUs and one for each evaluation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from kit.agent.budget import capped, parse_budget
from kit.agent.costs import RERUNS
from kit.agent.llm.scripted import SCRIPTED
from kit.agent.policy import POLICIES
from kit.sweep.grid import ExpectedTimes, SweepCell

MARGIN_S = 900.0
"""Added to a walltime: start of Python, unpacking the image, signing."""


@dataclass(frozen=True, slots=True)
class EvaluationBound:
    """What one evaluation of a task can take, by its deadlines."""

    wall_s: float
    gpus: int


@dataclass(frozen=True, slots=True)
class IdleGpus:
    """How long GPUs that a job holds are idle, in the unit that the owner of the value states."""

    one_job: float
    """One job holds agent and GPUs: the GPUs wait for calls of the expected length, one a node."""
    one_job_repairs: float
    """The same if every node needs all its repairs."""
    two_jobs: float
    """Each evaluation is a job of its own: its GPUs wait until its script starts."""


@dataclass(frozen=True, slots=True)
class CellBound:
    """The most that a cell can take."""

    evaluations: int
    """Those of the search and of control nodes."""
    retime_runs: int
    """Runs after the search, with the audits' own."""
    calls: int
    gpu_seconds: float
    wall_s: float
    """Walltime of one job: all runs, all calls with repairs at the expected length, and a margin."""
    idle: IdleGpus
    """In GPU-seconds."""
    usd: float | None
    """The budget's limit; None without one."""


@dataclass(frozen=True, slots=True)
class SweepBound:
    """The sums over all cells."""

    cells: int
    evaluations: int
    calls: int
    gpu_hours: float
    idle_gpu_hours: IdleGpus
    usd: float | None
    """None if a cell has no limit in USD."""
    longest_evaluation_s: float
    """One run of a submission."""
    longest_with_reruns_s: float
    """The same with the reruns of all audits; 0 if no winner is timed again."""
    longest_cell_s: float


def bound_cell(cell: SweepCell, evaluation: EvaluationBound, expected: ExpectedTimes) -> CellBound:
    """Return the most that a cell can take, if calls take the expected time."""
    budget = parse_budget(cell.budget)
    nodes = capped(cell.nodes or POLICIES[cell.scaffold].max_nodes, budget.nodes)
    evaluations = capped(nodes + cell.controls, budget.evaluations)
    runs = cell.retime * (1 + RERUNS)
    calls = nodes * (1 + budget.repairs_per_node)
    waiting = nodes * expected.call_s
    search_s = evaluations * evaluation.wall_s + calls * expected.call_s
    if budget.wall_s is not None:
        search_s = min(search_s, budget.wall_s + evaluation.wall_s)
    gpu_seconds = evaluations * evaluation.wall_s * evaluation.gpus
    if budget.gpu_seconds is not None:
        gpu_seconds = min(gpu_seconds, budget.gpu_seconds)
    return CellBound(
        evaluations=evaluations,
        retime_runs=runs,
        calls=calls,
        gpu_seconds=gpu_seconds + runs * evaluation.wall_s * evaluation.gpus,
        wall_s=search_s + runs * evaluation.wall_s + MARGIN_S,
        idle=IdleGpus(
            one_job=waiting * evaluation.gpus,
            one_job_repairs=calls * expected.call_s * evaluation.gpus,
            two_jobs=(evaluations + runs) * expected.start_s * evaluation.gpus,
        ),
        usd=0.0 if cell.model == SCRIPTED else budget.usd,
    )


def bound_sweep(
    cells: tuple[SweepCell, ...],
    evaluation: Callable[[SweepCell], EvaluationBound],
    expected: ExpectedTimes,
) -> SweepBound:
    """Return the sums over cells; `evaluation` gives what one evaluation of a cell can take."""
    bounds = [bound_cell(cell, evaluation(cell), expected) for cell in cells]
    longest_s = max(evaluation(cell).wall_s for cell in cells)
    retimed_s = max((evaluation(cell).wall_s for cell in cells if cell.retime), default=0.0)
    usd = [bound.usd for bound in bounds]
    return SweepBound(
        cells=len(bounds),
        evaluations=sum(b.evaluations + b.retime_runs for b in bounds),
        calls=sum(b.calls for b in bounds),
        gpu_hours=sum(b.gpu_seconds for b in bounds) / 3600,
        idle_gpu_hours=IdleGpus(
            one_job=sum(b.idle.one_job for b in bounds) / 3600,
            one_job_repairs=sum(b.idle.one_job_repairs for b in bounds) / 3600,
            two_jobs=sum(b.idle.two_jobs for b in bounds) / 3600,
        ),
        usd=None if None in usd else math.fsum(u for u in usd if u is not None),
        longest_evaluation_s=longest_s,
        longest_with_reruns_s=retimed_s * (1 + RERUNS),
        longest_cell_s=max(b.wall_s for b in bounds),
    )
