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

    FILE is a sweep.toml; docs/guides/sweep.md describes it. Nothing is fetched, written or started. Times of
    evaluations are their deadlines, so real runs take less. The idle GPU-hours are those in which one job
    holds the GPUs while its agent waits for the model; with agents in jobs of their own there are none.

    \b
    Examples:
      speedrun sweep plan sweep.toml
      speedrun sweep plan sweep.toml --cells --json
    """
    grid = read_sweep_file(file)
    bound = bounds_of(grid.cells, grid.seconds_per_call)
    if as_json:
        document: dict[str, Any] = {"name": grid.name, "most": asdict(bound)}
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
    hours = bound.longest_cell_s / 3600
    return [
        f"sweep {grid.name}: {counted(bound.cells, 'cell')} = {sizes}",
        "",
        "At most, this sweep uses:",
        f"  evaluations  {bound.evaluations:,}",
        f"  calls        {bound.calls:,}, with repairs",
        f"  USD          {usd}",
        f"  GPU-hours    {bound.gpu_hours:,.0f} of evaluations",
        f"  idle GPUs    {bound.idle_gpu_hours:,.0f} GPU-hours if a job holds agent and GPUs and a call "
        f"takes {grid.seconds_per_call:g} s; 0 if they have jobs of their own",
        f"  walltime     {hours:,.1f} h for the longest cell (sbatch --time)",
    ]
