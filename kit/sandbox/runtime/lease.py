"""
Leases in this user's own state folder: what a later process must know of a run. Ends nothing itself.

    <docker>/<run_id>       the engine's address, the process that uses it, the container's id: a line each
    <runs>/<run_id>.<hex>   one for each process that works on the run

The engine may be dead when the guest has to go; the kernel knows the guest's processes by the container's id.
Both are locked for as long as their process works. A run that is at work here is not ended, whatever a file
in a folder of runs says: nobody else can write into the state folder.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kit.core import locks
from kit.core.codec import encode
from kit.core.digest import canonical_json
from kit.core.locks import Process, Standing
from kit.sandbox.runtime.state import folder, make_private


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """What a lease says."""

    engine: str
    """The engine's socket, as a URL."""
    containers: tuple[str, ...]
    """Ids; none if the engine was asked to make a container and its answer never came."""


class ContainerLease:
    """A lease in the hand of the run's kit, from before the container is made until it is gone."""

    def __init__(self, state: Path, run_id: str, engine: str) -> None:
        """Write and lock it in the folder `state`, which must be this user's alone."""
        self._path = state / run_id
        fresh = state / f".{run_id}"  # nobody may see it before it is locked
        self._fd = os.open(fresh, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        locks.lock_file(self._fd, wait=True)
        process = canonical_json(encode(Process, locks.this_process()))
        os.write(self._fd, b"%s\n%s\n" % (engine.encode(), process))
        fresh.rename(self._path)

    def add(self, container: str) -> None:
        """Note the container's id; to be called before the container is started."""
        os.write(self._fd, f"{container}\n".encode())

    def release(self) -> None:
        """Remove it: the container is gone. Safe to repeat."""
        self._path.unlink(missing_ok=True)
        self.leave()

    def leave(self) -> None:
        """Let it lie for whoever cleans up. Safe to repeat."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def read(state: Path, run_id: str) -> LeaseRecord | None:
    """Return what a run's lease says, or None if there is none. A line that was cut off is left out."""
    lines = _lines(state / run_id)
    containers = tuple(line for line in lines[1:] if not line.startswith("{"))
    return LeaseRecord(lines[0], containers) if lines else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_bytes().decode().split("\n")[:-1]
    except (OSError, UnicodeDecodeError):
        return []


def remove(state: Path, run_id: str) -> None:
    """Remove a lease; one that is gone is no error."""
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
    processes = [p for line in _lines(path)[1:2] if (p := locks.read_process(line.encode())) is not None]
    return any(locks.standing(p) is not Standing.ENDED for p in processes)


def runs(state: Path) -> list[str]:
    """Return the run ids that have a lease, sorted."""
    return sorted(p.name for p in state.glob("[!.]*"))


def runs_folder() -> Path:
    """Return where this user's processes say which runs they work on."""
    return folder("runs")


@contextlib.contextmanager
def at_work(run_id: str) -> Iterator[None]:
    """
    Let every process of this user know, for the block, that this one works on a run.

    Where no state folder can be made, nobody is told; the runtimes that need one refuse to start there.
    Raises `RunError` if another user has prepared the folder.
    """
    state, lock = runs_folder(), None
    with contextlib.suppress(OSError):
        make_private(state)
        _working("*")
        lock = locks.acquire(state / f"{run_id}.{secrets.token_hex(8)}")
    try:
        if lock:
            lock.note()
        yield
    finally:
        if lock:
            lock.remove()


def is_at_work(run_id: str) -> bool:
    """Tell whether a process of this user and machine works on a run; what dead ones left is removed."""
    return _working(run_id)


def _working(run_id: str) -> bool:
    """Look at all that was left under a run id, a pattern; a file that goes meanwhile is nobody's."""
    return any([_works(path) for path in sorted(runs_folder().glob(f"{run_id}.*"))])  # noqa: C419 - all


def _works(path: Path) -> bool:
    process = locks.noted(path)
    try:
        taken = locks.held(path)
    except OSError:
        return False
    if taken is None:
        taken = process is not None and locks.standing(process) is not Standing.ENDED
    if not taken and process:  # an empty one may be about to be locked
        path.unlink(missing_ok=True)
    return taken
