"""
Run the command `speedrun` and fail at a given point: `python dying.py POINT ACTION -- eval --record 3 ...`.

POINT is a name in `POINTS`, `write:N` for the N-th disk operation, `clock`, or `-` for no failure. ACTION is
`kill` (SIGKILL to itself) or `full` (the disk is full from then on). This module patches functions that the
product calls; the product contains no code for it. The guest starts without torchrun, which takes seconds.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import importlib
import os
import pathlib
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Point:
    """A point in time: before or after a call of a function whose first argument's text contains `about`."""

    where: str
    """Module and attribute path of the function."""
    after: bool = False
    about: str = ""


POINTS = {
    "while the run's directory is filled": Point("kit.sandbox.folder.write_atomic"),
    "before the reservation appears": Point("pathlib.Path.rename", about=".reserving-"),
    "after the reservation appeared": Point("pathlib.Path.rename", after=True, about=".reserving-"),
    "before the watchdog starts": Point("kit.evaluate.run.watchdog"),
    "before the probe starts": Point("kit.evaluate.run.probe"),
    "while the probe runs": Point("kit.sandbox.supervise._attend"),
    "between probe and guest": Point("kit.evaluate.run.run_guest"),
    "between the guest's start and its first line": Point("kit.sandbox.supervise._attend", about="guest.log"),
    "at the first line": Point("kit.sandbox.stamp.LogWriter.feed", about="guest.log"),
    "after the first line": Point("kit.sandbox.stamp.LogWriter.feed", True, "guest.log"),
    "at the guest's end": Point("kit.sandbox.stamp.LogWriter.finish", about="guest.log"),
    "after the guest's end": Point("kit.evaluate.run.static_findings"),
    "before signing": Point("kit.evaluate.recovery.seal"),
    "after the public key is written": Point("kit.evaluate.recovery.leave_key", after=True),
    "before the record is renamed": Point("pathlib.Path.replace", about=".result.json."),
    "after the record was renamed": Point("pathlib.Path.replace", after=True, about=".result.json."),
    "before the intent is removed": Point("kit.sandbox.folder.RunFolder.clear"),
    "after the intent was removed": Point("pathlib.Path.unlink", after=True, about="/intent.json"),
}  # fmt: skip

WRITES = (
    "os.fsync", "os.link", "os.mkdir", "os.posix_fallocate", "os.rename", "os.replace", "os.rmdir",
    "os.symlink", "os.unlink", "os.utime", "os.fchmod", "os.chmod", "shutil.copyfile",
)  # fmt: skip
"""Functions that change directory entries; written bytes count through the `fsync` that follows them."""


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


class Disk:
    """A disk that can become full."""

    def __init__(self) -> None:
        self.full = False

    def check(self) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


DISK = Disk()


def _act(action: str) -> None:
    if action == "kill":
        _die()
    DISK.full = True
    DISK.check()


def _text(argument: Any) -> str:
    """Return an argument as text; for a log writer, or a session with one, the name of the log."""
    log = getattr(getattr(argument, "writer", argument), "_log", None)
    if log is None:
        return str(argument)
    opened = log.name if isinstance(log.name, str) else os.readlink(f"/proc/self/fd/{log.name}")
    return pathlib.Path(opened).name


def _wrap(path: str, wrapper: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    parts = path.split(".")
    for split in range(len(parts) - 1, 0, -1):
        with contextlib.suppress(ModuleNotFoundError):
            owner: Any = importlib.import_module(".".join(parts[:split]))
            for name in parts[split:-1]:
                owner = getattr(owner, name)
            setattr(owner, parts[-1], wrapper(getattr(owner, parts[-1])))
            return
    raise LookupError(path)


def at_point(name: str, action: str) -> None:
    """Trigger the action at the first call that matches the point."""
    point = POINTS[name]

    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            if point.after:
                found = original(*arguments, **named)
            if point.about in (_text(arguments[0]) if arguments else ""):
                _act(action)
            return found if point.after else original(*arguments, **named)

        return call

    _wrap(point.where, wrapper)


def at_write(number: int, action: str) -> None:
    """Trigger the action before the N-th disk operation, counted from 1; print the total on stderr."""
    seen = [0]

    def counted(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            seen[0] += 1
            removes = original.__name__ in ("rmdir", "unlink")
            if seen[0] == number:
                if action == "kill":
                    _die()
                DISK.full = True
            if not removes:  # deleting works on a full disk
                DISK.check()
            return original(*arguments, **named)

        return call

    for path in WRITES:
        _wrap(path, counted)
    COUNT.append(seen)


COUNT: list[list[int]] = []


def clock_back() -> None:
    """Set the wall clock back by a year from its third reading on; the monotonic clock is unchanged."""
    real_time, real = time.time, datetime.datetime
    readings = [0]

    def back() -> float:
        readings[0] += 1
        return 365 * 86400.0 if readings[0] > 2 else 0.0

    class Back(real):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:
            return real.fromtimestamp(real_time() - back(), tz)

    time.time = lambda: real_time() - back()
    datetime.datetime = Back


def main() -> int:
    point, action, _, *argv = sys.argv[1:]
    if point == "clock":
        clock_back()
    from kit import cli
    from kit.evaluate import run  # noqa: F401 - to be patched
    from kit.evaluate.plan import RunPlan

    RunPlan.launcher = lambda self: (self.python, self.entry, *self.script_args)
    if point.startswith("write:"):
        at_write(int(point.removeprefix("write:")), action)
    elif point in POINTS:
        at_point(point, action)
    code = build(argv[1:]) if argv[0] == "build" else cli.run(argv)
    if COUNT:
        sys.stderr.write(f"writes: {COUNT[0][0]}\n")
    return code


def build(argv: list[str]) -> int:
    """Build a small era and its root file system: `build IMAGES STORE MIRROR`, as a command would."""
    images, store, mirror = map(pathlib.Path, argv)
    from kit import cli
    from kit.core.store import FolderFetcher, Store
    from kit.image.build import ensure_layout
    from kit.image.rootfs import ensure_rootfs

    def main(**_: Any) -> int:
        layout = ensure_layout("tiny", images, Store(store), [FolderFetcher(mirror)])
        ensure_rootfs(layout, Store(store))
        return 0

    cli.speedrun.main = main
    return cli.run(argv)


if __name__ == "__main__":
    sys.exit(main())
