"""The image room's threads: how many there may be, and their progress as one line. Prints nothing."""

from __future__ import annotations

import os
import threading

from kit.core.errors import RunError
from kit.core.store import Progress


def cores() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0))


class ByteMeter:
    """Adds up several pieces of work, and ends them when one has failed."""

    def __init__(self, label: str, total: int, progress: Progress) -> None:
        self._label, self._total, self._progress = label, total, progress
        self._parts: dict[str, int] = {}
        self._lock = threading.Lock()
        self._stopped = False

    def stop(self) -> None:
        """Make every piece end at its next step."""
        self._stopped = True

    def part(self, label: str, done: int, total: int) -> None:
        """Take one piece's progress: a `kit.core.store.Progress`."""
        if self._stopped:
            raise RunError(f"{self._label} was stopped")
        with self._lock:
            self._parts[label] = done
            self._progress(self._label, min(sum(self._parts.values()), self._total), self._total)
