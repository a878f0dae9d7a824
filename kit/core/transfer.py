"""Send one HTTP request, and read its response into a store's sink. `kit.core.download` retries."""

from __future__ import annotations

import contextlib
import datetime
import email.message
import email.utils
import http.client
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from typing import BinaryIO
from urllib.parse import urlsplit

from kit.core.access import ANONYMOUS, WebAccess
from kit.core.digest import CHUNK
from kit.core.errors import NetworkError, PrerequisiteError
from kit.core.proxy import require_socks
from kit.core.store import Artifact, Progress

TIMEOUT_S = 60.0
"""Longest silence of a server."""

# Not OSError as a whole: a full disk is not a network error.
_NETWORK_ERRORS = (
    http.client.HTTPException,
    urllib.error.URLError,
    ssl.SSLError,
    TimeoutError,
    ConnectionError,
)
_MISSING = (401, 403, 404, 410)
_RETRIED = (408, 416, 425, 429)


_RESET = re.compile(r";\s*t\s*=\s*([0-9]{1,9})\b")
"""Seconds until more requests are allowed, in a RateLimit header; the Hub sends it without Retry-After."""


class BrokenTransfer(Exception):
    """An attempt that failed; another one may succeed."""

    def __init__(self, reason: str, retry_after_s: float = 0.0, *, rate_limited: bool = False) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s
        self.rate_limited = rate_limited


class RangeRefused(BrokenTransfer):
    """The server does not have the range that was asked for."""


class Transfer:
    """One file's transfer, in as many attempts as it needs."""

    def __init__(
        self,
        url: str,
        artifact: Artifact,
        sink: BinaryIO,
        offset: int,
        report: Progress,
        timeout_s: float,
        access: WebAccess,
    ) -> None:
        self.offset = offset
        """Bytes in `sink`."""
        self._url, self._artifact, self._sink = url, artifact, sink
        self._report, self._timeout_s, self._access = report, timeout_s, access
        self._furthest = offset

    def advanced(self) -> bool:
        """Tell whether the last attempt brought bytes that no attempt had brought before."""
        before, self._furthest = self._furthest, max(self._furthest, self.offset)
        return self.offset > before

    def attempt(self) -> None:
        """Transfer the rest of the file, or raise `BrokenTransfer`."""
        headers = {"User-Agent": "speedrun-kit", "Accept-Encoding": "identity"}
        if self.offset:
            headers["Range"] = f"bytes={self.offset}-"
        request = urllib.request.Request(self._url, headers=headers)  # noqa: S310  the schemes are the callers'
        try:
            with open_url(request, self._artifact.name, self._timeout_s, self._access) as response:
                if response.status != 206:
                    self._restart()
                whole = self._read(response)
        except RangeRefused as e:
            self._restart()
            raise BrokenTransfer(str(e)) from e
        # A whole response that is too short is another file, not a broken transfer: its digest will differ.
        if self.offset < self._artifact.size and not whole:
            raise BrokenTransfer("the connection was closed")

    def _read(self, response: http.client.HTTPResponse) -> bool:
        """Read the response into the sink; tell whether it was as long as the server promised."""
        promised, start, name, size = response.length, self.offset, self._artifact.name, self._artifact.size
        with network_errors():
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


def open_url(
    request: urllib.request.Request, name: str, timeout_s: float, access: WebAccess = ANONYMOUS
) -> http.client.HTTPResponse:
    """Send a request; raise `BrokenTransfer` for what a retry may mend, and a `KitError` for the rest."""
    host = urlsplit(request.full_url).hostname
    require_socks(request.full_url, access.proxy)
    send = access.opener().open
    with network_errors():
        try:
            response: http.client.HTTPResponse = send(request, timeout=timeout_s)
            return response
        except urllib.error.HTTPError as e:
            e.close()
            reason = f"HTTP status {e.code}"
            if e.code in _MISSING:
                denied = " (login required, or permission denied)" if e.code in (401, 403) else ""
                raise PrerequisiteError(f"{host}: {reason} for {name}{denied}") from e
            if e.code == 416:
                raise RangeRefused(reason) from e
            if not is_temporary(e.code):
                raise NetworkError(
                    f"cannot download {name}: {host}: {reason}", "use another source: --mirror DIR"
                ) from e
            raise refused_for_now(e.code, e.headers) from e


def is_temporary(status: int) -> bool:
    """Tell whether the same request may succeed after a response of this HTTP status."""
    return status in _RETRIED or status >= 500


def refused_for_now(status: int, headers: Mapping[str, str] | email.message.Message) -> BrokenTransfer:
    """Return the error of a response that may be different later, with the wait that its headers ask for."""
    limited = status == 429
    wait_s = retry_after_s(headers.get("Retry-After") or "")
    if limited and not wait_s and (reset := _RESET.search(headers.get("RateLimit") or "")):
        wait_s = float(reset[1])
    reason = f"HTTP status {status}" + (" (rate limit reached)" if limited else "")
    if wait_s:
        reason += f", retry after {wait_s:.0f} s"
    return BrokenTransfer(reason, wait_s, rate_limited=limited)


@contextlib.contextmanager
def network_errors() -> Iterator[None]:
    """Turn an error of the network into a `BrokenTransfer` that names its reason."""
    try:
        yield
    except _NETWORK_ERRORS as e:
        reason = getattr(e, "reason", None) or e
        raise BrokenTransfer(str(reason) or type(reason).__name__) from e


def retry_after_s(header: str) -> float:
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
