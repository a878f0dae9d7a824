"""
The directory of one cell of a sweep, `cells/ID`: its starts, its run and its end.

    cell.json           the choices of the cell
    lock                held by the process that works on the cell
    attempts.jsonl      starts and stops
    runs/RUN            the cell's run
    end.json            written once the cell has ended

No file is deleted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from kit.core.codec import encode
from kit.core.digest import canonical_json
from kit.core.errors import IntegrityError, SchemaError
from kit.core.files import disk_errors, make_folder, write_atomic
from kit.core.locks import HeldLock, acquire, standing_of
from kit.core.process import OwnerState
from kit.core.reading import open_file
from kit.core.schema import parse_json
from kit.core.text import in_shell
from kit.sweep.grid import SweepCell
from kit.sweep.lines import append_line, read_lines

LOCK = "lock"
ATTEMPTS = "attempts.jsonl"
END = "end.json"
RUNS = "runs"
END_SCHEMA = "sweep-end.v1"
END_KEYS = frozenset(
    (
        "schema", "cell", "run", "journal", "winner", "time_ms", "val_loss", "fsr", "retimed_ms",
        "retimed_fsr", "statuses", "spent",
    )
)  # fmt: skip
_REMOVE = "remove the file, then: `sweep run` makes it again from the cell's run: rm {}"


class CellState(StrEnum):
    """Where a cell is."""

    ENDED = "ended"
    RUNNING = "running"
    QUEUED = "queued"
    """Slurm has a job for it that has not started."""
    INTERRUPTED = "interrupted"
    """It was started, has not ended, and no process works on it."""
    NOT_STARTED = "not started"

    @property
    def is_missing(self) -> bool:
        """Tell whether `sweep run` has to start the cell."""
        return self in (CellState.INTERRUPTED, CellState.NOT_STARTED)


@dataclass(frozen=True, slots=True)
class CellFolder:
    """The directory of one cell."""

    path: Path

    @property
    def runs(self) -> Path:
        """The directory of the cell's run, which has the run's id as its name."""
        return self.path / RUNS

    def run(self) -> Path | None:
        """Return the directory of the cell's run; None if it has none yet."""
        with contextlib.suppress(FileNotFoundError):
            found = sorted(p for p in self.runs.iterdir() if (p / "spec.json").is_file())
            if len(found) > 1:
                raise IntegrityError(f"{self.runs} has {len(found)} runs, and a cell is one run")
            return found[0] if found else None
        return None

    def end(self) -> dict[str, Any] | None:
        """
        Return the document of the cell's end; None if it has not ended.

        Raises `IntegrityError` if it is not the end of this cell.
        """
        path = self.path / END
        try:
            with open_file(path) as f:
                data = f.read()
        except FileNotFoundError:
            return None
        try:
            document = parse_json(data, str(path))
        except SchemaError as e:
            raise IntegrityError(e.message, _REMOVE.format(in_shell(path))) from e
        whole = isinstance(document, dict) and document.keys() >= END_KEYS
        if not whole or (document["schema"], document["cell"]) != (END_SCHEMA, self.path.name):
            raise IntegrityError(f"{path} is not the end of this cell", _REMOVE.format(in_shell(path)))
        return dict(document)

    def state(self, live_jobs: Collection[str] | None = None) -> CellState:
        """
        Return where the cell is, as far as files and locks tell.

        A process on another machine counts as running, unless its last start names a Slurm job that is not
        in `live_jobs`.
        """
        if (self.path / END).is_file():
            return CellState.ENDED
        if not (self.path / ATTEMPTS).is_file():
            return CellState.NOT_STARTED
        owner = standing_of(self.path / LOCK)
        if owner is OwnerState.ELSEWHERE and live_jobs is not None:
            starts = [a for a in self.attempts() if a.get("event") == "start"]
            job = starts[-1].get("job") if starts else None
            if isinstance(job, str) and job not in live_jobs:
                return CellState.INTERRUPTED
        if owner is not OwnerState.ENDED:
            return CellState.RUNNING
        # its process may have ended it after the first look
        return CellState.ENDED if (self.path / END).is_file() else CellState.INTERRUPTED

    def attempts(self) -> tuple[dict[str, Any], ...]:
        """Return the starts and stops of the cell, oldest first; an incomplete last line is left out."""
        return read_lines(self.path / ATTEMPTS)

    def write_attempt(self, document: Mapping[str, Any]) -> None:
        """Add a start or a stop."""
        append_line(self.path / ATTEMPTS, document)

    def write_end(self, document: Mapping[str, Any]) -> None:
        """Write the cell's end, once."""
        if not (self.path / END).exists():
            write_atomic(self.path / END, canonical_json(dict(document)) + b"\n")

    @contextlib.contextmanager
    def claimed(self, cell: SweepCell) -> Iterator[HeldLock | None]:
        """
        Own the cell for the block; yield None if another process owns it.

        Raises `PrerequisiteError` if the directory cannot be written.
        """
        make_folder(self.path)
        with disk_errors(self.path):
            lock = acquire(self.path / LOCK)
        if lock is None:
            yield None
            return
        try:
            lock.note()
            if not (self.path / "cell.json").exists():
                write_atomic(self.path / "cell.json", canonical_json(encode(SweepCell, cell)) + b"\n")
            yield lock
        finally:
            lock.release()
