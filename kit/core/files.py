"""
Write files and directories atomically: a crash or a full disk leaves nothing incomplete.

A file is renamed into place after its bytes are synced. A directory is staged under a lock of its process.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from kit.core.errors import KitError, PrerequisiteError, RunError
from kit.core.locks import lock_file
from kit.core.system import BINARY, CLOEXEC, DIRECTORY, NOFOLLOW, OPENS_DIRECTORIES, READ, change_mode

ELSEWHERE = "pass another directory with --store, --out, --keys or --to"

UNMADE = "no file or directory can be created there"
"""As in /proc, which says that the new entry itself was not found."""
FILE_SIZE = "raise the limit on the size of files: ulimit -f unlimited"
STAGING = ".staging-"
NO_LINKS = frozenset(
    (errno.EPERM, errno.EMLINK, errno.EXDEV, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)
)
"""Errors of `link` on a file system without hard links, or with too few of them."""


@contextlib.contextmanager
def staged(parent: Path, prefix: str = STAGING) -> Iterator[Path]:
    """
    Yield an empty directory below `parent`; it is removed after the block unless the block renamed it.

    Also removes the directories of killed processes, whose locks are free. The lock is on the enclosing
    directory: a renamed directory may be mounted into a guest, and a guest can lock what it can read.
    """
    with disk_errors(parent), _held(parent, wait=True):
        for abandoned in parent.glob(f"{prefix}*"):
            with _held(abandoned) as held:
                if held:
                    shutil.rmtree(abandoned, ignore_errors=True)
        around = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        own_lock = contextlib.ExitStack()
        own_lock.enter_context(_held(around, wait=True))  # who looks at it holds its lock for a moment
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


def is_being_staged(folder: Path) -> bool:
    """Tell whether a directory that `staged` made may have a living process."""
    with _held(folder) as free:
        return not free


@contextlib.contextmanager
def _held(folder: Path, wait: bool = False) -> Iterator[bool]:
    """Hold the lock of `folder` for the block; yield False if it is taken or the file system has no locks."""
    try:
        fd = os.open(folder, READ | DIRECTORY)
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


def make_folder(folder: Path, mode: int = 0o777) -> Path:
    """Create a directory and its parents if missing; return it. Raises like `disk_errors`."""
    try:
        with disk_errors(folder):
            folder.mkdir(mode, parents=True, exist_ok=True)
    except FileExistsError as e:
        raise PrerequisiteError(f"cannot write {folder}: not a directory", ELSEWHERE) from e
    except FileNotFoundError as e:
        raise PrerequisiteError(f"cannot write {folder}: {UNMADE}", ELSEWHERE) from e
    return folder


def require_parent(file: Path) -> None:
    """Raise `PrerequisiteError` if the directory of a file to be written does not exist."""
    if not file.parent.is_dir():
        raise PrerequisiteError(
            f"cannot write {file}: directory {file.parent} does not exist",
            "create the directory, or choose another path with --out",
        )


def make_readable(folder: Path, root: Path) -> Path:
    """
    Create a directory below `root` and its parents; return it. All are readable by every uid.

    A guest has another uid, and the umask of the user may deny others access.
    """
    missing = folder.relative_to(root).parts
    for depth in range(1, len(missing) + 1):
        made = root.joinpath(*missing[:depth])
        made.mkdir(exist_ok=True)
        made.chmod(0o755)
    return folder


def link_or_copy(file: Path, new: Path) -> bool:
    """
    Hard-link `file` as `new`; return False if the file system has no hard links, and `new` is a copy.

    Raises `FileExistsError` if `new` exists.
    """
    try:
        os.link(file, new, follow_symlinks=False)
    except OSError as e:
        if e.errno not in NO_LINKS:
            raise
        if os.path.lexists(new):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(new)) from e
        shutil.copy2(file, new, follow_symlinks=False)
        return False
    return True


def readable_copy(file: Path, folder: Path) -> Path:
    """Copy a file into `folder`, readable by every uid; an installation may be private. Return the copy."""
    copy = folder / file.name
    shutil.copyfile(file, copy)
    copy.chmod(0o444)
    return copy


@contextlib.contextmanager
def disk_errors(where: Path) -> Iterator[None]:
    """Convert a full disk or too large a file into a `RunError`, denied access into a `PrerequisiteError`."""
    try:
        yield
    except KitError:
        raise
    except OSError as e:
        if e.errno in (errno.ENOSPC, errno.EDQUOT):
            raise RunError(
                f"no space left on the disk of {where}", f"delete files to make room, or {ELSEWHERE}"
            ) from e
        if e.errno == errno.EFBIG:
            raise RunError(f"cannot write {where}: {e.strerror}", FILE_SIZE) from e
        if e.errno in (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR):
            if (blocked := _elsewhere(e, where)) is not None:
                raise PrerequisiteError(
                    f"cannot open {blocked}: {e.strerror}", "grant this user read access to it"
                ) from e
            raise PrerequisiteError(f"cannot write {where}: {e.strerror}", ELSEWHERE) from e
        if e.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            raise PrerequisiteError(f"cannot write {where}: {e.strerror}", ELSEWHERE) from e
        if (reason := _cannot_be_made(e, where)) is not None:
            raise PrerequisiteError(f"cannot write {where}: {reason}", ELSEWHERE) from e
        raise


def _cannot_be_made(e: OSError, where: Path) -> str | None:
    """Say why `where`, a parent of it, or a temporary name beside it or in it cannot be made, if so."""
    if not isinstance(e.filename, str):
        return None
    named, wanted = Path(e.filename).absolute(), where.absolute()
    if e.errno == errno.EEXIST and named in wanted.parents and not named.is_dir():
        return f"{named} is not a directory"
    temporary = named.name.startswith(".") and named.parent in (wanted, wanted.parent)
    if e.errno != errno.ENOENT or not (temporary or wanted.is_relative_to(named)):
        return None
    if not named.parent.is_dir():
        return f"directory {named.parent} does not exist"
    return None if named == wanted else UNMADE  # a caller may look for a file that is missing


def _elsewhere(e: OSError, where: Path) -> Path | None:
    """Return the file that an error names, unless it is in the directory of `where` or a parent of it."""
    if not isinstance(e.filename, str) or e.errno in (errno.EROFS, errno.ENOTDIR):
        return None
    named = Path(e.filename)
    near = named.is_relative_to(where.parent) or where.is_relative_to(named)
    return None if near else named


def place(temporary: Path, final: Path, mode: int | None = 0o444) -> None:
    """
    Sync `temporary` and rename it to `final`; both must be on the same file system.

    Without a mode, it keeps the one that it has.
    """
    with disk_errors(final):
        make_folder(final.parent)
        # Windows syncs only files that are open for writing.
        fd = os.open(temporary, READ if OPENS_DIRECTORIES else os.O_RDWR | BINARY)
        try:
            if mode is not None:
                change_mode(fd, temporary, mode)
            os.fsync(fd)
        finally:
            os.close(fd)
        temporary.replace(final)
        sync(final.parent)


def write_atomic(path: Path, data: bytes, mode: int | None = None) -> None:
    """
    Write a file atomically: after a power cut, either the old file or the whole new file exists.

    Without a mode, the file has the one that the umask gives to new files.
    """
    make_folder(path.parent)
    with disk_errors(path):
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | NOFOLLOW | CLOEXEC | BINARY
        fd = os.open(temporary, flags, 0o600 if mode is not None else 0o666)
        try:
            with os.fdopen(fd, "wb") as f:
                f.write(data)
            place(temporary, path, mode)
        finally:
            temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Sync a file's bytes, or where that is possible the entries of a directory, to disk."""
    if not OPENS_DIRECTORIES and path.is_dir():
        return
    fd = os.open(path, READ if OPENS_DIRECTORIES else os.O_RDWR | BINARY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def files_below(folder: Path) -> Iterator[Path]:
    """
    Yield the files in `folder` at any depth, in a fixed order; links to files and directories are followed.

    A directory that is reached twice, for example through a link to its parent, is entered once. Directories
    that cannot be read are left out.
    """
    entered: set[tuple[int, int]] = set()
    for where, folders, names in os.walk(folder, followlinks=True):
        here = Path(where)
        folders[:] = [name for name in sorted(folders) if _first_visit(here / name, entered)]
        yield from (path for name in sorted(names) if (path := here / name).is_file())


def _first_visit(folder: Path, entered: set[tuple[int, int]]) -> bool:
    try:
        status = folder.stat()
    except OSError:
        return False
    visit = (status.st_dev, status.st_ino)
    if visit in entered:
        return False
    entered.add(visit)
    return True
