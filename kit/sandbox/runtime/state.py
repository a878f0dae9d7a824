"""The private directory of this user that holds the runtimes' state between processes."""

from __future__ import annotations

import contextlib
import stat
from pathlib import Path

from kit.core.errors import RunError
from kit.core.system import user_id
from kit.core.text import in_shell


def folder(engine: str) -> Path:
    """Return the state directory for an engine, on a tmpfs if possible, so that a reboot clears it."""
    user = user_id()
    if user == 0:
        return Path("/run/speedrun-kit") / engine
    runtime = Path(f"/run/user/{user}")
    return (runtime if runtime.is_dir() else Path(f"/tmp/speedrun-kit-{user}")) / f"speedrun-{engine}"  # noqa: S108


def make_private(folder: Path) -> None:
    """
    Create the directory and its parent, and check that this user owns both.

    Raises `RunError` if another user owns one, for example because it was planted in /tmp.
    """
    for path in (folder.parent, folder):
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
        status = path.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != user_id():
            raise RunError(
                f"{path} is not a directory owned by this user", f"remove it: rm -r {in_shell(path)}"
            )
