"""
Flags of `os.open` and calls of the system that Windows lacks, as values that work everywhere.

Runs need Linux. Verifying, scoring and reporting do not, and use only what is here.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

CLOEXEC: int = getattr(os, "O_CLOEXEC", 0)
NOFOLLOW: int = getattr(os, "O_NOFOLLOW", 0)
NONBLOCK: int = getattr(os, "O_NONBLOCK", 0)
DIRECTORY: int = getattr(os, "O_DIRECTORY", 0)
BINARY: int = getattr(os, "O_BINARY", 0)
"""Windows alone translates line ends without it."""
OPENS_DIRECTORIES = hasattr(os, "O_DIRECTORY")
"""Whether a directory can be opened, to lock it or to sync its entries."""
READ = os.O_RDONLY | BINARY | CLOEXEC


def python_module(name: str) -> list[str]:
    """Return the command that runs a module of this Python; none of the working directory takes its place."""
    return [sys.executable, "-P", "-m", name]


def user_id() -> int | None:
    """Return the effective user id; None where users have none."""
    return os.geteuid() if hasattr(os, "geteuid") else None


def change_mode(fd: int, path: Path, mode: int) -> None:
    """Change the mode of an open file, whose path is `path`."""
    if hasattr(os, "fchmod"):
        os.fchmod(fd, mode)
    else:
        path.chmod(mode)
