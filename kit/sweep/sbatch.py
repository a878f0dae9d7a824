"""
Write sbatch scripts for sites that forbid Python launchers (`sbatch_scripts`), and the lines of an array.

A script names its cells, so a job needs no other file to know its cell.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from kit.core.text import in_shell
from kit.sweep.folder import SweepFolder, cell_argv
from kit.sweep.grid import SweepCell


def sbatch_scripts(sweep: SweepFolder, cells: Sequence[SweepCell], walltime_s: float) -> tuple[str, ...]:
    """Return one script for each array of at most `chunk` cells."""
    chunk = sweep.plan.slurm.chunk
    return tuple(_script(sweep, cells[i : i + chunk], walltime_s) for i in range(0, len(cells), chunk))


def array_lines(cells: Sequence[SweepCell]) -> list[str]:
    """Return the lines of a script that list the cells of its array."""
    named = (f"  {c.id}  # {c.task} {c.hint_text} {c.scaffold} seed {c.seed}" for c in cells)
    # a job of one cell is no array, but may inherit the variables of the array that submitted it
    alone = ["unset SLURM_ARRAY_JOB_ID SLURM_ARRAY_TASK_ID"] if len(cells) == 1 else []
    return [*alone, "cells=(", *named, ")"]


def array_command(sweep: SweepFolder, cells: Sequence[SweepCell]) -> str:
    """Return the shell command that runs the cell of an array's task, below the lines of `array_lines`."""
    command = shlex.join([*sweep.plan.slurm.prefix, *cell_argv(sweep.path, cells[0])[:-1]])
    return f'{command} "${{cells[${{SLURM_ARRAY_TASK_ID:-0}}]}}"'


def _script(sweep: SweepFolder, cells: Sequence[SweepCell], walltime_s: float) -> str:
    slurm = sweep.plan.slurm
    parallel = f"%{slurm.parallel}" if slurm.parallel else ""
    options = [
        ("job-name", f"speedrun-{sweep.plan.name}"),
        ("array", f"0-{len(cells) - 1}{parallel}" if len(cells) > 1 else None),
        ("nodes", "1"),
        ("ntasks-per-node", "1"),
        ("time", str(max(1, -(-int(walltime_s) // 60)))),
        ("signal", "USR2@90"),
        ("output", f"{str(sweep.path.absolute()).replace('%', '%%')}/slurm/%A_%a.log"),
        ("open-mode", "append"),
        ("partition", slurm.partition),
        ("account", slurm.account),
        ("qos", slurm.qos),
        ("gres", slurm.gres),
        ("cpus-per-task", slurm.cpus),
        ("mem", slurm.memory),
    ]
    return "\n".join(
        [
            "#!/bin/bash",
            f"# {len(cells)} cells of {in_shell(sweep.path)}. A cell that has ended exits at once.",
            *(f"#SBATCH --{name}={shlex.quote(str(value))}" for name, value in options if value is not None),
            "#SBATCH --no-requeue",
            *slurm.setup,
            *array_lines(cells),
            f"exec {shlex.join(['srun', *slurm.srun])} {array_command(sweep, cells)}",
            "",
        ]
    )
