"""
Write plain files and folders so that a crash, a full disk or a missing permission leaves nothing half made.

A file appears by rename once its bytes are durable; a folder is staged under a lock of its process.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from kit.core.errors import KitError, PrerequisiteError, RunError
from kit.core.locks import lock_file

ELSEWHERE = "choose another place with --store, --out, --keys or --to"

STAGING = ".staging-"


@contextlib.contextmanager
def staged(parent: Path, prefix: str = STAGING) -> Iterator[Path]:
    """
    Give an empty folder below `parent`; it is removed unless it was renamed away.

    The folders of processes that were killed are removed on this occasion: nobody holds their locks. What
    is locked is the folder around it: one that is renamed may be mounted, and a guest can lock what it sees.
    """
    with disk_errors(parent), _held(parent, wait=True):
        for abandoned in parent.glob(f"{prefix}*"):
            with _held(abandoned) as held:
                if held:
                    shutil.rmtree(abandoned, ignore_errors=True)
        around = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        own_lock = contextlib.ExitStack()
        own_lock.enter_context(_held(around))
    with own_lock:
        try:
            folder = around / "content"
            with disk_errors(folder):
                folder.mkdir()
                for made in (around, folder):
                    made.chmod(0o755)
                yield folder
        finally:
            shutil.rmtree(around, ignore_errors=True)


@contextlib.contextmanager
def _held(folder: Path, wait: bool = False) -> Iterator[bool]:
    """Hold the lock of `folder` for the block; tell whether it could be had, which some file systems deny."""
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        yield False
        return
    try:
        held = False
        with contextlib.suppress(OSError):
            held = bool(lock_file(fd, wait))
        yield held
    finally:
        os.close(fd)


def make_folder(folder: Path) -> Path:
    """Make a folder and those above it, unless it is there; return it. Raises as `disk_errors` does."""
    try:
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as e:
        raise PrerequisiteError(f"cannot write {folder}: it is not a folder", ELSEWHERE) from e
    return folder


@contextlib.contextmanager
def disk_errors(where: Path) -> Iterator[None]:
    """Turn a full disk into a `RunError`, and what is not permitted into a `PrerequisiteError`, by name."""
    try:
        yield
    except KitError:
        raise
    except OSError as e:
        if e.errno in (errno.ENOSPC, errno.EDQUOT):
            raise RunError(
                f"no space left on the disk of {where}", f"free space there, or {ELSEWHERE}"
            ) from e
        if e.errno in (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR):
            if (blocked := _elsewhere(e, where)) is not None:
                raise PrerequisiteError(
                    f"cannot open {blocked}: {e.strerror}", "give this user access to it"
                ) from e
            raise PrerequisiteError(f"cannot write {where}: {e.strerror}", ELSEWHERE) from e
        raise


def _elsewhere(e: OSError, where: Path) -> Path | None:
    """Return the file that an error is about, if it is neither near `where` nor on the way to it."""
    if not isinstance(e.filename, str) or e.errno in (errno.EROFS, errno.ENOTDIR):
        return None
    named = Path(e.filename)
    near = named.is_relative_to(where.parent) or where.is_relative_to(named)
    return None if near else named


def place(temporary: Path, final: Path, mode: int = 0o444) -> None:
    """Make `temporary` durable and rename it to `final`; the two must share a file system."""
    with disk_errors(final):
        make_folder(final.parent)
        fd = os.open(temporary, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fchmod(fd, mode)
            os.fsync(fd)
        finally:
            os.close(fd)
        temporary.replace(final)
        sync(final.parent)


def write_atomic(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a file so that after a power cut there is the old one or the whole new one."""
    make_folder(path.parent)
    with disk_errors(path):
        fd, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        temporary = Path(name)
        try:
            with os.fdopen(fd, "wb") as f:
                f.write(data)
            place(temporary, path, mode)
        finally:
            temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Make a file's bytes durable, or the names in a folder."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
