"""
Print lines and the current activity on stderr. On a terminal the activity is one live line below the others.

Elsewhere a thread prints the activity whenever no line was printed for `SILENT_S`. What cannot be written is
dropped: a run outlives its terminal, the reader of a pipe, and a full disk.
"""

from __future__ import annotations

import contextlib
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click

from kit.core.text import printable

if TYPE_CHECKING:
    from kit.cli.live_line import LiveLine

SILENT_S = 9.0
"""Seconds without a line after which the activity is printed; no silence is longer than 10 s."""
LOOK_S = 0.5
"""Seconds between two looks of the thread."""
MAX_WAITING = 1000
"""Lines and changes of the live line that wait for a terminal that is stopped; more are dropped."""


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
        self._has_terminal = True
        """Whether no live line has failed so far."""
        self._waiting: queue.Queue[Callable[[], None] | None] | None = None
        """What a thread of its own writes, in `unhindered`."""
        self._thread: threading.Thread | None = None
        self._end = threading.Event()

    @contextlib.contextmanager
    def unhindered(self) -> Iterator[None]:
        """
        Let another thread write during the block: who prints a line does not wait until it is written.

        A terminal that is stopped with Ctrl-S, or a connection that hangs, would otherwise stop the clocks of
        a guest. The end of the block waits until all is written.
        """
        if self._waiting is not None:
            yield
            return
        waiting: queue.Queue[Callable[[], None] | None] = queue.Queue()
        thread = threading.Thread(target=self._write_all, args=(waiting,), name="stderr", daemon=True)
        thread.start()
        with self._lock:
            self._waiting = waiting
        try:
            yield
        finally:
            with self._lock:
                self._waiting = None
            waiting.put(None)
            thread.join()

    def _write_all(self, waiting: queue.Queue[Callable[[], None] | None]) -> None:
        while (write := waiting.get()) is not None:
            self._try(write)

    def _do(self, write: Callable[[], None]) -> None:
        """Write now, or let the thread of `unhindered` do it. The caller holds the lock."""
        if self._waiting is None:
            self._try(write)
        elif self._waiting.qsize() < MAX_WAITING:
            self._waiting.put(write)

    def _try(self, write: Callable[[], None]) -> None:
        """Write, unless stderr fails; there is no live line from then on."""
        try:
            write()
        except OSError:
            self._has_terminal = False
            with contextlib.suppress(OSError):
                self._stop_live_line()

    def start_clock(self) -> None:
        """Begin to count the seconds that `stage` shows."""
        self._started_s = self._wrote_s = self._clock()

    def elapsed(self) -> str:
        """Return the elapsed time for the start of a line, as `[  2.0 s] `; empty without a clock."""
        return "" if self._started_s is None else f"[{self._clock() - self._started_s:5.1f} s] "

    def line(self, text: str, colour: str | None = None) -> None:
        """Print one line; on a terminal above the live line."""
        with self._lock:
            self._do(lambda: self._write_line(printable(text), colour))
            self._wrote_s = self._clock()

    def _write_line(self, text: str, colour: str | None) -> None:
        if self._live is not None:
            self._live.print_above(text, colour)
        else:
            click.echo(click.style(text, fg=colour) if colour else text, err=True)

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
            if self._has_terminal and is_terminal():
                self._do(lambda: self._draw(printable(text), done, total, printable(after)))
            elif self._thread is None:
                self._end.clear()
                self._thread = threading.Thread(target=self._repeat, args=(self._end,), daemon=True)
                self._thread.start()

    def _draw(self, text: str, done: int, total: int, after: str) -> None:
        if self._live is None:
            from kit.cli.live_line import LiveLine  # rich takes as long as all of `--help`

            self._live = LiveLine(self.elapsed)
        self._live.show(text, done, total, after)

    def finish(self) -> None:
        """End the current activity; the stage is the activity again."""
        with self._lock:
            self._now = ""
            if self._stage:
                self.show(self._stage)
            else:
                self._do(self._stop_live_line)

    def close(self) -> None:
        """Remove the live line; stop the clock and the thread."""
        with self._lock:
            self._do(self._stop_live_line)
            self._end.set()
            self._now = self._stage = ""
            self._started_s, self._thread, self._end = None, None, threading.Event()

    def _stop_live_line(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.stop()

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
