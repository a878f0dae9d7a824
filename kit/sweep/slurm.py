"""
Submit cells to Slurm through submitit, and ask Slurm's queue about them. Only this module imports submitit.

Each submission is a line of `jobs.jsonl` before sbatch runs and another after it; the job's name is the
submission's token, so a submission whose second line is missing is found again in the queue. States come
from `squeue` alone, so that a cluster without accounting will do. A job is never requeued by itself.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

from kit.core.errors import PrerequisiteError, RunError
from kit.core.extras import install_command
from kit.core.text import one_line
from kit.sweep.folder import CellState, JobQueue, SweepFolder, append_line, cell_argv, read_lines
from kit.sweep.grid import SweepCell

JOBS = "jobs.jsonl"
LOGS = "slurm"
NAME = "speedrun-"
WAITING = frozenset(("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT"))
"""States of a job that has not started; every other state in the queue is that of a running one."""
SQUEUE_S = 60.0

RunCommand = Callable[[Sequence[str]], str]
"""Runs a command and returns its stdout. Raises `RunError`."""


def run_command(argv: Sequence[str]) -> str:
    """Run a command of Slurm. Raises `PrerequisiteError` without Slurm, and `RunError` if it fails."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=SQUEUE_S, check=False)
    except FileNotFoundError as e:
        raise PrerequisiteError(f"{argv[0]} was not found", "use a machine with Slurm's client") from e
    except subprocess.TimeoutExpired as e:
        raise RunError(f"{argv[0]} did not answer within {SQUEUE_S:.0f} s", "see: scontrol ping") from e
    if done.returncode != 0:
        raise RunError(f"{argv[0]} failed: {one_line(done.stderr)}", "see: scontrol ping")
    return done.stdout


def read_queue(sweep: SweepFolder, run: RunCommand = run_command) -> JobQueue:
    """
    Return what Slurm's queue says of a sweep's jobs.

    Records the job of a submission that was cut off. Raises as `run_command` does; a sweep that was never
    submitted asks nothing.
    """
    lines = read_lines(sweep.path / JOBS)
    cells = {line["token"]: line["cells"] for line in lines if "cells" in line}
    recorded = {line["token"] for line in lines if "job" in line}
    if not cells:
        return JobQueue({}, frozenset())
    states: dict[str, CellState] = {}
    live = set()
    text = run(("squeue", "-h", "-r", "-n", ",".join(sorted(cells)), "-o", "%F|%K|%T|%j"))
    for job, index, state, token in _rows(text):
        if token not in cells:
            continue
        if token not in recorded:
            append_line(sweep.path / JOBS, {"token": token, "job": job})
            recorded.add(token)
        live.add(f"{job}_{index}" if index is not None else job)
        place = index or 0
        if place < len(cells[token]):
            states[cells[token][place]] = CellState.QUEUED if state in WAITING else CellState.RUNNING
    return JobQueue(states, frozenset(live))


def submit(
    sweep: SweepFolder, cells: Sequence[SweepCell], walltime_s: float, now: Callable[[], str]
) -> list[str]:
    """
    Submit cells as arrays of at most `chunk` cells and return the ids of the jobs.

    Raises `PrerequisiteError` without submitit or sbatch, and `RunError` if sbatch refuses; arrays that were
    submitted before that stay submitted.
    """
    slurm = sweep.plan.slurm
    jobs = []
    for first in range(0, len(cells), slurm.chunk):
        chunk = cells[first : first + slurm.chunk]
        token = f"{NAME}{secrets.token_hex(6)}"
        append_line(sweep.path / JOBS, {"token": token, "time": now(), "cells": [c.id for c in chunk]})
        job = _submit_array(sweep, chunk, token, walltime_s)
        append_line(sweep.path / JOBS, {"token": token, "job": job})
        jobs.append(job)
    return jobs


def job_parameters(sweep: SweepFolder, token: str, walltime_s: float) -> dict[str, Any]:
    """Return the parameters of an array for `submitit.SlurmExecutor.update_parameters`."""
    slurm = sweep.plan.slurm
    given = {
        "partition": slurm.partition,
        "account": slurm.account,
        "qos": slurm.qos,
        "gres": slurm.gres,
        "cpus_per_task": slurm.cpus,
        "mem": slurm.memory,
        "setup": list(slurm.setup) or None,
    }
    return {
        **{name: value for name, value in given.items() if value is not None},
        "job_name": token,
        "wckey": "",
        "time": max(1, -(-int(walltime_s) // 60)),
        "nodes": 1,
        "ntasks_per_node": 1,
        "array_parallelism": slurm.parallel or 100_000,
        "stderr_to_stdout": True,
        "additional_parameters": {"no_requeue": True},
    }


def exec_cell(argv: Sequence[str]) -> NoReturn:
    """
    Become the process of a cell, so that Slurm's signals reach it.

    SIGUSR2, which Slurm sends before the time limit, is ignored until the cell handles it.
    """
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    os.execv(argv[0], list(argv))  # noqa: S606 - no shell


def _submit_array(sweep: SweepFolder, cells: Sequence[SweepCell], token: str, walltime_s: float) -> str:
    with _submitit() as submitit:
        executor = submitit.SlurmExecutor(folder=sweep.path.absolute() / LOGS / "%j", max_num_timeout=0)
        executor.update_parameters(**job_parameters(sweep, token, walltime_s))
        try:
            with executor.batch():
                jobs = [executor.submit(exec_cell, cell_argv(sweep.path, cell)) for cell in cells]
        except (submitit.core.utils.FailedJobError, OSError, subprocess.CalledProcessError) as e:
            reason = one_line(str(e))
            raise RunError(f"sbatch refused the job: {reason}", "see [slurm] in the sweep's file") from e
    job, _, _ = jobs[0].job_id.partition("_")
    return str(job)


@contextlib.contextmanager
def _submitit() -> Iterator[Any]:
    """Yield submitit, without its warnings about clusters that have no accounting."""
    try:
        import submitit
    except ImportError as e:
        raise PrerequisiteError("submitit is not installed", install_command("slurm")) from e
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield submitit


def _rows(text: str) -> Iterator[tuple[str, int | None, str, str]]:
    for line in text.splitlines():
        fields = line.strip().split("|")
        if len(fields) == 4:
            job, index, state, token = fields
            yield job, int(index) if index.isdecimal() else None, state, token
