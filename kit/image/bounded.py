"""Read an untrusted tar within the size of its file, whatever its headers state."""

from __future__ import annotations

import os
import tarfile
from typing import IO

UNREADABLE = (tarfile.TarError, ValueError, OverflowError, RecursionError)
"""
What tarfile raises for invalid headers: negative or too large sizes, and endless chains of extended headers.
"""


class BoundedFile:
    """A file whose reads are limited to its real size."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._size = os.fstat(file.fileno()).st_size
        self.seek, self.tell, self.close = file.seek, file.tell, file.close

    def read(self, size: int = -1) -> bytes:
        """Read up to `size` bytes from the current position."""
        left = max(self._size - self._file.tell(), 0)
        return self._file.read(left if size < 0 else min(size, left))
