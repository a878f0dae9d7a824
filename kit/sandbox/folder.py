"""
The directory of one run: its paths, its reservation, its owner, and its cleanup.

    <out>/<run_id>/intent.json      the signed reservation, see `kit.result.reservation`; until the result
                   result.json      the signed bundle
                   signer.pem       the signer's public key; see `kit.result.folder`
                   submission/      the files that ran, read-only
                   guest.log        what the guest printed, raw
                   stamps           when each piece of the output arrived
                   audit/           output and stamps of the audits' reruns; see `kit.evaluate.reruns`
                   .alive           the lock file of the process that works on this run, see `kit.core.locks`
                   .ballast         disk space reserved for the record
                   .scratch/        the engine's files; removed after the run

A run whose directory has a reservation, no result and no running owner was interrupted. It needs a record.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from kit.core import locks
from kit.core.errors import IntegrityError
from kit.core.files import make_folder, staged, sync, write_atomic
from kit.core.lease import Lease, lease_of
from kit.core.locks import HeldLock
from kit.core.open_folder import open_folder, path_of
from kit.core.process import OwnerState
from kit.core.system import OPENS_DIRECTORIES
from kit.sandbox.runtime.lease import at_work

BALLAST = 256 << 10
"""Bytes. The record of a lost run takes about 10,000."""
RESERVING = ".reserving-"
ALIVE = ".alive"
_TEMPORARY = re.compile(r"\.{1,2}(alive|ballast|scratch|intent\.json|result\.json|signer\.pem)(\..+)?")
"""Names of what an unfinished run has and a finished one has not."""
RUN_ID = re.compile(r"r[0-9]{2}-[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}")


def new_run_id(record: int) -> str:
    """Return a new run id that sorts by record and time, for example `r03-20261123T170000Z-1a2b3c4d`."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    return f"r{record:02d}-{now}-{secrets.token_hex(4)}"


@dataclass(slots=True)
class HeldFolder:
    """The directory of a run that this process has reserved, and keeps open."""

    fd: int | None
    """None after the block of `reserve`."""

    @contextlib.contextmanager
    def opened(self, path: Path) -> Iterator[None]:
        """Open the directory at `path` for the block."""
        with open_folder(path, follow=False) as folder:
            self.fd = folder.fd if OPENS_DIRECTORIES else None
            try:
                yield
            finally:
                self.fd = None


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The paths of one run."""

    path: Path
    held: HeldFolder = field(default_factory=lambda: HeldFolder(None), compare=False)
    """The directory itself: another one may get its path."""

    @property
    def run_id(self) -> str:
        """The run's id, which is the directory's name."""
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
        """The file that reserves disk space for the record; delete it before writing the record."""
        return self.path / ".ballast"

    def own(self) -> RunFolder:
        """
        Return the same directory at a path that leads to it also if another one takes its place.

        Raises `IntegrityError` if the directory was removed.
        """
        if self.held.fd is None:
            return self
        if os.fstat(self.held.fd).st_nlink == 0:
            raise IntegrityError(f"{self.path} was removed while its run was in it", "run it again")
        return RunFolder(path_of(self.held.fd, self.path))

    def require_place(self) -> None:
        """Raise `IntegrityError` if another directory, a link or nothing is in the place of this one."""
        if self.held.fd is None:
            return
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(self.held.fd), os.lstat(self.path)):
                return
        raise IntegrityError(
            f"{self.path} was replaced while its run was in it",
            f"the result of run {self.run_id} is in {os.path.realpath(self.own().path)}",
        )

    def finish(self, bundle: bytes) -> None:
        """Write the result atomically: after a power cut, either the intent or the whole result exists."""
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
    Create the run's directory atomically, with reservation, empty log and stamps, and the submission.

    `reservation` returns the signed bytes, given this process's lease on the directory. The block owns the
    run; the kernel releases its lock if this process dies. `submission` is copied with modes that any uid
    can read.
    The directory stays open, so that another one at its path gets no result: see `RunFolder.require_place`.
    Raises `PrerequisiteError` if `out` is not a directory or cannot be made, `RunError` if the disk is full.
    """
    make_folder(out)
    final = RunFolder(out / run_id)
    with contextlib.ExitStack() as owned:
        owned.enter_context(at_work(run_id))
        with staged(out, RESERVING) as name:
            folder = RunFolder(name)
            _fill(folder, submission)
            held = HeldFolder(None)
            owned.enter_context(held.opened(name))
            lock = locks.acquire(folder.alive)
            assert lock  # noqa: S101 - no other process knows this directory yet
            owned.callback(lock.release)
            _commit(folder, lock, reservation)
            name.rename(final.path)
            lock.move(final.alive)
            sync(out)
        yield replace(final, held=held)


def _commit(folder: RunFolder, lock: HeldLock, reservation: Callable[[Lease], bytes]) -> None:
    """Bind the reservation to the directory and its lock file; sync both before the directory appears."""
    lock.note()
    sync(folder.alive)
    write_atomic(folder.intent, reservation(lease_of(folder.path, lock)))
    sync(folder.path)


def _fill(folder: RunFolder, submission: Path) -> None:
    folder.scratch.mkdir(mode=0o755)
    folder.log.touch()
    folder.stamps.touch()
    with folder.ballast.open("wb") as f:
        os.posix_fallocate(f.fileno(), 0, BALLAST)
    _copy(submission, folder.submission)


def _copy(source: Path, target: Path) -> None:
    """Copy a directory of plain files and sync it; `shutil.copytree` would hide the error's type."""
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
    Try to take over a run through its lock file; yield False if the run has an owner or is finished.

    To take over a reservation that names its lease, use `kit.core.lease.claimed`, which cannot be deceived.
    """
    with _locked(folder) as mine:
        yield mine and is_open(folder)


@contextlib.contextmanager
def _locked(folder: RunFolder) -> Iterator[bool]:
    lock: HeldLock | None = None
    with contextlib.suppress(OSError):
        if locks.standing_of(folder.alive) is OwnerState.ENDED:
            lock = locks.acquire(folder.alive)
    try:
        yield lock is not None
    finally:
        if lock:
            lock.release()


def is_open(folder: RunFolder) -> bool:
    """Tell whether a run has a reservation and no result."""
    return folder.intent.exists() and not folder.result.exists()


def owner(folder: RunFolder) -> OwnerState:
    """Tell from the lock file whether the owner of an unfinished run is still running."""
    return locks.standing_of(folder.alive)


def unfinished(out: Path) -> list[RunFolder]:
    """Return the runs below `out` that have no result, sorted by id; some may still be running."""
    if not out.is_dir():
        return []
    names = sorted(entry.name for entry in os.scandir(out) if RUN_ID.fullmatch(entry.name))
    folders = [RunFolder(out / name) for name in names]
    return [folder for folder in folders if is_open(folder)]


def tidy(out: Path) -> None:
    """Remove leftovers below `out` of processes that died while reserving a run or after signing it."""
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
