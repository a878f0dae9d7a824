"""Try on a file system what runs need of it: locks, hard links, programs, modes, and the clock."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kit.core import locks
from kit.core.errors import KitError

OLDEST_S = 1_700_000_000.0
"""Unix time before this version was written; a clock that is earlier is wrong."""
SKEW_S = 5.0
"""Seconds by which the clock of a file server may differ."""
PROGRAM_TIMEOUT_S = 60.0
TESTED = {
    "_try_lock": "a lock",
    "_try_link": "a hard link",
    "_try_program": "a program",
    "_try_modes": "file modes",
    "_try_clock": "the clock",
    "_try_temp": "the directory for temporary files",
}
ELSEWHERE = "pass a directory on another file system with --store"


@dataclass(frozen=True, slots=True)
class StorageFinding:
    """Something that does not work as usual."""

    text: str
    fix: str = ""
    """What to do; empty if runs work all the same."""


def try_storage(folder: Path) -> Iterator[StorageFinding]:
    """Yield what does not work in an existing directory, and on this machine's clock and temp directory."""
    trials: tuple[Callable[[Path], StorageFinding | None], ...] = (
        _try_lock, _try_link, _try_program, _try_modes, _try_clock
    )  # fmt: skip
    with tempfile.TemporaryDirectory(dir=folder, prefix=".doctor-") as name:
        for trial in trials:
            finding = _result(trial, Path(name), ELSEWHERE)
            if finding is not None:
                yield finding
    finding = _result(_try_temp, folder, "set TMPDIR to a directory that this user can write")
    if finding is not None:
        yield finding


def _result(trial: Callable[[Path], StorageFinding | None], folder: Path, fix: str) -> StorageFinding | None:
    try:
        return trial(folder)
    except KitError as e:
        return StorageFinding(e.message, fix)
    except (OSError, subprocess.SubprocessError) as e:
        reason = e.strerror if isinstance(e, OSError) and e.strerror else str(e)
        return StorageFinding(f"the test of {TESTED[trial.__name__]} failed: {reason}", fix)


def _try_lock(folder: Path) -> StorageFinding | None:
    if locks.supported(folder):
        return None
    return StorageFinding("the file system has no locks, so lock files are used")


def _try_link(folder: Path) -> StorageFinding | None:
    (folder / "file").touch()
    try:
        os.link(folder / "file", folder / "link")
    except OSError as e:
        return StorageFinding(f"the file system has no hard links, so files are copied ({e.strerror})")
    return None


def _try_program(folder: Path) -> StorageFinding | None:
    program = folder / "program"
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o755)
    try:
        code = subprocess.run(
            [str(program)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PROGRAM_TIMEOUT_S,
            check=False,
        ).returncode
    except PermissionError:
        return StorageFinding("its file system does not run programs (mount option noexec)", ELSEWHERE)
    return None if code == 0 else StorageFinding(f"a program in it exited with code {code}", ELSEWHERE)


def _try_modes(folder: Path) -> StorageFinding | None:
    """Create a directory and a file under a strict umask, and set their modes as runs do."""
    made, file = folder / "directory", folder / "directory" / "file"
    before = os.umask(0o077)
    try:
        made.mkdir()
        file.touch()
        made.chmod(0o755)
        file.chmod(0o444)
    finally:
        os.umask(before)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (made, file)]
    if modes == [0o755, 0o444]:
        return None
    actual = ", ".join(f"{mode:04o}" for mode in modes)
    return StorageFinding(f"its file system does not keep modes: {actual} instead of 0755, 0444", ELSEWHERE)


def _try_clock(folder: Path) -> StorageFinding | None:
    now = time.time()
    if now < OLDEST_S:
        day = time.strftime("%Y-%m-%d", time.gmtime(now))
        return StorageFinding(f"the clock of this machine says {day}", "set the clock of this machine")
    (folder / "now").touch()
    written = (folder / "now").stat().st_mtime
    skew = written - min(max(written, now), time.time())  # a slow disk takes its time, which is no skew
    if abs(skew) <= SKEW_S:
        return None
    return StorageFinding(f"the clock of its file system differs by {skew:+.0f} s", "synchronize the clocks")


def _try_temp(folder: Path) -> StorageFinding | None:
    with contextlib.ExitStack() as opened:
        opened.enter_context(tempfile.TemporaryFile())
        directory = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="speedrun-doctor-")))
        (directory / "file").write_bytes(bytes(4096))
    return None
