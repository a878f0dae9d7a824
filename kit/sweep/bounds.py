"""The most that a sweep can take, before anything is started: evaluations, GPU-hours, walltime, USD."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from kit.agent.budget import parse_budget
from kit.agent.costs import RERUNS
from kit.agent.policy import POLICIES
from kit.sweep.grid import SweepCell

MARGIN_S = 900.0
"""Added to a walltime: start of Python, unpacking the image, signing."""


@dataclass(frozen=True, slots=True)
class EvaluationBound:
    """What one evaluation of a task can take, by its deadlines."""

    wall_s: float
    gpus: int


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
    """Walltime of one job: all runs, calls of the expected length, and a margin."""
    idle_gpu_seconds: float
    """GPU-seconds for which the cell's GPUs wait for the model, if one job holds both."""
    usd: float | None
    """The budget's limit; None without one."""


@dataclass(frozen=True, slots=True)
class SweepBound:
    """The sums over all cells."""

    cells: int
    evaluations: int
    calls: int
    gpu_hours: float
    idle_gpu_hours: float
    usd: float | None
    """None if a cell has no limit in USD."""
    longest_cell_s: float


def bound_cell(cell: SweepCell, evaluation: EvaluationBound, seconds_per_call: float) -> CellBound:
    """Return the most that a cell can take, if a call of the model takes `seconds_per_call`."""
    budget = parse_budget(cell.budget)
    nodes = _least(cell.nodes or POLICIES[cell.scaffold].max_nodes, budget.nodes)
    evaluations = _least(nodes + cell.controls, budget.evaluations)
    runs = cell.retime * (1 + RERUNS)
    calls = nodes * (1 + budget.repairs_per_node)
    waiting = nodes * seconds_per_call
    search_s = evaluations * evaluation.wall_s + waiting
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
        idle_gpu_seconds=waiting * evaluation.gpus,
        usd=0.0 if cell.model == "scripted" else budget.usd,
    )


def bound_sweep(
    cells: tuple[SweepCell, ...], evaluation: Callable[[SweepCell], EvaluationBound], seconds_per_call: float
) -> SweepBound:
    """Return the sums over cells; `evaluation` gives what one evaluation of a cell can take."""
    bounds = [bound_cell(cell, evaluation(cell), seconds_per_call) for cell in cells]
    usd = [bound.usd for bound in bounds]
    return SweepBound(
        cells=len(bounds),
        evaluations=sum(b.evaluations + b.retime_runs for b in bounds),
        calls=sum(b.calls for b in bounds),
        gpu_hours=sum(b.gpu_seconds for b in bounds) / 3600,
        idle_gpu_hours=sum(b.idle_gpu_seconds for b in bounds) / 3600,
        usd=None if None in usd else math.fsum(u for u in usd if u is not None),
        longest_cell_s=max(b.wall_s for b in bounds),
    )


def _least(number: int, limit: int | None) -> int:
    return number if limit is None else min(number, limit)
