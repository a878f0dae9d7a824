"""Read the logs below a session's directory, which an agent with a shell may have changed."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from kit.agent.nodefiles import NodeFiles
from kit.core.digest import Sha256, sha256_bytes
from kit.core.open_folder import open_folder, path_of
from kit.session.trials import LOG, TRIES
from kit.values.output import MAX_LOG


def try_log(trial: int) -> str:
    """Return the path of a try's log, relative to the session's directory."""
    return (NodeFiles(Path(), trial, TRIES).folder / LOG).as_posix()


@contextlib.contextmanager
def open_log(folder: Path, name: str) -> Iterator[BinaryIO]:
    """
    Open a log below `folder`; `name` is a relative POSIX path.

    Raises `OSError` for anything but a regular file, and for a link in any part of the name.
    """
    with open_folder(folder) as opened, os.fdopen(opened.open(name), "rb") as f:
        if not stat.S_ISREG(os.fstat(f.fileno()).st_mode):
            raise FileNotFoundError(errno.ENOENT, "not a regular file", name)
        yield f


@contextlib.contextmanager
def log_below(folder: Path, log: Path | None) -> Iterator[Path | None]:
    """
    Open the log of an evaluation below `folder`; yield a path of it for this process, for the block.

    None if there is none, or anything but a regular file below no link.
    """
    with contextlib.ExitStack() as held:
        opened = None
        if log is not None and log.is_relative_to(folder):
            with contextlib.suppress(OSError):
                f = held.enter_context(open_log(folder, log.relative_to(folder).as_posix()))
                opened = path_of(f.fileno(), log)
        yield opened


def log_sha256(folder: Path, name: str) -> Sha256:
    """Return the digest of a try's log; that of no bytes if there is none, or more than a try can write."""
    with contextlib.suppress(OSError), open_log(folder, name) as f:
        if os.fstat(f.fileno()).st_size <= MAX_LOG:
            return sha256_bytes(f.read(MAX_LOG))
    return sha256_bytes(b"")
