"""
The workspace of a session: a directory of files that an agent reads and writes by name.

Names come from an agent and are treated as hostile: no link is followed, no name leaves the directory, and
the rules of a submission hold for every file.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kit.benchmark.submission import Submission, load_open
from kit.benchmark.workspace import MAX_BYTES, MAX_DEPTH, MAX_FILES, Listing, is_left_out, list_folder
from kit.core.errors import UsageError
from kit.core.files import disk_errors
from kit.core.open_folder import OpenFolder, entered, open_folder
from kit.core.system import CLOEXEC, NOFOLLOW, NONBLOCK, READ
from kit.core.text import one_line

WORKSPACE = "workspace"
MAX_WORKSPACE = 1 << 20
"""Bytes of all files: ten times the longest record. The host parses them, which takes seconds a megabyte."""
MAX_SHOWN = 100_000
"""Characters of a file that one call returns."""
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_NEW = ".speedrun-new-"


@dataclass(frozen=True, slots=True)
class FilePart:
    """A part of a text file."""

    text: str
    start: int
    """The first character, from 0."""
    total: int
    """Characters of the whole file."""


class Workspace:
    """The files of one workspace. Safe to use from several threads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()

    def fill(self, files: dict[str, bytes]) -> None:
        """Create the directory and write the first files."""
        with disk_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        for name, data in sorted(files.items()):
            self._write(name, data)

    def list(self) -> tuple[tuple[str, int], ...]:
        """Return the name and the size in bytes of every file of the submission, sorted."""
        with self._lock:
            return tuple((name, self._size(name)) for name in self._listing().names)

    def read(self, name: str, start: int = 0) -> FilePart:
        """Return at most `MAX_SHOWN` characters of a file. Raises `UsageError` for a bad name or no file."""
        with self._lock, self._directory(name) as (parent, last):
            data = _read(parent, last, name)
        text = data.decode("utf-8", "replace")
        return FilePart(text[start : start + MAX_SHOWN], start, len(text))

    def write(self, name: str, text: str) -> int:
        """
        Replace or create a file; return its size in bytes.

        Raises `UsageError` for a bad name, a text that is no valid Unicode, and beyond the limits of a
        submission.
        """
        try:
            data = text.encode("utf-8")
        except UnicodeEncodeError as e:
            raise UsageError("the content has lone surrogates: it is no valid Unicode text") from e
        with self._lock:
            listing = self._listing()
            others = sum(self._size(other) for other in listing.names if other != name)
            if others + len(data) > MAX_WORKSPACE:
                raise UsageError(f"the workspace would be larger than {MAX_WORKSPACE >> 20} MiB")
            if name not in listing.names and len(listing.names) >= MAX_FILES:
                raise UsageError(f"the workspace has {MAX_FILES} files already; delete one first")
            self._write(name, data)
        return len(data)

    def delete(self, name: str) -> None:
        """Delete a file. Raises `UsageError` for a bad name or no file."""
        with self._lock, self._directory(name) as (parent, last):
            try:
                if not stat.S_ISREG(os.stat(last, dir_fd=parent, follow_symlinks=False).st_mode):
                    raise UsageError(f"{name} is not a regular file")
                os.unlink(last, dir_fd=parent)
            except FileNotFoundError as e:
                raise _missing(name) from e
            self._remove_empty(name)

    def _remove_empty(self, name: str) -> None:
        """Remove the directories of a deleted file that are empty now: they count against no limit."""
        *parents, _ = name.split("/")
        while parents:
            with self._directory("/".join([*parents, "x"])) as (folder, _):
                empty = not os.listdir(folder)  # noqa: PTH208 - a descriptor
            if not empty:
                return
            with self._directory("/".join(parents)) as (above, last), contextlib.suppress(OSError):
                os.rmdir(last, dir_fd=above)
            parents.pop()

    def snapshot(self) -> Submission:
        """Return the files as they are now. Raises as `load_submission` does, and for too many bytes."""
        with self._lock, self._opened() as opened:
            submission = load_open(opened)
        if sum(len(file.data) for file in submission.files) > MAX_WORKSPACE:
            raise UsageError(f"the workspace is larger than {MAX_WORKSPACE >> 20} MiB")
        return submission

    def remove_unfinished(self) -> None:
        """Remove files that a killed process has not finished."""
        for place, folders, names, fd in os.fwalk(self.folder):
            if len(Path(place).relative_to(self.folder).parts) >= MAX_DEPTH:
                folders.clear()  # no file of a submission is deeper
            for name in names:
                if name.startswith(_NEW):
                    with contextlib.suppress(OSError):
                        os.unlink(name, dir_fd=fd)

    def _listing(self) -> Listing:
        with self._opened() as opened:
            return list_folder(opened)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[OpenFolder]:
        """Open the workspace. Raises `UsageError` for a link: it would give an agent another's files."""
        with contextlib.ExitStack() as held:
            try:
                opened = held.enter_context(open_folder(self.folder, follow=False))
            except OSError as e:
                if not self.folder.is_symlink():
                    raise
                why = "the workspace is a symbolic link"
                raise UsageError(why, "make it a directory again") from e
            yield opened

    def _size(self, name: str) -> int:
        """Return the size of a listed file, or of a new one in its place."""
        try:
            with self._directory(name) as (parent, last):
                return os.stat(last, dir_fd=parent, follow_symlinks=False).st_size
        except (FileNotFoundError, UsageError):
            return 0

    def _write(self, name: str, data: bytes) -> None:
        with self._directory(name, create=True) as (parent, last), disk_errors(self.folder):
            fresh = f"{_NEW}{secrets.token_hex(8)}"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | NOFOLLOW | CLOEXEC
            fd = os.open(fresh, flags, 0o644, dir_fd=parent)
            try:
                with os.fdopen(fd, "wb") as f:
                    f.write(data)
                os.replace(fresh, last, src_dir_fd=parent, dst_dir_fd=parent)
            except OSError as e:
                with contextlib.suppress(OSError):
                    os.unlink(fresh, dir_fd=parent)
                if isinstance(e, IsADirectoryError):
                    raise UsageError(f"{name} is a directory") from e
                raise

    @contextlib.contextmanager
    def _directory(self, name: str, create: bool = False) -> Iterator[tuple[int, str]]:
        """Open the directory of a file without following a link; yield it with the file's last name."""
        *parents, last = checked_name(name)
        with self._opened() as opened:
            fd = os.dup(opened.fd)
        try:
            for part in parents:
                fd = _entered(fd, part, name, create)
            yield fd, last
        finally:
            os.close(fd)


