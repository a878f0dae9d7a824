"""`speedrun sweep`: run the grid of the benchmark on this machine or on Slurm."""

from __future__ import annotations

import click

from kit.cli.lazy import LazyGroup

SUMMARIES = {
    "cell": "Run one cell of a sweep.",
    "collect": "Write the results of all cells as a table and figures.",
    "export": "Write sbatch scripts for the cells that are missing.",
    "plan": "Print the cells of a sweep and the most that they can take.",
    "run": "Run the cells that are missing, here or on Slurm.",
    "status": "Show how many cells have ended, run, wait or are missing.",
}


@click.group("sweep", cls=LazyGroup, package=__name__, summaries=SUMMARIES)
def command() -> None:
    """Run the grid of the benchmark on this machine or on Slurm.

    A sweep is tasks x hints x scaffolds x models x seeds. Each cell is one run of an agent, named by its
    content. A second `sweep run` starts exactly the cells that are missing.

    \b
    Examples:
      speedrun sweep plan sweep.toml
      speedrun sweep run sweep.toml --parallel 2
      speedrun sweep run sweep.toml --slurm
      speedrun sweep status sweeps/NAME
      speedrun sweep collect sweeps/NAME
    """
