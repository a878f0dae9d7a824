"""Open a file for reading without waiting for another process to write it; errors name the file."""

from __future__ import annotations

import errno
import io
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from kit.core.errors import ALLOW, CHECK_PATH, PrerequisiteError
from kit.core.system import NONBLOCK, READ

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

PIPE = "a named pipe, not a regular file"
DISK = "the disk reports an error: copy the file again, or pass another path"
HINTS = {errno.EACCES: ALLOW, errno.EPERM: ALLOW, errno.EIO: DISK}
"""What to do about a file that cannot be read, if not `CHECK_PATH`."""


class _NamedFile(io.FileIO):
    """A file whose errors of reading name its path, as those of opening do."""

    path: Path

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        """See `io.RawIOBase.readinto`."""
        try:
            return super().readinto(buffer)
        except OSError as e:
            e.filename = str(self.path)
            raise

    def readall(self) -> bytes:
        """See `io.RawIOBase.readall`."""
        try:
            return super().readall()
        except OSError as e:
            e.filename = str(self.path)
            raise


def open_file(path: Path, buffering: int = io.DEFAULT_BUFFER_SIZE) -> io.BufferedReader:
    """
    Open a file for reading; links are followed.

    Raises `OSError` as `open` does, and for a named pipe, whose reader waits until another process opens it.
    An unnamed pipe, such as a shell's `<(command)`, has its writer already. An error while the file is read
    names it, too.
    """
    fd = os.open(path, READ | NONBLOCK)
    try:
        mode = os.fstat(fd).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if stat.S_ISFIFO(mode) and os.path.lexists(os.path.realpath(path)):
            raise OSError(errno.ESPIPE, PIPE, str(path))
        if NONBLOCK:
            os.set_blocking(fd, True)
        file = _NamedFile(fd, "rb")
        file.path = path
        return io.BufferedReader(file, buffering)
    except BaseException:
        os.close(fd)
        raise


def unreadable(path: Path, e: OSError, hint: str = "") -> PrerequisiteError:
    """Return the error for a path that cannot be opened, listed or read to its end."""
    return PrerequisiteError(
        f"cannot read {path}: {e.strerror or e}", hint or HINTS.get(e.errno or 0, CHECK_PATH)
    )
