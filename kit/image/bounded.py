"""The image room's care with tars that others wrote: what a header states is not believed. Opens no tar."""

from __future__ import annotations

import os
import tarfile
from typing import IO

UNREADABLE = (tarfile.TarError, ValueError, OverflowError, RecursionError)
"""
What tarfile raises for headers that state what cannot be: sizes below zero, or beyond any file; and for
extended headers of which each is about the next one.
"""


class BoundedFile:
    """A file of which no more is read than it has, whatever a header in it states."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._size = os.fstat(file.fileno()).st_size
        self.seek, self.tell, self.close = file.seek, file.tell, file.close

    def read(self, size: int = -1) -> bytes:
        """Read on from where the file is."""
        left = max(self._size - self._file.tell(), 0)
        return self._file.read(left if size < 0 else min(size, left))
