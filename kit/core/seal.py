"""List a directory tree by each path's status, so that a later listing shows what has changed in it."""

from __future__ import annotations

import operator
import os
import stat
from pathlib import Path

_NAME = operator.attrgetter("name")


def listing(root: Path) -> str:
    """
    Return a line for each path below `root`: mode, size (not of directories), time and path.

    It runs before every run, so it uses directory file descriptors, which are faster than full paths.
    """
    lines: list[str] = []
    pending = [""]
    while pending:
        folder = pending.pop()
        fd = os.open(root / folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        prefix = f"{folder}/" if folder else ""
        try:
            with os.scandir(fd) as scan:
                entries = sorted(scan, key=_NAME)
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                mode, path = status.st_mode, prefix + entry.name
                if stat.S_ISDIR(mode):
                    pending.append(path)
                    lines.append(f"{mode:o} 0 {status.st_mtime_ns} {path}")
                else:
                    lines.append(f"{mode:o} {status.st_size} {status.st_mtime_ns} {path}")
        finally:
            os.close(fd)
    return "\n".join(lines)
