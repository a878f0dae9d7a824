"""What a cell came to: its end from its run's journal, and the table of all cells (`cell_end`, `rows_of`)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.agent.recorded import RecordedRun, read_run
from kit.agent.spec import AgentSpec
from kit.core.errors import IntegrityError
from kit.core.table import csv_text
from kit.sweep.cell_folder import END, END_SCHEMA, CellFolder, CellState
from kit.sweep.folder import SweepFolder
from kit.sweep.grid import SweepCell

RUN_ID = re.compile(r"[0-9a-f]{16}", re.ASCII)
CELL_COLUMNS = ("cell", "task", "hints", "scaffold", "model", "seed")
COLUMNS = (
    *CELL_COLUMNS,
    "state",
    "reached",
    "fsr",
    "time_ms",
    "retimed_fsr",
    "retimed_ms",
    "nodes",
    "evaluations",
    "gpu_hours",
    "prompt_tokens",
    "completion_tokens",
    "usd",
    "wall_s",
    "attempts",
    "run",
)


def cell_values(cell: SweepCell) -> dict[str, Any]:
    """Return which cell a row is about, as a flat object with `CELL_COLUMNS`."""
    values = (cell.id, cell.task, cell.hint_text, cell.scaffold, cell.model, cell.seed)
    return dict(zip(CELL_COLUMNS, values, strict=True))


@dataclass(frozen=True, slots=True)
class CellRow:
    """One cell of the table."""

    cell: SweepCell
    state: CellState
    end: dict[str, Any] | None
    attempts: int
    """How often the cell was started."""

    @property
    def fsr(self) -> float | None:
        """
        The FSR of the winner, timed again if it was; 0 if no node reached the target loss.

        None if the cell has not ended, or if the times of its task are unknown.
        """
        if self.end is None:
            return None
        if self.end["winner"] is None:
            return 0.0
        fsr: float | None = self.end["retimed_fsr"] if self.cell.retime else self.end["fsr"]
        return fsr if fsr is not None or not self.cell.retime else 0.0

    def values(self) -> dict[str, Any]:
        """Return the row as a flat object with `COLUMNS`."""
        end, spent = self.end or {}, (self.end or {}).get("spent", {})
        return {
            **cell_values(self.cell),
            "state": self.state.value,
            "reached": None if self.end is None else self.end["winner"] is not None,
            "fsr": self.fsr,
            "time_ms": end.get("time_ms"),
            "retimed_fsr": end.get("retimed_fsr"),
            "retimed_ms": end.get("retimed_ms"),
            "nodes": sum(end.get("statuses", {}).values()) if self.end else None,
            "evaluations": spent.get("evaluations"),
            "gpu_hours": spent.get("gpu_hours"),
            "prompt_tokens": spent.get("prompt_tokens"),
            "completion_tokens": spent.get("completion_tokens"),
            "usd": spent.get("usd"),
            "wall_s": spent.get("wall_s"),
            "attempts": self.attempts,
            "run": end.get("run"),
        }


def has_ended(run: RecordedRun, retime: int) -> bool:
    """Tell whether a cell's run is complete: the search ended and the winner was timed again, if asked."""
    return run.tree.ended is not None and (not retime or run.tree.winner() is None or run.retimed is not None)


def require_own(run: Path, spec: AgentSpec, cell: SweepCell) -> None:
    """Raise `IntegrityError` if the run in the directory `run` is not that of a cell."""
    pairs = {
        "task": (spec.task, cell.task),
        "hints": (spec.hints, cell.hints),
        "scaffold": (spec.policy.name, cell.scaffold),
        "fidelity": (spec.fidelity, cell.fidelity),
        "model": (spec.model.profile_sha256, cell.model_sha256),
        "seed": (spec.seed, cell.seed),
        "controls": (spec.controls, cell.controls),
        "profile": (spec.evaluation.profile, cell.profile),
        "prompts": (spec.prompts_sha256, cell.prompts_sha256),
    }
    if names := [name for name, (own, expected) in pairs.items() if own != expected]:
        raise IntegrityError(
            f"{run} is not the run of cell {cell.id}: it has another {', '.join(names)}",
            "restore the cell's own run, or remove this one to begin the cell again",
        )


def ended_run(folder: CellFolder, row: CellRow) -> RecordedRun:
    """
    Return the run of a cell that has ended.

    Raises `PrerequisiteError` if it is missing, and `IntegrityError` if it is not the run that ended, or not
    the cell's.
    """
    end = row.end or {}
    name = str(end.get("run"))
    if not RUN_ID.fullmatch(name):
        raise IntegrityError(f"{folder.path / END} names the run {name[:80]!r}, which is no run's id")
    run = read_run(folder.runs / name, end.get("journal"))
    require_own(run.folder, run.spec, row.cell)
    return run


def cell_end(run: RecordedRun) -> dict[str, Any]:
    """Return the document of a cell's end, from the journal of its run."""
    winner, charged = run.tree.winner(), run.spent.charged
    outcome = None if winner is None else run.tree.node(winner).evaluation
    retimed = run.retimed
    ended = run.tree.ended
    return {
        "schema": END_SCHEMA,
        "run": run.folder.name,
        "journal": str(run.contents.head),
        "ended": None if ended is None else ended.reason.value,
        "winner": winner,
        "time_ms": None if winner is None else run.tree.time_ms(winner),
        "val_loss": None if outcome is None else outcome.val_loss,
        "fsr": None if outcome is None else outcome.fsr,
        "retimed_ms": None if retimed is None else retimed.mean_ms,
        "retimed_fsr": None if retimed is None else retimed.fsr,
        "statuses": dict(sorted(Counter(str(n.status) for n in run.tree.nodes if n.status).items())),
        "spent": charged.document(),
    }


def rows_of(sweep: SweepFolder, states: dict[str, CellState]) -> tuple[CellRow, ...]:
    """Return one row for each cell of the plan, in its order."""
    rows = []
    for cell in sweep.plan.cells:
        folder, state = sweep.folder(cell), states[cell.id]
        started = state is not CellState.NOT_STARTED
        attempts = sum(a.get("event") == "start" for a in folder.attempts()) if started else 0
        rows.append(CellRow(cell, state, folder.end() if state is CellState.ENDED else None, attempts))
    return tuple(rows)


def csv_of(rows: Sequence[CellRow]) -> str:
    """Return the table as CSV with a header; a value that is not known is empty."""
    return csv_text(COLUMNS, [row.values() for row in rows])