def checked_name(name: str) -> tuple[str, ...]:
    """
    Return the parts of the name of a file of a submission.

    Raises `UsageError` for an absolute or empty name, for `..`, for a hidden part, for other characters than
    letters, digits, `_`, `.` and `-`, and for more than four levels.
    """
    parts = tuple(name.split("/")) if len(name) <= 500 else ("",)
    if not all(_PART.fullmatch(part) for part in parts):
        raise UsageError(
            f"invalid file name {one_line(ascii(name), 120)}",
            "use a relative name such as model/blocks.py with letters, digits, '_', '.' and '-'",
        )
    if len(parts) > MAX_DEPTH:
        raise UsageError(f"{name} is more than {MAX_DEPTH} levels deep")
    if any(is_left_out(part, i < len(parts) - 1) for i, part in enumerate(parts)):
        raise UsageError(f"{name} would not be part of a submission", "use another name")
    return parts


def _entered(fd: int, part: str, name: str, create: bool) -> int:
    """Return the descriptor of a directory in `fd`, which is closed."""
    if create:
        with contextlib.suppress(FileExistsError):
            os.mkdir(part, 0o755, dir_fd=fd)
    try:
        return entered(fd, part)
    except FileNotFoundError as e:
        raise _missing(name) from e
    except OSError as e:
        raise UsageError(f"{name}: {part} is not a directory") from e


def _read(parent: int, last: str, name: str) -> bytes:
    try:
        fd = os.open(last, READ | NOFOLLOW | NONBLOCK, dir_fd=parent)
    except FileNotFoundError as e:
        raise _missing(name) from e
    except OSError as e:
        raise UsageError(f"cannot read {name}: {e.strerror}") from e
    with os.fdopen(fd, "rb") as f:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise UsageError(f"{name} is not a regular file")
        return f.read(MAX_BYTES)


def _missing(name: str) -> UsageError:
    return UsageError(f"{name} does not exist in the workspace", "list the files with the tool list")
