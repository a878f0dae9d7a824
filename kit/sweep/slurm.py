"""
Submit cells to Slurm through submitit, and ask Slurm's queue about them. Only this module imports submitit.

Each submission is a line of `jobs.jsonl` before sbatch runs and another after it; the job's name is the
submission's token, so a submission whose second line is missing is found again in the queue. The script of a
job names its cells: submitit's pickles, which it moves into place after sbatch, are not used, because a job
whose launcher was killed in between would wait for its pickle and fail. States come from `squeue` alone, so
that a cluster without accounting will do. A job is never requeued by itself.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import subprocess
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from kit.core.errors import IntegrityError, PrerequisiteError, RunError
from kit.core.extras import install_command
from kit.core.files import make_folder
from kit.core.text import in_shell, one_line
from kit.sweep.cell_folder import CellState
from kit.sweep.folder import JobQueue, SweepFolder
from kit.sweep.grid import SweepCell
from kit.sweep.lines import append_line, read_lines
from kit.sweep.sbatch import array_command, array_lines

JOBS = "jobs.jsonl"
LOGS = "slurm"
NAME = "speedrun-"
WAITING = frozenset(("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT"))
"""States of a job that has not started; every other state in the queue is that of a running one."""
SQUEUE_S = 60.0
TOKENS_AT_ONCE = 1000
"""Job names that one squeue is asked for; a command line is limited in size."""
ROW = "speedrun"
"""First field of each row of squeue, also of its header, so that other output is told apart."""

RunCommand = Callable[[Sequence[str]], str]
"""Runs a command and returns its stdout. Raises `RunError`."""


def run_command(argv: Sequence[str]) -> str:
    """Run a command of Slurm. Raises `PrerequisiteError` without Slurm, and `RunError` if it fails."""
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=SQUEUE_S,
            check=False,
            # these variables are filters that would hide jobs
            env={name: value for name, value in os.environ.items() if not name.startswith("SQUEUE_")},
        )
    except (FileNotFoundError, PermissionError) as e:
        raise PrerequisiteError(f"{argv[0]} was not found", "use a machine with Slurm's client") from e
    except subprocess.TimeoutExpired as e:
        raise RunError(f"{argv[0]} did not answer within {SQUEUE_S:.0f} s", "see: scontrol ping") from e
    if done.returncode != 0:
        raise RunError(f"{argv[0]} failed: {one_line(done.stderr)}", "see: scontrol ping")
    return done.stdout


def read_queue(sweep: SweepFolder, run: RunCommand = run_command) -> JobQueue:
    """
    Return what Slurm's queue says of a sweep's jobs.

    Records the job of a submission that was cut off. Raises as `run_command` does, and `RunError` if squeue
    prints anything but a table of jobs; a sweep that was never submitted asks nothing.
    """
    cells, recorded = _submissions(sweep)
    if not cells:
        return JobQueue({}, frozenset())
    states: dict[str, CellState] = {}
    live = set()
    for job, index, state, token in _asked(sorted(cells), run):
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


def most_cells(sweep: SweepFolder, run: RunCommand = run_command) -> int:
    """
    Return how many cells an array may have: `chunk`, or Slurm's MaxArraySize if that is less.

    If Slurm does not say it, the answer is `chunk`; 1 if it allows no arrays.
    """
    chunk = sweep.plan.slurm.chunk
    with contextlib.suppress(RunError, PrerequisiteError):
        limit = re.search(r"^MaxArraySize\s*=\s*([0-9]{1,9})\s*$", run(("scontrol", "show", "config")), re.M)
        if limit is not None:
            return max(1, min(chunk, int(limit[1])))
    return chunk


def submit(
    sweep: SweepFolder,
    cells: Sequence[SweepCell],
    walltime_s: float,
    now: Callable[[], str],
    run: RunCommand = run_command,
) -> list[str]:
    """
    Submit cells as arrays of at most `most_cells` cells and return the ids of the jobs.

    Raises `PrerequisiteError` without submitit or sbatch, or for a directory whose path has a `%`, and
    `RunError` if sbatch refuses; arrays that were submitted before that stay submitted.
    """
    if "%" in str(sweep.path.absolute()):
        raise PrerequisiteError(
            f"the path of {sweep.path} has a %, which Slurm replaces in the paths of logs",
            f"move it, or submit the script of: speedrun sweep export {in_shell(sweep.path)} --sbatch FILE",
        )
    jobs, most = [], most_cells(sweep, run)
    for first in range(0, len(cells), most):
        chunk = cells[first : first + most]
        token = f"{NAME}{secrets.token_hex(6)}"
        append_line(sweep.path / JOBS, {"token": token, "time": now(), "cells": [c.id for c in chunk]})
        job = _submit_array(sweep, chunk, token, walltime_s)
        append_line(sweep.path / JOBS, {"token": token, "job": job})
        jobs.append(job)
    return jobs


def job_parameters(
    sweep: SweepFolder, cells: Sequence[SweepCell], token: str, walltime_s: float
) -> dict[str, Any]:
    """Return the parameters of an array for `submitit.SlurmExecutor.update_parameters`."""
    slurm = sweep.plan.slurm
    given = {
        "partition": slurm.partition,
        "account": slurm.account,
        "qos": slurm.qos,
        "gres": slurm.gres,
        "cpus_per_task": slurm.cpus,
        "mem": slurm.memory,
        "setup": [*slurm.setup, *array_lines(cells)],
        "srun_args": list(slurm.srun) or None,
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


def _submit_array(sweep: SweepFolder, cells: Sequence[SweepCell], token: str, walltime_s: float) -> str:
    logs = make_folder(sweep.path.absolute() / LOGS)
    with _submitit() as submitit:
        try:
            # not a directory for each job: Slurm creates none, and a job cannot start without its log
            executor = submitit.SlurmExecutor(folder=logs, max_num_timeout=0)
        except RuntimeError as e:
            raise PrerequisiteError("srun was not found", "use a machine with Slurm's client") from e
        executor.update_parameters(**job_parameters(sweep, cells, token, walltime_s))
        if len(cells) > 1:
            executor.parameters["map_count"] = len(cells)
        # options go before variables such as SBATCH_JOB_NAME, which go before the lines of the script
        executor._make_submission_command = lambda script: [
            "sbatch", f"--job-name={token}", "--no-requeue", str(script)
        ]  # fmt: skip
        try:
            job = executor._submit_command(array_command(sweep, cells))
        except (submitit.core.utils.FailedJobError, OSError, subprocess.CalledProcessError) as e:
            reason = one_line("; ".join(str(e).splitlines()))
            hint = "check that `sinfo` answers on this machine, and [slurm] in the sweep's file"
            raise RunError(f"sbatch refused the job: {reason}", hint) from e
    return str(job.job_id)


def _submissions(sweep: SweepFolder) -> tuple[dict[str, list[str]], set[str]]:
    """Return the cells of each submission by its token, and the tokens whose job is recorded."""
    cells, recorded = dict[str, list[str]](), set[str]()
    for line in read_lines(sweep.path / JOBS):
        token, named = line.get("token"), line.get("cells")
        if isinstance(token, str) and isinstance(named, list) and all(isinstance(n, str) for n in named):
            cells[token] = named
        elif isinstance(token, str) and "job" in line:
            recorded.add(token)
        else:
            raise IntegrityError(
                f"{sweep.path / JOBS} has a line that `sweep run` did not write: {one_line(str(line))[:80]}",
                "restore the file; without it, jobs in the queue are not known",
            )
    return cells, recorded


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


def _asked(tokens: Sequence[str], run: RunCommand) -> Iterator[tuple[str, int | None, str, str]]:
    for first in range(0, len(tokens), TOKENS_AT_ONCE):
        names = ",".join(tokens[first : first + TOKENS_AT_ONCE])
        yield from _rows(run(("squeue", "-r", "-n", names, "-o", f"{ROW}|%F|%K|%T|%j")))


def _rows(text: str) -> Iterator[tuple[str, int | None, str, str]]:
    """
    Yield job, index in its array, state and name of each job.

    Raises `RunError` without a header, or for a row with another number of fields: cells whose jobs are not
    seen would be submitted again.
    """
    rows = [line.strip().split("|") for line in text.splitlines() if line.startswith(f"{ROW}|")]
    if not rows or any(len(row) != 5 for row in rows):
        raise RunError(
            f"squeue printed no table of jobs: {one_line(text)[:80]!r}", "run squeue, and see what it prints"
        )
    for _, job, index, state, token in rows[1:]:
        yield job, int(index) if index.isdecimal() else None, state, token
