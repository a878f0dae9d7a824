"""
Leases: which process owns a directory, and whether another process may take the directory over.

A `Lease` binds a process to one directory and to the lock file in it. A signed lease cannot be forged: a copy
of the directory has other inodes, and while a process holds the lock file, its inode cannot be reused.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from kit.core.locks import HeldLock, acquire
from kit.core.process import OwnerState, Process, standing, this_process


@dataclass(frozen=True, slots=True)
class Lease:
    """A process and the directory that it owns. Numbers are decimal text, because JSON's end at 2**53."""

    process: Process
    device: str
    """Device of the directory; `0` if the number changes between mounts (NFS, overlay, FUSE)."""
    folder: str
    """Inode of the directory."""
    lock: str
    """Inode of the lock file in it."""


class Takeover(StrEnum):
    """Whether this process may take over a directory."""

    MINE = "mine"
    RUNNING = "running"
    """The owner, or another process that is taking the directory over, is running."""
    ELSEWHERE = "elsewhere"
    """The owner belongs to another machine; only that machine knows whether it runs."""
    COPY = "copy"
    """The lease belongs to another directory."""
    REPLACED = "replaced"
    """The lock file is not the one that the owner held."""


def lease_of(folder: Path, lock: HeldLock) -> Lease:
    """Return the lease of this process on a directory whose lock file it holds."""
    status = folder.stat()
    return Lease(this_process(), _device(status), str(status.st_ino), str(lock.inode))


@contextlib.contextmanager
def claimed(folder: Path, name: str, lease: Lease) -> Iterator[Takeover]:
    """
    Try to take over the directory that `lease` names for the block; `name` is its lock file.

    1. The owner must belong to this machine. 2. Directory and lock file must have the lease's inodes. 3. The
    lock must be free. 4. If the file system has no locks, the owner must have ended, too.

    Raises `OSError` if the lock file cannot be opened.
    """
    claim = _judge(folder, folder / name, lease)
    lock = acquire(folder / name, create=False) if claim is Takeover.MINE else None
    try:
        if claim is Takeover.MINE and lock is None:
            claim = Takeover.RUNNING
        elif lock is not None and str(lock.inode) != lease.lock:
            claim = Takeover.REPLACED
        elif lock is not None and not lock.by_kernel:
            claim = _without_kernel(lease.process)
        yield claim
    finally:
        if lock is not None:
            lock.release()


def _judge(folder: Path, lock: Path, lease: Lease) -> Takeover:
    here = this_process()
    if lease.process.host != here.host:
        return Takeover.ELSEWHERE
    status = folder.stat()
    moved = lease.process.boot == here.boot and lease.device != _device(status)
    if str(status.st_ino) != lease.folder or moved:
        return Takeover.COPY
    try:
        file = lock.lstat()
    except FileNotFoundError:
        return Takeover.REPLACED
    own = stat.S_ISREG(file.st_mode) and str(file.st_ino) == lease.lock
    return Takeover.MINE if own else Takeover.REPLACED


def _without_kernel(process: Process) -> Takeover:
    match standing(process):
        case OwnerState.ENDED:
            return Takeover.MINE
        case OwnerState.RUNNING:
            return Takeover.RUNNING
        case OwnerState.ELSEWHERE:
            return Takeover.ELSEWHERE


def _device(status: os.stat_result) -> str:
    major = getattr(os, "major", lambda device: device)
    return str(status.st_dev) if major(status.st_dev) else "0"
