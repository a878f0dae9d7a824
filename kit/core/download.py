"""Download one file over HTTP into a store's sink. Retries and resumes; the caller checks the digest."""

from __future__ import annotations

import contextlib
import datetime
import email.utils
import http.client
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import BinaryIO, TypeVar
from urllib.parse import urlsplit

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from kit.core.digest import CHUNK
from kit.core.errors import KitError, NetworkError, PrerequisiteError
from kit.core.store import Artifact, Progress, no_progress

ATTEMPTS = 4
"""Attempts in a row that bring no new byte, after which a download fails."""
BACKOFF = wait_exponential_jitter(max=30, jitter=1)
"""Seconds between two attempts: 1, 2, 4, and up to 1 more."""
RETRY_AFTER_MAX_S = 300.0
"""Longest wait that a server may ask for; a download that must wait longer fails."""
TIMEOUT_S = 60.0
"""Longest silence of a server."""
REPORT_S = 4.0
"""Interval of repeated reports; the longest time without a report is twice as long."""
_REPORT_MIN_S = 0.05

# Not OSError as a whole: a full disk is not a network error.
_NETWORK_ERRORS = (
    http.client.HTTPException,
    urllib.error.URLError,
    ssl.SSLError,
    TimeoutError,
    ConnectionError,
)
_NOT_THERE = (401, 403, 404, 410)
_RETRIED = (408, 416, 425, 429)

T = TypeVar("T")


def download(
    url: str,
    artifact: Artifact,
    sink: BinaryIO,
    offset: int,
    progress: Progress,
    timeout_s: float = TIMEOUT_S,
) -> None:
    """
    Append the bytes at `url` from `offset` on to `sink`; retry and resume when the transfer breaks.

    It fails after `ATTEMPTS` attempts in a row without a new byte. At most one byte more than the artifact's
    size is taken. Raises `PrerequisiteError` if the server does not have the file, and `NetworkError` if
    the transfer failed: the bytes that arrived stay in `sink`.
    """
    with repeated(progress, artifact.name, offset, artifact.size) as report:
        transfer = _Transfer(url, artifact, sink, offset, report, timeout_s)
        try:
            _retry(transfer.attempt, report, transfer.advanced)
        except _BrokenTransfer as e:
            received = f"{transfer.offset} of {artifact.size} bytes received"
            hint = "check the network, then run the command again; the download resumes"
            if e.retry_after_s > RETRY_AFTER_MAX_S:
                hint = f"run the command again after {e.retry_after_s:.0f} s; the download resumes"
            raise NetworkError(
                f"cannot download {artifact.name}: {urlsplit(url).hostname}: {e} ({received})", hint
            ) from e


def content_length(url: str, name: str) -> str | None:
    """
    Return the Content-Length that a server states for `url`, None if it states none.

    Raises as `download` does, with `name` in the message.
    """

    def attempt() -> str | None:
        with _open(urllib.request.Request(url, method="HEAD"), name, TIMEOUT_S) as response:  # noqa: S310
            return response.headers.get("Content-Length")

    with repeated(no_progress, name, 0, 0) as report:
        try:
            return _retry(attempt, report)
        except _BrokenTransfer as e:
            host = urlsplit(url).hostname
            raise NetworkError(
                f"cannot get the size of {name}: {host}: {e}", "check the network, then run the command again"
            ) from e


