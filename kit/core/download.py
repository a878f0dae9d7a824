"""Download one file over HTTP into a store's sink. Retries and resumes; the caller checks the digest."""

from __future__ import annotations

import contextlib
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from typing import BinaryIO, TypeVar
from urllib.parse import urlsplit

from tenacity import RetryCallState, Retrying, retry_if_exception, wait_exponential_jitter

from kit.core.access import ANONYMOUS, WebAccess
from kit.core.errors import KitError, NetworkError
from kit.core.store import Artifact, Progress, no_progress
from kit.core.transfer import TIMEOUT_S, BrokenTransfer, Transfer, open_url

ATTEMPTS = 4
"""Attempts in a row that bring no new byte, after which a download fails."""
BACKOFF = wait_exponential_jitter(max=30, jitter=1)
"""Seconds between two attempts: 1, 2, 4, and up to 1 more."""
RATE_LIMIT_ATTEMPTS = 8
"""The same where the server names a rate limit, but no time to wait: about 90 s in all."""
RETRY_AFTER_MAX_S = 300.0
"""Longest wait that a server may ask for; a download that must wait longer fails."""
RETRY_AFTER_TOTAL_S = 600.0
"""Longest sum of such waits in a row that bring no new byte."""
RETRY_AFTER_ATTEMPTS = 20
"""Number of such waits in a row that bring no new byte."""
REPORT_S = 4.0
"""Interval of repeated reports; the longest time without a report is twice as long."""
_REPORT_MIN_S = 0.05

T = TypeVar("T")


def download(
    url: str,
    artifact: Artifact,
    sink: BinaryIO,
    offset: int,
    progress: Progress,
    timeout_s: float = TIMEOUT_S,
    access: WebAccess = ANONYMOUS,
) -> None:
    """
    Append the bytes at `url` from `offset` on to `sink`; retry and resume when the transfer breaks.

    It fails after `ATTEMPTS` attempts in a row without a new byte; waits that the server asks for do not
    count, but have bounds. At most one byte more than the artifact's size is taken. Raises
    `PrerequisiteError` if the server does not have the file, and `NetworkError` if the transfer failed: the
    bytes that arrived stay in `sink`.
    """
    with repeated(progress, artifact.name, offset, artifact.size) as report:
        transfer = Transfer(url, artifact, sink, offset, report, timeout_s, access)
        try:
            retry(transfer.attempt, report, transfer.advanced)
        except BrokenTransfer as e:
            received = f"{transfer.offset} of {artifact.size} bytes received"
            hint = f"{advice(e)}; the download resumes"
            raise NetworkError(
                f"cannot download {artifact.name}: {urlsplit(url).hostname}: {e} ({received})", hint
            ) from e


def content_length(url: str, name: str, access: WebAccess = ANONYMOUS) -> str | None:
    """
    Return the Content-Length that a server states for `url`, None if it states none.

    Raises as `download` does, with `name` in the message.
    """

    def attempt() -> str | None:
        with open_url(urllib.request.Request(url, method="HEAD"), name, TIMEOUT_S, access) as response:  # noqa: S310
            return response.headers.get("Content-Length")

    with repeated(no_progress, name, 0, 0) as report:
        try:
            return retry(attempt, report)
        except BrokenTransfer as e:
            host = urlsplit(url).hostname
            raise NetworkError(f"cannot get the size of {name}: {host}: {e}", advice(e)) from e


def advice(error: BrokenTransfer, otherwise: str = "check the network, then run the command again") -> str:
    """Return what to do after the last attempt failed."""
    if error.retry_after_s:
        return f"run the command again after {error.retry_after_s:.0f} s"
    if error.rate_limited:
        return "run the command again in some minutes: the server limits the number of requests"
    return otherwise


