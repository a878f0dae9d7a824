"""
The folder of one run: its paths, its reservation, its owner, its end. Judges no run.

    <out>/<run_id>/intent.json      the signed reservation, see `kit.result.reservation`; until the result
                   result.json      the signed bundle
                   signer.pem       the signer's public key; see `kit.result.folder`
                   submission/      the files that ran, read-only
                   guest.log        what the guest printed, raw
                   stamps           when each piece of it came
                   audit/           output and stamps of the audits' reruns; see `kit.evaluate.reruns`
                   .alive           the lock file of the process that works on this run, see `kit.core.locks`
                   .ballast         the room that the record will take on the disk
                   .scratch/        the engine's files; gone afterwards

A run whose folder has a reservation, no result and no running owner was interrupted, and needs a record.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kit.core import locks
from kit.core.errors import UsageError
from kit.core.files import disk_errors, staged, sync, write_atomic
from kit.core.locks import HeldLock, Lease, Standing
from kit.sandbox.runtime.lease import at_work

BALLAST = 256 << 10
"""Bytes; the record of a lost run has about 10,000."""
RESERVING = ".reserving-"
ALIVE = ".alive"
_TEMPORARY = re.compile(r"\.{1,2}(alive|ballast|scratch|intent\.json|result\.json|signer\.pem)(\..+)?")
"""Names of what an unfinished run has and a finished one has not."""
RUN_ID = re.compile(r"r[0-9]{2}-[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}")


def new_run_id(record: int) -> str:
    """Return a fresh id that sorts by record and time, for example `r03-20261123T170000Z-1a2b3c4d`."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    return f"r{record:02d}-{now}-{secrets.token_hex(4)}"


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The paths of one run."""

    path: Path

    @property
    def run_id(self) -> str:
        """The run's id, which is the folder's name."""
        return self.path.name

    @property
    def intent(self) -> Path:
        """The signed reservation."""
        return self.path / "intent.json"

    @property
    def result(self) -> Path:
        """The signed bundle."""
        return self.path / "result.json"

    @property
    def submission(self) -> Path:
        """The submission's files."""
        return self.path / "submission"

    @property
    def log(self) -> Path:
        """The guest's output."""
        return self.path / "guest.log"

    @property
    def stamps(self) -> Path:
        """The host's stamps."""
        return self.path / "stamps"

    @property
    def scratch(self) -> Path:
        """The engine's files."""
        return self.path / ".scratch"

    @property
    def alive(self) -> Path:
        """The lock file."""
        return self.path / ALIVE

    @property
    def ballast(self) -> Path:
        """The room that the record will take; to be removed before it is written."""
        return self.path / ".ballast"

    def finish(self, bundle: bytes) -> None:
        """Write the result so that a power cut leaves either the intent or the whole result."""
        write_atomic(self.result, bundle)
        self.clear()

    def clear(self) -> None:
        """
        Remove what only an unfinished run needs; its result is there. The intent goes last: see `tidy`.

        Nothing else goes, not even what is hidden: who may rename folders in `out` may put another in the
        place of this one at any moment.
        """
        for path in self.path.iterdir():
            if not _TEMPORARY.fullmatch(path.name):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        self.intent.unlink(missing_ok=True)


@contextlib.contextmanager
def reserve(
    out: Path, run_id: str, reservation: Callable[[Lease], bytes], submission: Path
) -> Iterator[RunFolder]:
    """
    Make the run's folder appear at once and complete: reservation, empty log and stamps, the submission.

    `reservation` returns the signed bytes, from this process's lease on the folder. The block owns the run;
    the kernel gives up its lock if this process dies. `submission` is copied with modes that any uid can
    read.
    Raises `UsageError` if `out` is not a folder, `RunError` if the disk is full.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is not a folder", "choose another --out")
    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    final = RunFolder(out / run_id)
    with contextlib.ExitStack() as owned:
        owned.enter_context(at_work(run_id))
        with staged(out, RESERVING) as name:
            folder = RunFolder(name)
            _fill(folder, submission)
            lock = locks.acquire(folder.alive)
            assert lock  # noqa: S101 - nobody else knows this folder
            owned.callback(lock.release)
            _commit(folder, lock, reservation)
            name.rename(final.path)
            lock.move(final.alive)
            sync(out)
        yield final


def _commit(folder: RunFolder, lock: HeldLock, reservation: Callable[[Lease], bytes]) -> None:
    """Bind the reservation to the folder and to the lock in it; both are durable before they appear."""
    lock.note()
    sync(folder.alive)
    write_atomic(folder.intent, reservation(locks.lease_of(folder.path, lock)))
    sync(folder.path)


def _fill(folder: RunFolder, submission: Path) -> None:
    folder.scratch.mkdir(mode=0o755)
    folder.log.touch()
    folder.stamps.touch()
    with folder.ballast.open("wb") as f:
        os.posix_fallocate(f.fileno(), 0, BALLAST)
    _copy(submission, folder.submission)


def _copy(source: Path, target: Path) -> None:
    """Copy a folder of plain files durably; `shutil.copytree` would not say which error it was."""
    target.mkdir()
    for path in sorted(source.iterdir()):
        copy = target / path.name
        if path.is_dir():
            _copy(path, copy)
            continue
        shutil.copyfile(path, copy)
        copy.chmod(0o444)
        sync(copy)
    target.chmod(0o755)
    sync(target)


@contextlib.contextmanager
def adopt(folder: RunFolder) -> Iterator[bool]:
    """
    Try to become the owner of a run by its lock file alone; gives False if it has one or is finished.

    A reservation that names its lease is taken over with `kit.core.locks.claimed`, which cannot be misled.
    """
    with _locked(folder) as mine:
        yield mine and is_open(folder)


@contextlib.contextmanager
def _locked(folder: RunFolder) -> Iterator[bool]:
    lock: HeldLock | None = None
    with contextlib.suppress(OSError):
        if locks.standing_of(folder.alive) is Standing.ENDED:
            lock = locks.acquire(folder.alive)
    try:
        yield lock is not None
    finally:
        if lock:
            lock.release()


def is_open(folder: RunFolder) -> bool:
    """Tell whether a run has a reservation and no result."""
    return folder.intent.exists() and not folder.result.exists()


def owner(folder: RunFolder) -> Standing:
    """Tell whether the owner of an unfinished run is at work, as its lock file says."""
    return locks.standing_of(folder.alive)


def unfinished(out: Path) -> list[RunFolder]:
    """Return the runs below `out` that have no result, sorted by id; some may have a living owner."""
    if not out.is_dir():
        return []
    names = sorted(entry.name for entry in os.scandir(out) if RUN_ID.fullmatch(entry.name))
    folders = [RunFolder(out / name) for name in names]
    return [folder for folder in folders if is_open(folder)]


def tidy(out: Path) -> None:
    """Remove what processes left below `out` that died while they reserved a run, or after signing it."""
    if not out.is_dir():
        return
    names = sorted(entry.name for entry in os.scandir(out))
    if any(name.startswith(RESERVING) for name in names):
        with staged(out, RESERVING):
            pass
    for folder in (RunFolder(out / name) for name in names if RUN_ID.fullmatch(name)):
        if folder.intent.exists() and folder.result.exists() and not folder.path.is_symlink():
            with _locked(folder) as mine:
                if mine:
                    folder.clear()
