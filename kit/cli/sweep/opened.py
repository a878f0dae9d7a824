"""Open the sweep that a command line names: `sweep.toml`, or the directory of a sweep that was started."""

from __future__ import annotations

import datetime
from pathlib import Path

import click

from kit import __version__
from kit.agent.budget import SECONDS
from kit.cli.places import places
from kit.core.home import default_keys, default_store
from kit.evaluate.request import Places
from kit.sweep.bounds import SweepBound, bound_sweep
from kit.sweep.cell_folder import CellState
from kit.sweep.disk import require_disk
from kit.sweep.evaluations import evaluation_bounds
from kit.sweep.folder import SweepFolder, make_sweep, open_sweep
from kit.sweep.grid import ExpectedTimes, Grid, SweepCell, read_grid
from kit.sweep.slurm import read_queue

out_option = click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("sweeps"),
    show_default=True,
    help="Directory for sweeps; the sweep's directory in it has its name.",
)
"""`--out DIR`, passed as `out: Path`."""


def now() -> str:
    """Return the time in UTC, as ISO 8601."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def read_sweep_file(path: Path) -> Grid:
    """Read a `sweep.toml`. Raises as `kit.sweep.grid.read_grid` does."""
    return read_grid(path, __version__)


def open_or_make(source: Path, out: Path) -> SweepFolder:
    """
    Open the sweep in the directory `source`, or make the one of the file `source` below `out`.

    Raises as `require_disk` does, before anything is written.
    """
    if source.is_dir():
        sweep = open_sweep(source)
        require_disk(source)
        return sweep
    grid = read_sweep_file(source)
    require_disk(out / grid.name)
    return make_sweep(out / grid.name, grid, now())


def here() -> Places:
    """Return this user's default places; used only to read records and deadlines."""
    return places(default_store(), None, default_keys())


def bounds_of(cells: tuple[SweepCell, ...], expected: ExpectedTimes) -> SweepBound:
    """Return the most that cells can take."""
    return bound_sweep(cells, evaluation_bounds(here()), expected)


def current_states(sweep: SweepFolder) -> dict[str, CellState]:
    """Return the state of every cell, with Slurm's queue if the sweep was submitted there."""
    return sweep.states(read_queue(sweep))


def walltime_s(sweep: SweepFolder, cells: tuple[SweepCell, ...]) -> float:
    """Return the walltime in seconds of the longest of `cells`, or the one that the sweep's file gives."""
    given = sweep.plan.slurm.time
    if given is not None:
        return float(given[:-1]) * SECONDS[given[-1]]
    return bounds_of(cells, sweep.plan.times).longest_cell_s
