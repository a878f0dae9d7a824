"""
Print lines and the current activity on stderr. On a terminal the activity is one live line below the others.

Elsewhere a thread prints the activity whenever no line was printed for `SILENT_S`.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from kit.core.text import printable

if TYPE_CHECKING:
    from kit.cli.live_line import LiveLine

SILENT_S = 9.0
"""Seconds without a line after which the activity is printed; no silence is longer than 10 s."""
LOOK_S = 0.5
"""Seconds between two looks of the thread."""


class Stderr:
    """Lines and progress of one command; safe to use from several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._started_s: float | None = None
        self._wrote_s = clock()
        self._stage = ""
        """The current stage; empty in commands without stages."""
        self._now = ""
        """The current activity; empty if there is none."""
        self._live: LiveLine | None = None
        self._thread: threading.Thread | None = None
        self._end = threading.Event()

    def start_clock(self) -> None:
        """Begin to count the seconds that `stage` shows."""
        self._started_s = self._wrote_s = self._clock()

    def elapsed(self) -> str:
        """Return the elapsed time for the start of a line, as `[  2.0 s] `; empty without a clock."""
        return "" if self._started_s is None else f"[{self._clock() - self._started_s:5.1f} s] "

    def line(self, text: str, colour: str | None = None) -> None:
        """Print one line; on a terminal above the live line."""
        with self._lock:
            if self._live is not None:
                self._live.print_above(printable(text), colour)
            else:
                shown = printable(text)
                click.echo(click.style(shown, fg=colour) if colour else shown, err=True)
            self._wrote_s = self._clock()

    def stage(self, text: str) -> None:
        """Print that a stage begins, with the elapsed time."""
        with self._lock:
            self._stage = text
            self.show(text)
            self.line(f"{self.elapsed()}{text}")

    def show(self, text: str, done: int = 0, total: int = 0, after: str = "") -> None:
        """
        Set the current activity. A terminal shows it at once, other outputs after `SILENT_S`.

        `done` of `total` is drawn as a bar if `total` is not 0; `after` follows it.
        """
        with self._lock:
            self._now = ", ".join(part for part in (text, after) if part)
            if is_terminal():
                if self._live is None:
                    from kit.cli.live_line import LiveLine  # rich takes as long as all of `--help`

                    self._live = LiveLine(self.elapsed)
                self._live.show(printable(text), done, total, printable(after))
            elif self._thread is None:
                self._end.clear()
                self._thread = threading.Thread(target=self._repeat, args=(self._end,), daemon=True)
                self._thread.start()

    def finish(self) -> None:
        """End the current activity; the stage is the activity again."""
        with self._lock:
            self._now = ""
            if self._stage:
                self.show(self._stage)
            else:
                self._stop_live_line()

    def close(self) -> None:
        """Remove the live line; stop the clock and the thread."""
        with self._lock:
            self._stop_live_line()
            self._end.set()
            self._now = self._stage = ""
            self._started_s, self._thread, self._end = None, None, threading.Event()

    def _stop_live_line(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def repeat(self) -> None:
        """Print the current activity if nothing was printed for `SILENT_S`."""
        with self._lock:
            if self._now and self._clock() - self._wrote_s >= SILENT_S:
                self.line(f"{self.elapsed()}still running: {self._now}")

    def _repeat(self, end: threading.Event) -> None:
        while not end.wait(LOOK_S):
            self.repeat()


def is_terminal() -> bool:
    """Tell whether stderr is a terminal on which a line can be redrawn."""
    return (
        sys.stderr is not None
        and sys.stderr.isatty()
        and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")
    )


STDERR = Stderr()
"""The one of this process."""
