"""
Locks and leases: which process on which machine owns a directory, and whether that process still runs.

A lock is a file under the kernel's `flock`, which the kernel releases when the process dies. Some file
systems have no locks (NFS without a lock daemon). There, a process that needs the lock first creates a file
next to it with its identity, and then checks for the files of other processes. So two processes cannot miss
each other.

A `Lease` binds a process to one directory and to the lock file in it. A signed lease cannot be forged: a copy
of the directory has other inodes, and while a process holds the lock file, its inode cannot be reused.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import platform
import re
import secrets
import stat
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from kit.core.codec import decode, encode
from kit.core.digest import canonical_json, sha256_bytes
from kit.core.errors import KitError, PrerequisiteError
from kit.core.schema import parse_json
from kit.core.system import CLOEXEC, NOFOLLOW, NONBLOCK, READ

NO_LOCKS = frozenset((errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS))
"""Errors of `flock` on a file system without locks."""
MAX_NOTE = 4096
"""Largest size in bytes of a file that identifies a process."""
FOREIGN_S = 3600.0
"""Seconds after which a mutex without kernel locks, held by another machine, counts as abandoned."""
ATTEMPTS = 5
"""Attempts of a process that does not wait, if two processes collide."""


class OwnerState(StrEnum):
    """Whether a process is running, as far as this process can tell."""

    RUNNING = "running"
    ENDED = "ended"
    ELSEWHERE = "elsewhere"
    """The process belongs to another machine or PID namespace, so its state is unknown."""


@dataclass(frozen=True, slots=True)
class Process:
    """The identity of one process, unique over time and across machines."""

    host: str
    boot: str
    namespace: str
    """Its PID namespace."""
    pid: int
    started: int
    """Clock ticks from boot to start."""


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


def this_process() -> Process:
    """Return the identity of the calling process."""
    pid = os.getpid()
    return Process(_host(), _boot(), _namespace(), pid, _started(pid) or 0)


def standing(process: Process) -> OwnerState:
    """Tell whether a process still runs, as far as this process can tell."""
    here = this_process()
    if process.host != here.host:
        return OwnerState.ELSEWHERE
    if process.boot != here.boot:
        return OwnerState.ENDED
    if process.namespace != here.namespace:
        return OwnerState.ELSEWHERE
    return OwnerState.RUNNING if _started(process.pid) == process.started else OwnerState.ENDED


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
        os.write(self._fd, _spelled(this_process()))
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


def lock_file(fd: int, wait: bool = False) -> bool | None:
    """
    Take the kernel's lock on an open file.

    Return True if it was free, False if it is taken, None if the file system has no locks. With `wait`, wait
    until it is free. The lock lasts until the file is closed.
    """
    try:
        _flock(fd, wait)
    except BlockingIOError:
        return False
    except OSError as e:
        if e.errno in NO_LOCKS:
            return None
        raise
    return True


def _flock(fd: int, wait: bool) -> None:
    try:
        import fcntl
    except ImportError as e:
        raise OSError(errno.ENOLCK, "this operating system has no flock") from e
    fcntl.flock(fd, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)


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
            free = lock_file(fd, wait)
        flag = _announce(path, wait) if free is None else None
    except BaseException:
        os.close(fd)
        raise
    if free or flag:
        return HeldLock(path, fd, flag)
    os.close(fd)
    return None


def held(path: Path) -> bool | None:
    """
    Tell whether a process holds the lock whose file is `path`; None if the file system has no locks.

    Raises `OSError` if the file cannot be opened for writing: it is missing or belongs to another user.
    """
    fd = os.open(path, os.O_RDWR | CLOEXEC | NOFOLLOW)
    try:
        free = lock_file(fd)
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


def read_process(data: bytes) -> Process | None:
    """Parse the identity of a process; return None if the bytes are invalid."""
    try:
        process: Process = decode(Process, parse_json(data, "lease"))
    except KitError:
        return None
    return process


def standing_of(path: Path) -> OwnerState:
    """
    Tell whether the owner of a lock file runs, for display only: `claimed` decides.

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
    if process is None or (taken is False and process.host == _host()):
        return OwnerState.ENDED
    return standing(process)


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


def _announce(path: Path, wait: bool) -> Path | None:
    """Create a file next to the lock file that claims the lock; delete it if another process was first."""
    attempt = 0
    while wait or attempt < ATTEMPTS:
        attempt += 1
        flag = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
        _write_whole(flag, _spelled(this_process()))
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


def _spelled(process: Process) -> bytes:
    return canonical_json(encode(Process, process))


def _device(status: os.stat_result) -> str:
    major = getattr(os, "major", lambda device: device)
    return str(status.st_dev) if major(status.st_dev) else "0"


@functools.cache
def _host() -> str:
    """
    Return an id of this machine: a hash of its machine id, which stays private, and its host name.

    The host name distinguishes cloned images. A machine without a machine id gets a new id after each boot.
    """
    identity = _text("/etc/machine-id") or _boot()
    return sha256_bytes(f"speedrun-kit\n{identity}\n{platform.node()}".encode())[:32]


def _boot() -> str:
    return _text("/proc/sys/kernel/random/boot_id") or "unknown"


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")  # noqa: PTH115
    except OSError:
        return "unknown"


def _started(pid: int) -> int | None:
    """Return the start time of a process in clock ticks after boot; None if it has exited or is a zombie."""
    fields = _text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return int(fields[19]) if len(fields) > 19 and fields[0] not in "ZX" else None


def _text(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return ""
