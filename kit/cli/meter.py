"""Show the progress of transfers and other long work: amount, rate, remaining time."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from kit.cli.stderr import STDERR, Stderr, is_terminal
from kit.core.text import one_line

WINDOW_S = 15.0
"""The rate is that of the last seconds."""
SAMPLE_S = 0.5
DRAW_S = 0.1
MEASURED_S = 0.5
"""A rate over less time than this is not shown."""
MAX_LABEL = 60


def megabytes(size: int) -> str:
    """Format a number of bytes for a person."""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size} B"


def duration(seconds: float) -> str:
    """Format a time that remains for a person."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


class Rate:
    """How fast something grows, over the last `WINDOW_S` seconds."""

    def __init__(self, now_s: float, done: int) -> None:
        self._samples = deque([(now_s, done)])

    def add(self, now_s: float, done: int) -> None:
        """Take the amount at a time; amounts closer together than `SAMPLE_S` are one sample."""
        if len(self._samples) > 1 and now_s - self._samples[-2][0] < SAMPLE_S:
            self._samples.pop()
        self._samples.append((now_s, done))
        while len(self._samples) > 2 and now_s - self._samples[0][0] > WINDOW_S:
            self._samples.popleft()

    def per_s(self) -> float | None:
        """Return the amount per second; None if too little time has passed or nothing came."""
        (then_s, before), (now_s, after) = self._samples[0], self._samples[-1]
        if now_s - then_s < MEASURED_S or after <= before:
            return None
        return (after - before) / (now_s - then_s)


class Meter:
    """
    A `kit.core.store.Progress` for people: a live line on a terminal, now and then a line elsewhere.

    `count` shows numbers instead of bytes.
    """

    def __init__(
        self,
        *,
        count: bool = False,
        clock: Callable[[], float] = time.monotonic,
        stderr: Stderr = STDERR,
    ) -> None:
        self._format = str if count else megabytes
        self._count = count
        self._clock = clock
        self._stderr = stderr
        self._lock = threading.Lock()
        self._label = ""
        self._finished = True
        self._began_s = self._drew_s = 0.0
        self._first = self._last = 0
        self._rate = Rate(0.0, 0)

    def __call__(self, label: str, done: int, total: int) -> None:
        """Show that `done` of `total` is done; a total of 0 is unknown."""
        with self._lock:
            now = self._clock()
            finished = total > 0 and done >= total
            if label != self._label or done < self._last or (self._finished and not finished):
                self._begin(label, done, now)
                if not total:
                    text = one_line(label, MAX_LABEL)
                    self._stderr.line(f"{self._stderr.elapsed()}{text}")
                    self._stderr.show(text)
            elif self._finished:
                return
            self._last = done
            self._rate.add(now, done)
            if finished:
                self._finished = True
                self._stderr.line(f"{self._stderr.elapsed()}{self._summary(total, now)}")
                self._stderr.finish()
            elif total and now - self._drew_s >= DRAW_S:
                self._drew_s = now
                self._show(done, total)

    def _begin(self, label: str, done: int, now: float) -> None:
        self._label, self._finished = label, False
        self._began_s, self._drew_s = now, 0.0
        self._first, self._rate = done, Rate(now, done)

    def _show(self, done: int, total: int) -> None:
        text = one_line(self._label, MAX_LABEL)
        after = self._progress(done, total)
        self._stderr.show(text, done, total, after)
        if not is_terminal():
            self._stderr.repeat()

    def _progress(self, done: int, total: int) -> str:
        """Return for example `12.0 MB of 40.0 MB, 3.1 MB/s, 9 s left`."""
        text = f"{self._format(done)} of {self._format(total)}"
        per_s = self._rate.per_s()
        if per_s is None:
            return text
        speed = "" if self._count else f", {megabytes(round(per_s))}/s"
        return f"{text}{speed}, {duration((total - done) / per_s)} left"

    def _summary(self, total: int, now: float) -> str:
        """Return for example `fetch cpu: 317.1 MB in 27.0 s (11.7 MB/s)`."""
        seconds = now - self._began_s
        text = f"{one_line(self._label, MAX_LABEL)}: {self._format(total)}"
        if seconds < MEASURED_S:
            return text
        speed = "" if self._count else f" ({megabytes(round((total - self._first) / seconds))}/s)"
        return f"{text} in {seconds:.1f} s{speed}"