class _BrokenTransfer(Exception):
    """An attempt that failed; another one may succeed."""

    def __init__(self, reason: str, retry_after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


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


class _Transfer:
    """One file's transfer, in as many attempts as it needs."""

    def __init__(
        self, url: str, artifact: Artifact, sink: BinaryIO, offset: int, report: Progress, timeout_s: float
    ) -> None:
        self.offset = offset
        """Bytes in `sink`."""
        self._url, self._artifact, self._sink = url, artifact, sink
        self._report, self._timeout_s = report, timeout_s
        self._furthest = offset

    def advanced(self) -> bool:
        """Tell whether the last attempt brought bytes that no attempt had brought before."""
        before, self._furthest = self._furthest, max(self._furthest, self.offset)
        return self.offset > before

    def attempt(self) -> None:
        """Transfer the rest of the file, or raise `_BrokenTransfer`."""
        headers = {"User-Agent": "speedrun-kit", "Accept-Encoding": "identity"}
        if self.offset:
            headers["Range"] = f"bytes={self.offset}-"
        request = urllib.request.Request(self._url, headers=headers)  # noqa: S310  the schemes are the callers'
        try:
            with _open(request, self._artifact.name, self._timeout_s) as response:
                if response.status != 206:
                    self._restart()
                whole = self._read(response)
        except _RangeRefused as e:
            self._restart()
            raise _BrokenTransfer(str(e)) from e
        # A whole response that is too short is another file, not a broken transfer: its digest will differ.
        if self.offset < self._artifact.size and not whole:
            raise _BrokenTransfer("the connection was closed")

    def _read(self, response: http.client.HTTPResponse) -> bool:
        """Read the response into the sink; tell whether it was as long as the server promised."""
        promised, start, name, size = response.length, self.offset, self._artifact.name, self._artifact.size
        with _network_errors():
            # read1 returns what has arrived: a slow transfer is reported, too.
            while self.offset <= size and (chunk := response.read1(min(CHUNK, size + 1 - self.offset))):
                self._sink.write(chunk)
                self.offset += len(chunk)
                self._report(name, self.offset, size)
        return promised is not None and self.offset - start >= promised

    def _restart(self) -> None:
        self._sink.seek(0)
        self._sink.truncate(0)
        self.offset = 0


class _RangeRefused(_BrokenTransfer):
    """The server does not have the range that was asked for."""


def _retry(attempt: Callable[[], T], report: Repeater, advanced: Callable[[], bool] = lambda: False) -> T:
    """Call `attempt` until it succeeds; raise its last error after `ATTEMPTS` failures without progress."""

    def reset_count(state: RetryCallState) -> None:
        if advanced():
            state.attempt_number = 0

    return Retrying(
        retry=retry_if_exception(_is_retried),
        after=reset_count,
        stop=stop_after_attempt(ATTEMPTS),
        wait=_wait_s,
        sleep=report.sleep,
        reraise=True,
    )(attempt)


def _is_retried(e: BaseException) -> bool:
    return isinstance(e, _BrokenTransfer) and e.retry_after_s <= RETRY_AFTER_MAX_S


def _wait_s(state: RetryCallState) -> float:
    """Return the seconds to wait: the backoff, or what the server asks for if that is longer."""
    error = state.outcome.exception() if state.outcome is not None else None
    return max(BACKOFF(state), error.retry_after_s if isinstance(error, _BrokenTransfer) else 0.0)


def _open(request: urllib.request.Request, name: str, timeout_s: float) -> http.client.HTTPResponse:
    """Send a request; raise `_BrokenTransfer` for what a retry may mend, and a `KitError` for the rest."""
    host = urlsplit(request.full_url).hostname
    with _network_errors():
        try:
            response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=timeout_s)  # noqa: S310
            return response
        except urllib.error.HTTPError as e:
            with e:
                retry_after_s = _retry_after_s(e.headers.get("Retry-After", ""))
            reason = f"HTTP status {e.code}"
            if e.code in _NOT_THERE:
                raise PrerequisiteError(f"{host}: {reason} for {name}") from e
            if e.code == 416:
                raise _RangeRefused(reason) from e
            if e.code not in _RETRIED and e.code < 500:
                raise NetworkError(
                    f"cannot download {name}: {host}: {reason}", "use another source: --mirror DIR"
                ) from e
            if retry_after_s:
                reason += f", retry after {retry_after_s:.0f} s"
            raise _BrokenTransfer(reason, retry_after_s) from e


@contextlib.contextmanager
def _network_errors() -> Iterator[None]:
    """Turn an error of the network into a `_BrokenTransfer` that names its reason."""
    try:
        yield
    except _NETWORK_ERRORS as e:
        reason = getattr(e, "reason", None) or e
        raise _BrokenTransfer(str(reason) or type(reason).__name__) from e


def _retry_after_s(header: str) -> float:
    """Return the seconds that a Retry-After header asks for, 0 if it is missing or invalid."""
    text = header.strip()
    if text.isascii() and text.isdecimal() and len(text) <= 9:
        return float(text)
    try:
        date = email.utils.parsedate_to_datetime(text)
        utc = date if date.tzinfo is not None else date.replace(tzinfo=datetime.UTC)
        return max(0.0, (utc - datetime.datetime.now(datetime.UTC)).total_seconds())
    except (ValueError, OverflowError):
        return 0.0
