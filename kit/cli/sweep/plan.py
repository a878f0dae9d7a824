"""`speedrun sweep plan`: print the cells of a sweep and the most that they can take."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from kit.cli.sweep.opened import bounds_of, read_sweep_file
from kit.cli.terminal import emit_json, say
from kit.core.codec import encode
from kit.core.text import counted
from kit.sweep.bounds import SweepBound
from kit.sweep.grid import Grid, SweepCell


@click.command(name="plan")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--cells", "list_cells", is_flag=True, help="List every cell.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(file: Path, list_cells: bool, as_json: bool) -> None:
    """
    Print the cells of a sweep and the most that they can take.

    FILE is a sweep.toml; docs/guides/sweep.md describes it. Nothing is fetched, written or started. Each
    evaluation is counted with its deadline, so real runs take less.

    Idle GPU-hours are those that a job holds while no evaluation runs. The plan states them for two ways to
    run: one job for the agent and its evaluations, as `sweep run` does; or a job without GPUs for the agent,
    and one more job for each evaluation.

    \b
    Examples:
      speedrun sweep plan sweep.toml
      speedrun sweep plan sweep.toml --cells --json
    """
    grid = read_sweep_file(file)
    bound = bounds_of(grid.cells, grid.times)
    if as_json:
        document: dict[str, Any] = {"name": grid.name, "most": asdict(bound), "way": "one job"}
        if list_cells:
            document["cells"] = [{"id": c.id, **encode(SweepCell, c)} for c in grid.cells]
        emit_json(document)
        return
    say(*_lines(grid, bound))
    if list_cells:
        say("", *(f"{c.id}  {describe(c)}" for c in grid.cells))


def describe(cell: SweepCell) -> str:
    """Return a cell's choices on one line."""
    return f"task {cell.task}, hints {cell.hint_text}, {cell.scaffold}, {cell.model}, seed {cell.seed}"


def _lines(grid: Grid, bound: SweepBound) -> list[str]:
    cells = grid.cells
    sizes = " x ".join(
        (
            counted(len({c.task for c in cells}), "task"),
            counted(len({c.hint_text for c in cells}), "set of hints", "sets of hints"),
            counted(len({c.scaffold for c in cells}), "scaffold"),
            counted(len({c.model for c in cells}), "model"),
            counted(len({c.seed for c in cells}), "seed"),
        )
    )
    usd = "no limit: set usd in the budget" if bound.usd is None else f"{bound.usd:,.2f}"
    each = f"{bound.longest_evaluation_s / 3600:,.1f} h"
    if bound.longest_with_reruns_s:
        each += f"; {bound.longest_with_reruns_s / 3600:,.1f} h with the reruns of its audits"
    return [
        f"sweep {grid.name}: {counted(bound.cells, 'cell')} = {sizes}",
        "",
        "At most, this sweep uses:",
        f"  evaluations  {bound.evaluations:,}",
        f"  each takes   {each}",
        f"  calls        {bound.calls:,}, with repairs",
        f"  USD          {usd}",
        f"  GPU-hours    {bound.gpu_hours:,.0f} of evaluations",
        f"  walltime     {bound.longest_cell_s / 3600:,.1f} h for the longest cell (sbatch --time)",
        *_idle_lines(grid, bound),
    ]


def _idle_lines(grid: Grid, bound: SweepBound) -> list[str]:
    if bound.gpu_hours == 0:
        return []
    idle, expected = bound.idle_gpu_hours, grid.times
    return [
        "",
        "GPU-hours that jobs hold while no evaluation runs:",
        f"  one job      {idle.one_job:,.0f}: GPUs wait for a call of {expected.call_s:g} s a node; "
        f"{idle.one_job_repairs:,.0f} with all repairs",
        f"  two jobs     {idle.two_jobs:,.0f}: GPUs wait {expected.start_s:g} s for the start of each "
        "evaluation's job, none for the agent",
        "`sweep run` uses one job for agent and evaluations. The other way is not built.",
    ]
