"""
Directories that stay open while their files are listed and read: no exchange of a path matters then.

Whoever may rename entries of a directory can put a link in the place of one between a check of the path and
its use. Below an open directory every part of a name is opened without following a link.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kit.core.system import DIRECTORY, NOFOLLOW, NONBLOCK, OPENS_DIRECTORIES, READ


@dataclass(frozen=True, slots=True)
class OpenFolder:
    """A directory that is open; on a system that opens none, its path."""

    path: Path
    """For messages."""
    fd: int

    def open(self, name: str) -> int:
        """
        Open a file for reading, which may be a pipe or a device; return its descriptor.

        `name` is a relative POSIX path. Raises `OSError`, also for a link in any part of the name.
        """
        if not OPENS_DIRECTORIES:
            return os.open(self.path / name, READ | NOFOLLOW | NONBLOCK)
        parent, _, last = name.rpartition("/")
        with self._below(parent) as fd:
            return os.open(last, READ | NOFOLLOW | NONBLOCK, dir_fd=fd)

    @contextlib.contextmanager
    def entries(self, name: str = "") -> Iterator[Iterator[os.DirEntry[str]]]:
        """
        Yield the entries of a directory below this one, or of this one; they are valid within the block.

        Raises `OSError`, also for a link in any part of the name.
        """
        if not OPENS_DIRECTORIES:
            with os.scandir(self.path / name) as entries:
                yield entries
            return
        with self._below(name) as fd, os.scandir(fd) as entries:
            yield entries

    def is_file(self, name: str) -> bool:
        """Tell whether there is a file of this name that is no link, and below no link."""
        parent, _, last = name.rpartition("/")
        try:
            if not OPENS_DIRECTORIES:
                return stat.S_ISREG(os.lstat(self.path / name).st_mode)
            with self._below(parent) as fd:
                return stat.S_ISREG(os.stat(last, dir_fd=fd, follow_symlinks=False).st_mode)
        except OSError:
            return False

    @contextlib.contextmanager
    def _below(self, name: str) -> Iterator[int]:
        fd = os.dup(self.fd)
        try:
            for part in name.split("/") if name else ():
                if part == "..":
                    raise OSError(errno.EINVAL, "a path leads out of its directory", name)
                fd = entered(fd, part)
            yield fd
        finally:
            os.close(fd)


@contextlib.contextmanager
def open_folder(path: Path, follow: bool = True) -> Iterator[OpenFolder]:
    """
    Open a directory for the block. Raises `OSError`.

    `follow` tells whether the path itself may be a link.
    """
    if not OPENS_DIRECTORIES:
        yield OpenFolder(path, -1)
        return
    fd = os.open(path, READ | DIRECTORY | (0 if follow else NOFOLLOW))
    try:
        yield OpenFolder(path, fd)
    finally:
        os.close(fd)


@contextlib.contextmanager
def made_below(root: Path, name: str) -> Iterator[Path]:
    """
    Create a directory below `root` and its parents if they are missing; yield a path of it for this process.

    `name` is a relative POSIX path. The yielded path leads to that directory even if another one, or a link,
    takes its name. Raises `OSError`, also for a link in any part of the name.
    """
    root.mkdir(parents=True, exist_ok=True)
    if not OPENS_DIRECTORIES:
        (root / name).mkdir(parents=True, exist_ok=True)
        yield root / name
        return
    fd = os.open(root, READ | DIRECTORY)
    try:
        for part in name.split("/"):
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, dir_fd=fd)
            fd = entered(fd, part)
        yield path_of(fd, root / name)
    finally:
        os.close(fd)


def entered(fd: int, name: str) -> int:
    """
    Return the descriptor of a directory in the open directory `fd`, which is closed.

    Raises `OSError`, also for a link; `fd` stays open then.
    """
    below = os.open(name, READ | DIRECTORY | NOFOLLOW, dir_fd=fd)
    os.close(fd)
    return below


def path_of(fd: int, path: Path) -> Path:
    """Return a path of an open file or directory that holds while it is open; `path` without such paths."""
    return Path(f"/proc/self/fd/{fd}") if os.path.lexists(f"/proc/self/fd/{fd}") else path
