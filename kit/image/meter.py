"""Count the usable cores, and add up the progress of several threads."""

from __future__ import annotations

import os
import threading

from kit.core.errors import RunError
from kit.core.store import Progress


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))


class ByteMeter:
    """Adds up the progress of several pieces of work, and stops them when one fails."""

    def __init__(self, label: str, total: int, progress: Progress) -> None:
        self._label, self._total, self._progress = label, total, progress
        self._parts: dict[str, int] = {}
        self._lock = threading.Lock()
        self._stopped = False

    def stop(self) -> None:
        """Make every piece stop at its next report."""
        self._stopped = True

    def part(self, label: str, done: int, total: int) -> None:
        """Report one piece's progress; a `kit.core.store.Progress`."""
        if self._stopped:
            raise RunError(f"{self._label} was stopped")
        with self._lock:
            self._parts[label] = done
            self._progress(self._label, min(sum(self._parts.values()), self._total), self._total)
