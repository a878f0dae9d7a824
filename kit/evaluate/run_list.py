"""List the runs in a directory and find one by name. Runs that cannot be read are listed with the reason."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from kit.core.errors import KitError, PrerequisiteError, UsageError
from kit.core.process import OwnerState
from kit.core.reading import unreadable
from kit.core.text import counted, in_shell, one_line
from kit.result.keys import Trusted
from kit.result.predicate import Predicate
from kit.result.reservation import read_reservation
from kit.result.verify import VerifiedBundle, open_bundle
from kit.sandbox import folder
from kit.sandbox.folder import RUN_ID, RunFolder
from kit.values.task_id import leading_number

LATEST = "latest"
NEXT = "next"
"""The next run that starts; only for those who wait."""
MAX_NAMED = 5
"""Runs that an error about an ambiguous name lists."""


class RunState(StrEnum):
    """The state of a run's directory."""

    FINISHED = "finished"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    """It has a reservation, no result, and no process works on it."""
    ELSEWHERE = "elsewhere"
    """It has no result, and its process belongs to another machine or container."""
    BROKEN = "broken"
    """`RunEntry.problem` says why."""


@dataclass(frozen=True, slots=True)
class RunEntry:
    """One run's directory."""

    folder: RunFolder
    state: RunState
    bundle: VerifiedBundle | None = None
    """The verified result of a finished run. The files next to it are not checked."""
    planned: Predicate | None = None
    """From the reservation of an unfinished run, if a key that the reader trusts signed it."""
    problem: str = ""

    @property
    def predicate(self) -> Predicate | None:
        """Return the result, or what is planned, or None."""
        return self.bundle.predicate if self.bundle else self.planned

    @property
    def task(self) -> str | None:
        """Return the task's id, else the number in the run's id; None for 0, which smoke tasks have."""
        known = self.predicate
        number = leading_number(self.folder.run_id[1:])
        return known.task.id if known else str(number) if number else None

    @property
    def date(self) -> str:
        """Return the time of the start (UTC, ISO 8601, to the second), from the run's id."""
        text = self.folder.run_id.split("-")[1]
        day = f"{text[:4]}-{text[4:6]}-{text[6:8]}"
        return f"{day}T{text[9:11]}:{text[11:13]}:{text[13:15]}Z"


@dataclass(frozen=True, slots=True)
class RunList:
    """The content of a directory of runs."""

    runs: tuple[RunEntry, ...] = ()
    """Oldest first."""
    others: tuple[str, ...] = ()
    """Names of visible entries that are not runs, sorted."""


def list_runs(out: Path, trusted: Trusted) -> RunList:
    """
    Return the runs in `out`, oldest first. Changes nothing.

    Raises `PrerequisiteError` if the directory is missing or cannot be read.
    """
    names = _names(out)
    runs = [read_run_entry(RunFolder(out / name), trusted) for name in names if RUN_ID.fullmatch(name)]
    others = tuple(n for n in names if not RUN_ID.fullmatch(n) and not n.startswith("."))
    return RunList(tuple(sorted(runs, key=_by_start)), others)


def read_run_entry(run: RunFolder, trusted: Trusted) -> RunEntry:
    """Return the state of a run's directory. Raises nothing for a broken one."""
    try:
        if run.path.is_symlink() or not run.path.is_dir():
            return RunEntry(run, RunState.BROKEN, problem="not a directory")
        if not os.path.lexists(run.result):
            return _unfinished(run, trusted)
        bundle = open_bundle(run.result, trusted, bundle_only=True)
    except KitError as e:
        return RunEntry(run, RunState.BROKEN, problem=e.message)
    except OSError as e:
        return RunEntry(run, RunState.BROKEN, problem=f"cannot read {e.filename or run.path}: {e.strerror}")
    if bundle.predicate.run.id != run.run_id:
        name = one_line(bundle.predicate.run.id, 80)
        return RunEntry(run, RunState.BROKEN, problem=f"result.json belongs to run {name}")
    return RunEntry(run, RunState.FINISHED, bundle)


