"""
Leases: what a later process must know to end a run's container without the engine. Ends nothing itself.

    <state>/<run_id>        the engine's address, then the container's id, a line each; only ever appended to

The engine may be dead when the guest has to go; the kernel knows the guest's processes by the container's id.
A lease is locked by the run's kit, so that a run whose kit lives is not taken for a lost one.
"""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path


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
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        os.write(self._fd, f"{engine}\n".encode())
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
    try:
        lines = (state / run_id).read_bytes().decode().split("\n")[:-1]
    except (OSError, UnicodeDecodeError):
        return None
    return LeaseRecord(lines[0], tuple(lines[1:])) if lines else None


def remove(state: Path, run_id: str) -> None:
    """Remove a lease; one that is gone is no error."""
    (state / run_id).unlink(missing_ok=True)


def held(state: Path, run_id: str) -> bool:
    """Tell whether a living kit holds the run's lease."""
    try:
        fd = os.open(state / run_id, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def runs(state: Path) -> list[str]:
    """Return the run ids that have a lease, sorted."""
    return sorted(p.name for p in state.glob("[!.]*"))