class Repeater:
    """A `Progress` that repeats its last report while nothing new is reported."""

    def __init__(self, progress: Progress, label: str, done: int, total: int) -> None:
        self._progress = progress
        self._last = (label, done, total)
        self._reported_at = time.monotonic()
        self._ended = threading.Event()
        self._lock = threading.Lock()

    def __call__(self, label: str, done: int, total: int) -> None:
        """Report progress, at most 20 times a second."""
        with self._lock:
            self._last = (label, done, total)
            if done >= total or time.monotonic() - self._reported_at >= _REPORT_MIN_S:
                self._report()

    def sleep(self, seconds: float) -> None:
        """Sleep and repeat the last report every second, so that the receiver can raise."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            with self._lock:
                self._report()
            time.sleep(min(left, 1.0))

    def run(self) -> None:
        """Repeat the last report until `end` is called."""
        while not self._ended.wait(REPORT_S):
            with self._lock:
                if time.monotonic() - self._reported_at < REPORT_S:
                    continue
                try:
                    self._report()
                except (
                    KitError
                ):  # the receiver wants to stop: the working thread's next report raises it again
                    return

    def end(self) -> None:
        """Make `run` return."""
        self._ended.set()

    def _report(self) -> None:
        self._reported_at = time.monotonic()
        self._progress(*self._last)


@contextlib.contextmanager
def repeated(progress: Progress, label: str, done: int = 0, total: int = 0) -> Iterator[Repeater]:
    """
    Give a `Progress` that calls `progress` at least every 2 x `REPORT_S` in the block, also during a wait.

    A second thread repeats the last report, at first `label`, `done` and `total`.
    """
    repeater = Repeater(progress, label, done, total)
    thread = threading.Thread(target=repeater.run, name="progress", daemon=True)
    thread.start()
    try:
        yield repeater
    finally:
        repeater.end()
        thread.join()


def retry(attempt: Callable[[], T], report: Repeater, advanced: Callable[[], bool] = lambda: False) -> T:
    """
    Call `attempt` until it succeeds; raise its last error when too many failed without progress.

    A wait that the server asks for is not counted as a failure, but has bounds of its own.
    """
    allowance = _Allowance(advanced)
    return Retrying(
        retry=retry_if_exception(_is_retried),
        after=allowance.count,
        stop=allowance.is_spent,
        wait=_wait_s,
        sleep=report.sleep,
        reraise=True,
    )(attempt)


class _Allowance:
    """Counts failures and waits; each new byte starts the count again."""

    def __init__(self, advanced: Callable[[], bool]) -> None:
        self._advanced = advanced
        self._failures = self._waits = 0
        self._waited_s = 0.0

    def count(self, state: RetryCallState) -> None:
        """Count one failed attempt; the backoff grows with the failures alone."""
        if self._advanced():
            self._failures = self._waits = 0
            self._waited_s = 0.0
        elif _retry_after_s(state):
            self._waits += 1
        else:
            self._failures += 1
        state.attempt_number = max(self._failures, 1)

    def is_spent(self, state: RetryCallState) -> bool:
        """Tell whether no further attempt is made; called after the next wait is known."""
        self._waited_s += _retry_after_s(state)
        if self._waits >= RETRY_AFTER_ATTEMPTS or self._waited_s > RETRY_AFTER_TOTAL_S:
            return True
        error = _error(state)
        limited = isinstance(error, BrokenTransfer) and error.rate_limited
        return self._failures >= (RATE_LIMIT_ATTEMPTS if limited else ATTEMPTS)


def _is_retried(e: BaseException) -> bool:
    return isinstance(e, BrokenTransfer) and e.retry_after_s <= RETRY_AFTER_MAX_S


def _error(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome is not None else None


def _retry_after_s(state: RetryCallState) -> float:
    """Return the seconds that the server asked for after the last attempt, 0 if it did not."""
    error = _error(state)
    return error.retry_after_s if isinstance(error, BrokenTransfer) else 0.0


def _wait_s(state: RetryCallState) -> float:
    """Return the seconds to wait: the backoff, or what the server asks for if that is longer."""
    return max(BACKOFF(state), _retry_after_s(state))