def _unfinished(run: RunFolder, trusted: Trusted) -> RunEntry:
    if not os.path.lexists(run.intent):
        os.listdir(run.path)  # noqa: PTH208 - raises if the directory cannot be read
        return RunEntry(run, RunState.BROKEN, problem="neither result.json nor intent.json in it")
    states = {
        OwnerState.RUNNING: RunState.RUNNING,
        OwnerState.ENDED: RunState.INTERRUPTED,
        OwnerState.ELSEWHERE: RunState.ELSEWHERE,
    }
    return RunEntry(run, states[folder.owner(run)], planned=_planned(run, trusted))


def _planned(run: RunFolder, trusted: Trusted) -> Predicate | None:
    for key in trusted.keys:
        try:
            reservation = read_reservation(run.intent, key)
        except KitError:
            continue
        return reservation.body.planned if reservation.body.id == run.run_id else None
    return None


def find_run(name: str, out: Path) -> RunFolder:
    """
    Find a run by a path, an id, the start of an id, or `latest`: the newest in `out`, of a series the last.

    A path is a run's directory or its result.json. Raises `UsageError` if several runs match,
    `PrerequisiteError` if none does.
    """
    path = Path(name)
    if path.name == "result.json" and path.is_file():
        path = path.parent
    if name and name != LATEST and path.is_dir():
        return RunFolder(path if path.name not in ("", "..") else path.resolve())
    if os.sep in name:
        raise PrerequisiteError(f"no such directory: {one_line(name)}", _hint(out))
    if name == NEXT:
        raise UsageError(
            "`next` has no result yet: it is the next run that starts", "use it with runs log -f"
        )
    ids = sorted((n for n in _names(out) if RUN_ID.fullmatch(n)), key=_by_time)
    if name == LATEST and ids:
        return _newest(out, ids)
    found = [run_id for run_id in ids if name and run_id.startswith(name)]
    if len(found) == 1:
        return RunFolder(out / found[0])
    if found:
        some = ", ".join(found[-MAX_NAMED:])
        more = f"{counted(len(found) - MAX_NAMED, 'other')} and " if len(found) > MAX_NAMED else ""
        raise UsageError(
            f"{len(found)} runs match {one_line(name, 80)!r}: {more}{some}", "give more of the id"
        )
    raise PrerequisiteError(
        f"no run in {out}" if name == LATEST else f"no run {one_line(name, 80)!r} in {out}", _hint(out)
    )


def _hint(out: Path) -> str:
    return f"list them: speedrun runs list --out {in_shell(out)}"


def run_ids(out: Path) -> list[str]:
    """Return the ids of the runs in `out`, oldest first; none if the directory does not exist."""
    names = _names(out) if out.exists() else []
    return sorted((name for name in names if RUN_ID.fullmatch(name)), key=_by_time)


def _names(out: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(out))
    except FileNotFoundError as e:
        raise PrerequisiteError(f"no such directory: {out}", "pass the directory of runs with --out") from e
    except OSError as e:
        raise unreadable(out, e, "pass the directory of runs with --out") from e


def _by_time(run_id: str) -> tuple[str, str]:
    return run_id.split("-")[1], run_id


def _by_start(run: RunEntry) -> tuple[str, bool, str, str]:
    """
    Order runs by the time in their ids, which the runs of a series share, then by their signed start.

    Of those, a run without a result comes last: it is the one that goes on, or in which the series ended.
    """
    started = run.bundle.predicate.run.started_at if run.bundle else ""
    is_open = run.state not in (RunState.FINISHED, RunState.BROKEN)
    return _by_time(run.folder.run_id)[0], is_open, started, run.folder.run_id


def _newest(out: Path, ids: list[str]) -> RunFolder:
    """Return the newest of some runs in `out`; `ids` are sorted by time and not empty."""
    last = [run_id for run_id in ids if _by_time(run_id)[0] == _by_time(ids[-1])[0]]
    if len(last) == 1:
        return RunFolder(out / last[0])
    return max((read_run_entry(RunFolder(out / n), Trusted(())) for n in last), key=_by_start).folder
