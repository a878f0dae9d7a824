"""
Lock files: which process works on something, on which machine, and whether that process still runs.

A lock is a file under the kernel's `flock`, which the kernel releases when the process dies. Some file
systems have no locks (NFS without a lock daemon). There, a process that needs the lock first creates a file
next to it with its identity, and then checks for the files of other processes. So two processes cannot miss
each other.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import re
import secrets
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from kit.core.errors import PrerequisiteError
from kit.core.process import OwnerState, Process, process_bytes, read_process, standing, this_process
from kit.core.system import CLOEXEC, NOFOLLOW, NONBLOCK, READ

LOOKS_S = 2.0
"""Seconds in which every process that looks at a lock must have been done with it once."""
NO_LOCKS = frozenset((errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS))
"""Errors of `flock` on a file system without locks."""
MAX_NOTE = 4096
"""Largest size in bytes of a file that identifies a process."""
FOREIGN_S = 3600.0
"""Seconds after which a mutex without kernel locks, held by another machine, counts as abandoned."""
ATTEMPTS = 5
"""Attempts of a process that does not wait, if two processes collide."""


class HeldLock:
    """A lock that this process holds."""

    def __init__(self, path: Path, fd: int, flag: Path | None) -> None:
        self._path, self._fd, self._flag, self._noted = path, fd, flag, False

    @property
    def by_kernel(self) -> bool:
        """Whether the kernel holds the lock; otherwise a file does, which survives this process."""
        return self._flag is None

    @property
    def inode(self) -> int:
        """Inode of the lock file."""
        return os.fstat(self._fd).st_ino

    def note(self) -> None:
        """Write this process's identity into the lock file, for machines whose kernels do not share locks."""
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)
        os.write(self._fd, process_bytes(this_process()))
        self._noted = True

    def move(self, path: Path) -> None:
        """Update the lock's path after its directory was renamed."""
        self._path = path
        self._flag = self._flag and path.with_name(self._flag.name)

    def remove(self) -> None:
        """Release the lock and delete its file. Other processes must not lock this file by name."""
        self._path.unlink(missing_ok=True)
        self.release()

    def release(self) -> None:
        """Release the lock. Safe to repeat."""
        if self._fd < 0:
            return
        with contextlib.suppress(OSError):
            if self._noted:
                os.ftruncate(self._fd, 0)
            if self._flag:
                self._flag.unlink(missing_ok=True)
        os.close(self._fd)
        self._fd = -1


def lock_file(fd: int, wait: bool = False, shared: bool = False) -> bool | None:
    """
    Take the kernel's lock on an open file.

    Return True if it was free, False if it is taken, None if the file system has no locks. With `wait`, wait
    until it is free. The lock lasts until the file is closed. A shared lock excludes only those that are not.
    """
    try:
        _flock(fd, wait, shared)
    except BlockingIOError:
        return False
    except OSError as e:
        if e.errno in NO_LOCKS:
            return None
        raise
    return True


def _flock(fd: int, wait: bool, shared: bool) -> None:
    try:
        import fcntl
    except ImportError as e:
        raise OSError(errno.ENOLCK, "this operating system has no flock") from e
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    fcntl.flock(fd, kind if wait else kind | fcntl.LOCK_NB)


@contextlib.contextmanager
def lock_errors(folder: Path) -> Iterator[None]:
    """Convert an error of `lock_file` on a file in `folder` into a `PrerequisiteError` that names it."""
    try:
        yield
    except OSError as e:
        raise PrerequisiteError(
            f"the file system of {folder} has no working locks: {e.strerror}",
            "pass a directory on another file system with --store, --out or --keys",
        ) from e


def supported(folder: Path) -> bool:
    """
    Try a lock in `folder`: tell whether the file system has locks.

    Raises `OSError` if it is not writable, and `PrerequisiteError` if a lock fails or excludes nobody.
    """
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".lock-") as probe, lock_errors(folder):
        if lock_file(probe.fileno()) is None:
            return False
        second = os.open(probe.name, os.O_RDWR | CLOEXEC)
        try:
            if lock_file(second):
                raise OSError(errno.ENOLCK, "two processes got the same lock")
        finally:
            os.close(second)
    return True


