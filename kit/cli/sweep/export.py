"""`speedrun sweep export`: write sbatch scripts for the cells that are missing."""

from __future__ import annotations

from pathlib import Path

import click

from kit.cli.sweep.opened import current_states, open_or_make, out_option, walltime_s
from kit.cli.terminal import note, say_path
from kit.core.errors import UsageError
from kit.core.files import make_folder, write_atomic
from kit.core.text import counted, in_shell
from kit.sweep.sbatch import sbatch_scripts


@click.command(name="export")
@click.argument("source", metavar="FILE|DIR", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--sbatch",
    "script",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Script to write; further arrays get a number before the suffix.",
)
@out_option
def command(source: Path, script: Path, out: Path) -> None:
    """
    Write sbatch scripts for the cells that are missing.

    For sites that forbid Python launchers. Submit each script once: `sweep status` cannot see jobs in the
    queue that it did not submit itself, but a cell that has ended, or that runs, is not run a second time.

    \b
    Examples:
      speedrun sweep export sweep.toml --sbatch sweep.sbatch
    """
    sweep = open_or_make(source, out)
    states = current_states(sweep)
    missing = tuple(cell for cell in sweep.plan.cells if states[cell.id].is_missing)
    if not missing:
        raise UsageError(f"no cell of {sweep.path} is missing", "see: speedrun sweep status")
    make_folder(sweep.path / "slurm")
    texts = sbatch_scripts(sweep, missing, walltime_s(sweep, missing))
    for number, text in enumerate(texts, 1):
        path = script if number == 1 else script.with_name(f"{script.stem}-{number}{script.suffix}")
        write_atomic(path, text.encode(), 0o755)
        say_path(path)
    size = f"{counted(len(missing), 'cell')} in {counted(len(texts), 'array')}"
    note(f"{size}; submit each once: sbatch {in_shell(script)}")
