"""`speedrun sweep cell`: run one cell of a sweep."""

from __future__ import annotations

import os
import shlex
import signal
from pathlib import Path
from types import FrameType
from typing import Any

import click

from kit.agent.llm.scripted import SCRIPTED
from kit.agent.recorded import RecordedRun, read_run
from kit.agent.search import SPEC
from kit.agent.spec import read_spec
from kit.cli.sweep.opened import now
from kit.cli.terminal import note, warn
from kit.core.errors import KitError
from kit.core.process import this_process
from kit.sweep.cell_folder import CellFolder
from kit.sweep.disk import require_disk
from kit.sweep.folder import SweepFolder, open_sweep
from kit.sweep.grid import SweepCell
from kit.sweep.results import cell_end, has_ended, require_own

INTERRUPTED = 130


@click.command(name="cell")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("name", metavar="CELL")
def command(folder: Path, name: str) -> int:
    """
    Run one cell of a sweep.

    `sweep run` and Slurm start this command; it can also be called by hand. A cell that has ended, or that
    another process works on, is left alone. A cell that was interrupted goes on where its journal ends.
    SIGUSR2, which Slurm sends before the time limit, ends the cell as SIGTERM does: with its record.

    Exit 0: the cell has ended, or another process works on it. Otherwise the code is that of `agent run`.

    \b
    Examples:
      speedrun sweep cell sweeps/NAME 0123456789abcdef
    """
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGUSR2, _end_early)
    sweep = open_sweep(folder)
    cell = sweep.cell(name)
    own = sweep.folder(cell)
    require_disk(own.path)
    with own.claimed(cell) as lock:
        if lock is None:
            note(f"cell {name}: another process works on it")
            return 0
        if own.end() is not None:
            note(f"cell {name}: has ended")
            return 0
        own.write_attempt({"event": "start", "time": now(), **_process(), "job": _slurm_job()})
        code = _run(sweep, cell, own)
        ended = _ended_run(own.run(), cell)
        if ended is not None:
            own.write_end({**cell_end(ended), "cell": cell.id, "time": now()})
        own.write_attempt({"event": "stop", "time": now(), "code": code})
        if ended is not None:
            return 0
        warn(f"cell {name} has not ended: exit code {code}; `speedrun sweep run` starts it again")
        return code or INTERRUPTED


def agent_argv(sweep: SweepFolder, cell: SweepCell, own: CellFolder) -> list[str]:
    """Return the arguments of `speedrun` that run a cell, or go on with it."""
    run = own.run()
    if run is not None:
        require_own(run, read_spec(run / SPEC), cell)
    argv = ["agent", "resume", str(run)] if run is not None else ["agent", "run", *_choices(sweep, cell, own)]
    if run is None or cell.runtime == "podman":
        argv += ["--runtime", cell.runtime]
    for option, value in (
        ("--store", sweep.plan.places.store),
        ("--mirror", sweep.plan.places.mirror),
        ("--keys", sweep.plan.places.keys),
        ("--python", sweep.plan.places.python),
    ):
        if value is not None:
            argv += [option, os.path.expandvars(value)]
    if cell.retime:
        argv += ["--retime", str(cell.retime)]
    return [*argv, "--json"]


def _choices(sweep: SweepFolder, cell: SweepCell, own: CellFolder) -> list[str]:
    given = {
        "--task": cell.task,
        "--scaffold": cell.scaffold,
        "--fidelity": cell.fidelity,
        "--model": SCRIPTED if cell.model == SCRIPTED else str(sweep.model(cell.model_sha256)),
        "--answers": str(sweep.answers) if cell.model == SCRIPTED and sweep.answers else None,
        "--hints": cell.hint_text,
        "--seed": cell.seed,
        "--nodes": cell.nodes,
        "--budget": cell.budget or None,
        "--controls": cell.controls,
        "--profile": cell.profile,
        "--image": cell.image,
        "--gpus": cell.gpus,
        "--start-time": None if cell.start_s is None else f"{cell.start_s:g}",
        "--target-time": None if cell.target_s is None else f"{cell.target_s:g}",
        "--out": str(own.runs),
    }
    return [text for option, value in given.items() if value is not None for text in (option, str(value))]


def _run(sweep: SweepFolder, cell: SweepCell, own: CellFolder) -> int:
    """Run the agent in this process, so that signals reach it; its errors are printed by `run`."""
    from kit.cli import run

    try:
        argv = agent_argv(sweep, cell, own)
        note(f"speedrun {shlex.join(argv)}")
        return run(argv)
    except KeyboardInterrupt:
        return INTERRUPTED


def _ended_run(folder: Path | None, cell: SweepCell) -> RecordedRun | None:
    """Return the run of a cell if it is complete."""
    if folder is None:
        return None
    try:
        run = read_run(folder)
    except KitError as e:
        warn(e.headline)
        return None
    return run if has_ended(run, cell.retime) else None


def _process() -> dict[str, Any]:
    process = this_process()
    return {"host": process.host, "boot": process.boot, "pid": process.pid}


def _slurm_job() -> str | None:
    """Return the Slurm job of this process as `JOB_INDEX` or `JOB`; None outside Slurm."""
    array, index = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{index}" if array and index else os.environ.get("SLURM_JOB_ID")


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _end_early(number: int, frame: FrameType | None) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
