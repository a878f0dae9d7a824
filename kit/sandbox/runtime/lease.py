"""
Leases in this user's state directory: what a later process must know about a run.

    <docker>/<run_id>       three lines: the engine's address, the process that uses it, the container's id
    <runs>/<run_id>.<hex>   one file for each process that works on the run

The engine may be dead when the guest must be killed; the container's id is enough to find the guest's
processes. Both files stay locked while their process works. A run with a locked lease here is never ended,
whatever a file in a directory of runs says: only this user can write into the state directory.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kit.core import locks
from kit.core.process import OwnerState, process_bytes, read_process, standing, this_process
from kit.sandbox.runtime.state import folder, make_private


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """The content of a container lease."""

    engine: str
    """The engine's socket, as a URL."""
    containers: tuple[str, ...]
    """Container ids; empty if the engine never answered the request to create a container."""


class ContainerLease:
    """A lease that this process holds from before its container is created until it is removed."""

    def __init__(self, state: Path, run_id: str, engine: str) -> None:
        """Write and lock the lease in the directory `state`, which only this user may write."""
        self._path = state / run_id
        fresh = state / f".{run_id}"  # must not be visible before it is locked
        self._fd = os.open(fresh, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        locks.lock_file(self._fd, wait=True)
        process = process_bytes(this_process())
        os.write(self._fd, b"%s\n%s\n" % (engine.encode(), process))
        fresh.rename(self._path)

    def add(self, container: str) -> None:
        """Record the container's id; call this before starting the container."""
        os.write(self._fd, f"{container}\n".encode())

    def release(self) -> None:
        """Remove the lease after the container is removed. Safe to repeat."""
        self._path.unlink(missing_ok=True)
        self.leave()

    def leave(self) -> None:
        """Unlock the lease and keep its file for a later cleanup. Safe to repeat."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def read(state: Path, run_id: str) -> LeaseRecord | None:
    """Return the content of a run's lease, or None if there is none. Ignores an incomplete last line."""
    lines = _lines(state / run_id)
    containers = tuple(line for line in lines[1:] if not line.startswith("{"))
    return LeaseRecord(lines[0], containers) if lines else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_bytes().decode().split("\n")[:-1]
    except (OSError, UnicodeDecodeError):
        return []


def remove(state: Path, run_id: str) -> None:
    """Remove a lease if it exists."""
    (state / run_id).unlink(missing_ok=True)


def held(state: Path, run_id: str) -> bool:
    """Tell whether the process that wrote the run's lease still works on it."""
    path = state / run_id
    try:
        taken = locks.held(path)
    except OSError:
        return False
    if taken is not None:
        return taken
    processes = [p for line in _lines(path)[1:2] if (p := read_process(line.encode())) is not None]
    return any(standing(p) is not OwnerState.ENDED for p in processes)


def runs(state: Path) -> list[str]:
    """Return the run ids that have a lease, sorted."""
    return sorted(p.name for p in state.glob("[!.]*"))


def runs_folder() -> Path:
    """Return the directory in which this user's processes record the runs that they work on."""
    return folder("runs")


@contextlib.contextmanager
def at_work(run_id: str) -> Iterator[None]:
    """
    Record for the duration of the block that this process works on a run.

    Records nothing if the state directory cannot be created; the runtimes that need it then refuse to start.
    Raises `RunError` if another user owns the directory.
    """
    state, lock = runs_folder(), None
    with contextlib.suppress(OSError):
        make_private(state)
        _working("*")
        # whoever looks at the new file holds its lock for a moment: wait for it
        lock = locks.acquire(state / f"{run_id}.{secrets.token_hex(8)}", wait=True)
    try:
        if lock:
            lock.note()
        yield
    finally:
        if lock:
            lock.remove()


def is_at_work(run_id: str) -> bool:
    """Tell whether a process of this user on this machine works on a run; remove files of dead processes."""
    return _working(run_id)


def _working(run_id: str) -> bool:
    """Check every file of a run id, which may be a pattern; ignore files that vanish meanwhile."""
    return any([_works(path) for path in sorted(runs_folder().glob(f"{run_id}.*"))])  # noqa: C419 - all


def _works(path: Path) -> bool:
    process = locks.noted(path)
    try:
        taken = locks.held(path)
    except OSError:
        return False
    if taken is None:
        taken = process is not None and standing(process) is not OwnerState.ENDED
    if not taken and process:  # another process may be about to lock an empty file
        path.unlink(missing_ok=True)
    return taken