def acquire(path: Path, *, wait: bool = False, create: bool = True) -> HeldLock | None:
    """
    Take the lock whose file is `path`; return None if another process holds it and `wait` is False.

    Raises the file system's `OSError` if the file cannot be opened, and `PrerequisiteError` if it cannot be
    locked. Does not follow a symbolic link.
    """
    flags = os.O_RDWR | CLOEXEC | NOFOLLOW | (os.O_CREAT if create else 0)
    fd = os.open(path, flags, 0o600)
    try:
        with lock_errors(path.parent):
            free = _past_looks(fd, wait)
        flag = _announce(path, wait) if free is None else None
    except BaseException:
        os.close(fd)
        raise
    if free or flag:
        return HeldLock(path, fd, flag)
    os.close(fd)
    return None


def _past_looks(fd: int, wait: bool) -> bool | None:
    """Take the lock as `lock_file` does, also if processes look at it, which hold it for a moment each."""
    until = time.monotonic() + LOOKS_S
    while True:
        free = lock_file(fd, wait)
        if free is not False or time.monotonic() >= until or not lock_file(fd, shared=True):
            return free
        time.sleep(random.uniform(0.001, 0.01))  # noqa: S311 - two that look past each other take turns


def held(path: Path) -> bool | None:
    """
    Tell whether a process holds the lock whose file is `path`; None if the file system has no locks.

    Raises `OSError` if the file cannot be opened for writing: it is missing or belongs to another user.
    """
    fd = os.open(path, os.O_RDWR | CLOEXEC | NOFOLLOW)
    try:
        free = lock_file(fd, shared=True)  # two processes that look at once do not see each other
    finally:
        os.close(fd)
    return None if free is None else not free


def noted(path: Path) -> Process | None:
    """Return the process that a lock file names. It is not proof: anyone with write access can change it."""
    try:
        fd = os.open(path, READ | NOFOLLOW | NONBLOCK)
    except OSError:
        return None
    try:
        return read_process(os.read(fd, MAX_NOTE)) if stat.S_ISREG(os.fstat(fd).st_mode) else None
    except OSError:
        return None
    finally:
        os.close(fd)


def standing_of(path: Path) -> OwnerState:
    """
    Tell whether the owner of a lock file runs, for display only: `kit.core.lease.claimed` decides.

    For a file that this user cannot open, the result is `ELSEWHERE`.
    """
    try:
        taken = held(path)
    except FileNotFoundError:
        return OwnerState.ENDED
    except OSError:
        return OwnerState.ELSEWHERE
    if taken:
        return OwnerState.RUNNING
    process = noted(path)
    if process is None or (taken is False and process.host == this_process().host):
        return OwnerState.ENDED
    return standing(process)


def _announce(path: Path, wait: bool) -> Path | None:
    """Create a file next to the lock file that claims the lock; delete it if another process was first."""
    attempt = 0
    while wait or attempt < ATTEMPTS:
        attempt += 1
        flag = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
        _write_whole(flag, process_bytes(this_process()))
        if not any(_wanted(other, wait) for other in _flags(path) if other != flag):
            return flag
        flag.unlink(missing_ok=True)
        time.sleep(0.02 + secrets.randbelow(100) / 1000)
    return None


def _write_whole(path: Path, data: bytes) -> None:
    """Write a file atomically: a reader of an incomplete file could not identify the process."""
    fresh = path.with_name(f".{path.name}.new")
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | CLOEXEC, 0o600)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)
    fresh.rename(path)


def _flags(path: Path) -> list[Path]:
    form = re.compile(re.escape(path.name) + r"\.[0-9a-f]{16}")
    return [path.with_name(entry.name) for entry in os.scandir(path.parent) if form.fullmatch(entry.name)]


def _wanted(flag: Path, mutex: bool) -> bool:
    """Tell whether the process that created `flag` may hold the lock; delete the file if it has ended."""
    process = noted(flag)
    known = standing(process) if process else OwnerState.ENDED
    if known is OwnerState.ELSEWHERE and mutex:
        with contextlib.suppress(OSError):
            return time.time() - flag.stat().st_mtime < FOREIGN_S
        return False
    if known is OwnerState.ENDED:
        flag.unlink(missing_ok=True)
    return known is not OwnerState.ENDED
