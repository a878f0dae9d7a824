"""
The folder of one run: its paths, its reservation, its claim to be alive, its end. Judges no run.

    <out>/<run_id>/intent.json      what was about to happen; stands until result.json does
                   result.json      the signed bundle
                   signer.pem       the signer's public key; see `kit.result.folder`
                   submission/      the files that ran, read-only
                   guest.log        what the guest printed, raw
                   stamps           when each piece of it came
                   audit/           output and stamps of the audits' reruns; see `kit.evaluate.reruns`
                   .alive           locked by the kit for as long as it works on this run
                   .ballast         the room that the record will take on the disk
                   .scratch/        the engine's files; gone afterwards

A run whose folder has an intent, no result and no living owner is lost, and somebody must say so.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kit.core.errors import UsageError
from kit.core.files import disk_errors, staged, sync, write_atomic

BALLAST = 256 << 10
"""Bytes; the record of a lost run has about 10,000."""
RESERVING = ".reserving-"
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
        """The statement that would be signed if the run were lost."""
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
        return self.path / ".alive"

    @property
    def ballast(self) -> Path:
        """The room that the record will take; to be removed before it is written."""
        return self.path / ".ballast"

    def finish(self, bundle: bytes) -> None:
        """Write the result so that a power cut leaves either the intent or the whole result."""
        write_atomic(self.result, bundle)
        self.clear()

    def clear(self) -> None:
        """Remove what only an unfinished run needs; its result is there. The intent goes last: see `tidy`."""
        for path in self.path.glob(".*"):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        self.intent.unlink(missing_ok=True)


@contextlib.contextmanager
def reserve(out: Path, run_id: str, intent: bytes, submission: Path) -> Iterator[RunFolder]:
    """
    Make the run's folder appear at once and complete: intent, empty log and stamps, the submission's files.

    The block owns the run; the kernel gives up its claim if this process dies. `submission` is copied with
    modes that any uid can read. Raises `UsageError` if `out` is not a folder, `RunError` if the disk is full.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is not a folder", "choose another --out")
    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    final = RunFolder(out / run_id)
    with contextlib.ExitStack() as owned:
        with staged(out, RESERVING) as name:
            folder = RunFolder(name)
            _fill(folder, intent, submission)
            lock = os.open(folder.alive, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            owned.callback(os.close, lock)
            fcntl.flock(lock, fcntl.LOCK_EX)
            name.rename(final.path)
            sync(out)
        yield final


def _fill(folder: RunFolder, intent: bytes, submission: Path) -> None:
    folder.scratch.mkdir(mode=0o755)
    folder.log.touch()
    folder.stamps.touch()
    with folder.ballast.open("wb") as f:
        os.posix_fallocate(f.fileno(), 0, BALLAST)
    _copy(submission, folder.submission)
    write_atomic(folder.intent, intent)
    sync(folder.path)


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
    """Try to become the owner of a run; gives False if a living kit owns it or it is finished."""
    with _locked(folder) as mine:
        yield mine and folder.intent.exists() and not folder.result.exists()


@contextlib.contextmanager
def _locked(folder: RunFolder) -> Iterator[bool]:
    try:
        lock = os.open(folder.alive, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        yield False
        return
    mine = False
    try:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mine = True
        yield mine
    finally:
        os.close(lock)


def is_owned(folder: RunFolder) -> bool:
    """Tell whether a living kit works on an unfinished run."""
    with _locked(folder) as mine:
        return not mine


def unfinished(out: Path) -> list[RunFolder]:
    """Return the runs below `out` that have no result, sorted by id; some may have a living owner."""
    if not out.is_dir():
        return []
    names = sorted(entry.name for entry in os.scandir(out) if RUN_ID.fullmatch(entry.name))
    folders = [RunFolder(out / name) for name in names]
    return [folder for folder in folders if not folder.result.exists() and folder.intent.exists()]


def tidy(out: Path) -> None:
    """Remove what kits left below `out` that died while they reserved a run, or just after they signed it."""
    if not out.is_dir():
        return
    names = sorted(entry.name for entry in os.scandir(out))
    if any(name.startswith(RESERVING) for name in names):
        with staged(out, RESERVING):
            pass
    for folder in (RunFolder(out / name) for name in names if RUN_ID.fullmatch(name)):
        if folder.intent.exists() and folder.result.exists():
            with _locked(folder) as mine:
                if mine:
                    folder.clear()
