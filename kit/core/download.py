"""One file over http into a store's sink, resumed where it broke. Knows no sources and checks no digest."""

from __future__ import annotations

import http.client
import ssl
import urllib.error
import urllib.request
from typing import BinaryIO
from urllib.parse import urlsplit

from kit.core.digest import CHUNK
from kit.core.errors import NetworkError, PrerequisiteError
from kit.core.store import Artifact, Progress

ATTEMPTS = 3
TIMEOUT_S = 60.0
"""Longest silence of a server."""

# Not OSError as a whole: a full disk is not the network's fault.
BROKEN = (http.client.HTTPException, urllib.error.URLError, ssl.SSLError, TimeoutError, ConnectionError)


def download(
    url: str,
    artifact: Artifact,
    sink: BinaryIO,
    offset: int,
    progress: Progress,
    timeout_s: float = TIMEOUT_S,
) -> None:
    """
    Append the bytes at `url` from `offset` on to `sink`, in up to `ATTEMPTS` attempts, each resuming.

    At most one byte more than the artifact's size is taken. Raises `PrerequisiteError` if the server has no
    such file, `NetworkError` if the transfer broke for good: what arrived stays in `sink`.
    """
    for left in reversed(range(ATTEMPTS)):
        try:
            _transfer(url, artifact, sink, offset, progress, timeout_s)
            return
        except urllib.error.HTTPError as e:
            if e.code in (401, 403, 404, 410):
                raise PrerequisiteError(
                    f"{urlsplit(url).hostname} answers {e.code} for {artifact.name}"
                ) from e
            if e.code == 416:
                sink.truncate(0)
            broken = f"answers {e.code}"
        except BROKEN as e:
            reason = getattr(e, "reason", None) or e
            broken = str(reason) or type(reason).__name__
        offset = sink.seek(0, 2)
        if not left:
            raise NetworkError(
                f"{urlsplit(url).hostname}: {broken}; {artifact.name}: {offset} of {artifact.size} bytes",
                "check the network and run the command again: it resumes there",
            )


def _transfer(
    url: str, artifact: Artifact, sink: BinaryIO, offset: int, progress: Progress, timeout_s: float
) -> None:
    headers = {"User-Agent": "speedrun-kit", "Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
    request = urllib.request.Request(url, headers=headers)  # noqa: S310  the schemes are the callers'
    with urllib.request.urlopen(request, timeout=timeout_s) as answer:  # noqa: S310
        if answer.status != 206:
            sink.truncate(0)
            offset = 0
        promised = answer.length
        start = offset
        while offset <= artifact.size and (chunk := answer.read(min(CHUNK, artifact.size + 1 - offset))):
            sink.write(chunk)
            offset += len(chunk)
            progress(artifact.name, offset, artifact.size)
    # A whole answer that is too short is another file, not a broken transfer: its digest will say so.
    if offset < artifact.size and (promised is None or offset - start < promised):
        raise ConnectionError(f"ended after {offset} of {artifact.size} bytes")
