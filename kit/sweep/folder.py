"""
The directory of a sweep: its plan, and one directory for each cell (`kit.sweep.cell_folder`).

    plan.json           every cell that is expected, written before the first start
    models/, answers.toml   copies of the profiles and the answers that the cells name by digest
    jobs.jsonl          Slurm jobs
    submit.lock         held by the process that submits
    cells/ID/           cell.json, attempts.jsonl, log.txt, runs/RUN and, once the cell has ended, end.json

A plan is never changed, and no file is deleted.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.core.codec import decode, encode
from kit.core.digest import Sha256, canonical_json
from kit.core.errors import IntegrityError, KitError, PrerequisiteError, SchemaError, UsageError
from kit.core.files import disk_errors, write_atomic
from kit.core.locks import acquire
from kit.core.schema import read_json
from kit.core.system import python_module
from kit.core.text import in_shell
from kit.result.directory_kind import DirectoryKind, not_of_kind
from kit.sweep.cell_folder import CellFolder, CellState
from kit.sweep.grid import ExpectedTimes, Grid, SlurmOptions, SweepCell, SweepPlaces

PLAN = "plan.json"
PLAN_SCHEMA = "sweep-plan.v1"
CELLS = "cells"
MODELS = "models"
ANSWERS = "answers.toml"
SUBMIT_LOCK = "submit.lock"


@dataclass(frozen=True, slots=True)
class JobQueue:
    """What Slurm's queue says of a sweep's jobs."""

    states: Mapping[str, CellState]
    """`QUEUED` or `RUNNING` by the id of the cell; a cell without a live job is not in it."""
    live: frozenset[str]
    """The jobs in the queue, as `JOB_INDEX`, or `JOB` for one that is no array."""


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """What a sweep consists of."""

    name: str
    created_at: str
    cells: tuple[SweepCell, ...]
    times: ExpectedTimes
    places: SweepPlaces
    slurm: SlurmOptions


@dataclass(frozen=True, slots=True)
class SweepFolder:
    """A sweep's directory and its plan."""

    path: Path
    plan: SweepPlan

    def cell(self, name: str) -> SweepCell:
        """Return the cell of an id. Raises `PrerequisiteError` for an unknown one."""
        for cell in self.plan.cells:
            if cell.id == name:
                return cell
        raise PrerequisiteError(
            f"the sweep has no cell {name[:40]!r}",
            f"list its cells: speedrun sweep status {in_shell(self.path)} --cells",
        )

    def folder(self, cell: SweepCell) -> CellFolder:
        """Return a cell's directory, which may not exist."""
        return CellFolder(self.path / CELLS / cell.id)

    @contextlib.contextmanager
    def submitting(self) -> Iterator[None]:
        """Hold the lock of those who submit cells. Raises `PrerequisiteError` if another process has it."""
        with disk_errors(self.path):
            lock = acquire(self.path / SUBMIT_LOCK)
        if lock is None:
            raise PrerequisiteError(
                f"another process submits cells of {self.path}",
                f"wait until it has ended; then see: speedrun sweep status {in_shell(self.path)}",
            )
        try:
            lock.note()
            yield
        finally:
            lock.release()

    def foreign_cells(self) -> tuple[str, ...]:
        """Return the directories below `cells` that belong to no cell of the plan."""
        known = {cell.id for cell in self.plan.cells}
        try:
            return tuple(sorted(e.name for e in os.scandir(self.path / CELLS) if e.name not in known))
        except FileNotFoundError:
            return ()

    def states(self, jobs: JobQueue | None = None) -> dict[str, CellState]:
        """Return the state of every cell by its id; `jobs` is what Slurm's queue says of them."""
        try:
            made = {entry.name for entry in os.scandir(self.path / CELLS)}
        except FileNotFoundError:
            made = set()
        states = {}
        for cell in self.plan.cells:
            live = None if jobs is None else jobs.live
            state = self.folder(cell).state(live) if cell.id in made else CellState.NOT_STARTED
            queued = None if jobs is None else jobs.states.get(cell.id)
            states[cell.id] = queued if queued is not None and state.is_missing else state
        return states

    def model(self, digest: Sha256) -> Path:
        """Return the profile's file of a model."""
        return self.path / MODELS / f"{digest}.toml"

    @property
    def answers(self) -> Path | None:
        """The file of scripted answers; None: those of the package."""
        path = self.path / ANSWERS
        return path if path.is_file() else None


def make_sweep(path: Path, grid: Grid, now: str) -> SweepFolder:
    """
    Write the plan of a sweep into a directory, or return the sweep that is there.

    Raises `UsageError` if the directory has a sweep of other cells.
    """
    if (path / PLAN).is_file():
        sweep = open_sweep(path)
        if sweep.plan.cells != grid.cells:
            raise UsageError(
                f"{path} has another sweep: {_difference(sweep.plan.cells, grid.cells)}",
                "pass another directory with --out; a cell also changes with the version of speedrun",
            )
        return sweep
    for digest, data in grid.models:
        write_atomic(path / MODELS / f"{digest}.toml", data)
    if grid.answers is not None:
        write_atomic(path / ANSWERS, grid.answers)
    plan = SweepPlan(grid.name, now, grid.cells, grid.times, grid.places, grid.slurm)
    document = {"schema": PLAN_SCHEMA, "expected": len(grid.cells), **encode(SweepPlan, plan)}
    write_atomic(path / PLAN, canonical_json(document) + b"\n")
    return SweepFolder(path, plan)


def open_sweep(path: Path) -> SweepFolder:
    """Read a sweep. Raises `PrerequisiteError` if there is none and `IntegrityError` for an invalid plan."""
    if not (path / PLAN).is_file():
        hint = "start one: speedrun sweep run sweep.toml"
        raise not_of_kind(path, DirectoryKind.SWEEP, f"{path} contains no sweep", hint)
    document = read_json(path / PLAN)
    if not isinstance(document, dict) or document.pop("schema", None) != PLAN_SCHEMA:
        raise _not_a_plan(path, document)
    expected = document.pop("expected", None)
    try:
        plan: SweepPlan = decode(SweepPlan, document)
    except SchemaError as e:
        raise IntegrityError(
            f"{path / PLAN}: {e.message}",
            "restore the file, or use the version of speedrun that wrote it",
        ) from e
    if expected != len(plan.cells):
        raise IntegrityError(f"{path / PLAN} expects {expected} cells and lists {len(plan.cells)}")
    return SweepFolder(path, plan)


def _not_a_plan(path: Path, document: Any) -> KitError:
    """Return the error about a plan of something else: of a series, which is an envelope, or of nothing."""
    if isinstance(document, dict) and "dsseEnvelope" in document:
        return not_of_kind(path, DirectoryKind.SWEEP, "", "")
    return IntegrityError(f"{path / PLAN} is not a plan of a sweep ({PLAN_SCHEMA})")


def cell_argv(sweep: Path, cell: SweepCell) -> list[str]:
    """Return the command of a cell's process."""
    return [*python_module("kit.cli"), "sweep", "cell", str(sweep.absolute()), cell.id]


def _difference(own: tuple[SweepCell, ...], other: tuple[SweepCell, ...]) -> str:
    ids, others = {c.id for c in own}, {c.id for c in other}
    return f"{len(ids)} cells, of which {len(ids & others)} are in this grid of {len(others)}"
