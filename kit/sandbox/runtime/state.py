"""Where engines' state lies between processes: a folder of this user's alone. Puts nothing in it."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from kit.core.errors import RunError


def folder(engine: str) -> Path:
    """Return where this user's state of an engine is: on a tmpfs, so that it does not outlive a reboot."""
    if os.geteuid() == 0:
        return Path("/run/speedrun-kit") / engine
    runtime = Path(f"/run/user/{os.geteuid()}")
    return (runtime if runtime.is_dir() else Path(f"/tmp/speedrun-kit-{os.geteuid()}")) / f"speedrun-{engine}"  # noqa: S108


def make_private(folder: Path) -> None:
    """
    Make the folder and its parent, and see that nobody else has prepared them in /tmp.

    Raises `RunError` if somebody has.
    """
    for path in (folder.parent, folder):
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
        status = path.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
            raise RunError(f"{path} is not a folder of this user", f"remove it: rm -r {path}")
