"""`speedrun sweep status`: show how many cells have ended, run, wait or are missing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import click

from kit.cli.sweep.opened import current_states
from kit.cli.sweep.plan import describe
from kit.cli.terminal import emit_json, note, say, table, warn
from kit.core.text import counted, in_shell
from kit.sweep.cell_folder import CellState
from kit.sweep.folder import CELLS, SweepFolder, open_sweep


@click.command(name="status")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--cells", "list_cells", is_flag=True, help="List every cell with its state.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(folder: Path, list_cells: bool, as_json: bool) -> int:
    """
    Show how many cells have ended, run, wait or are missing.

    States come from the files and locks of the sweep and, if cells were submitted to Slurm, from its queue.
    An interrupted cell was started and has not ended; `sweep run` goes on with it.

    Exit 0: all cells have ended. 1: some have not.

    \b
    Examples:
      speedrun sweep status sweeps/NAME
      speedrun sweep status sweeps/NAME --cells
    """
    sweep = open_sweep(folder)
    states = current_states(sweep)
    if as_json:
        emit_json(document(sweep, states, list_cells))
    else:
        say(*_table(states))
        if list_cells:
            say("", *(f"{c.id}  {states[c.id].value:<12} {describe(c)}" for c in sweep.plan.cells))
        _hint(sweep, states)
        if foreign := sweep.foreign_cells():
            size = counted(len(foreign), "directory", "directories")
            warn(f"{size} in {sweep.path / CELLS} without a cell in the plan: {', '.join(foreign[:3])}")
    return 0 if all(state is CellState.ENDED for state in states.values()) else 1


def document(sweep: SweepFolder, states: dict[str, CellState], cells: bool = True) -> dict[str, Any]:
    """Return the state of a sweep as one JSON object."""
    counts = Counter(states.values())
    return {
        "folder": str(sweep.path),
        "expected": len(sweep.plan.cells),
        "states": {state.value: counts[state] for state in CellState},
        **({"cells": {name: state.value for name, state in states.items()}} if cells else {}),
    }


def tell(sweep: SweepFolder, states: dict[str, CellState]) -> None:
    """Print the counts on stderr."""
    note(*_table(states))
    _hint(sweep, states)


def _table(states: dict[str, CellState]) -> list[str]:
    counts = Counter(states.values())
    rows = [(f"{counts[state]:,}", state.value) for state in CellState if counts[state]]
    return [*table(("cells", "state"), rows, right=1), f"{len(states):,} expected"]


def _hint(sweep: SweepFolder, states: dict[str, CellState]) -> None:
    missing = sum(state.is_missing for state in states.values())
    if missing:
        command = f"speedrun sweep run {in_shell(sweep.path)}"
        note(f"{counted(missing, 'cell')} missing; to start: {command}")
