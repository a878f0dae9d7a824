"""Download a lock's artifacts into the store, several at a time."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait

from kit.core.errors import PrerequisiteError
from kit.core.store import Artifact, Fetcher, Progress, Store, no_progress
from kit.image.fetch import PipFetcher
from kit.image.lock import Deb, Lock, Wheel
from kit.image.meter import ByteMeter

DOWNLOADS = 4


class FilesNotFound(PrerequisiteError):
    """Files of a lock that no source has; each detail is the line of one, `names` are their names alone."""

    def __init__(self, lines: Sequence[str]) -> None:
        self.names = tuple(line.partition(_DIGEST)[0] for line in lines)
        super().__init__(
            f"{len(lines)} {'file was' if len(lines) == 1 else 'files were'} not found in any source:",
            "put them into a directory, then pass it with --mirror DIR",
            lines,
        )


_DIGEST = " (sha256 "


def fetch(lock: Lock, store: Store, fetchers: Sequence[Fetcher], progress: Progress = no_progress) -> int:
    """
    Download every missing artifact of `lock` into the store; return the number of bytes downloaded.

    Raises as `Store.ensure` does; `FilesNotFound` lists all artifacts that no source has.
    """
    missing = [a for a in lock.artifacts if not store.has(a)]
    for fetcher in fetchers:
        if isinstance(fetcher, PipFetcher):
            fetcher.expect(a for a in missing if isinstance(a, Wheel))
    total = sum(a.size for a in missing)
    meter = ByteMeter(f"fetch {lock.era}", total, progress)
    if total:
        progress(f"fetch {lock.era}", 0, total)  # before pip is asked, which takes a while
    with ThreadPoolExecutor(DOWNLOADS) as pool:
        # Largest first, so that no large download starts last.
        ordered = sorted(missing, key=lambda a: (-a.size, a.name))
        _outcome(pool, meter, [pool.submit(_fetch_one, a, store, fetchers, meter) for a in ordered])
    return total


def _fetch_one(artifact: Artifact, store: Store, fetchers: Sequence[Fetcher], meter: ByteMeter) -> str | None:
    """Fetch one artifact; return a line that names it and its sources if no source has it."""
    try:
        store.ensure(artifact, fetchers, meter.part)
    except PrerequisiteError as e:
        where = artifact.pool if isinstance(artifact, Deb) else artifact.name
        tried = e.message.partition("not found in any source ")[2]
        return f"{where}{_DIGEST}{artifact.sha256}): {tried or e.message}"
    return None


def _outcome(pool: ThreadPoolExecutor, meter: ByteMeter, futures: list[Future[str | None]]) -> None:
    try:
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
    except BaseException:
        meter.stop()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    failed = next((e for f in done if (e := f.exception()) is not None), None)
    if failed is not None:
        meter.stop()
        pool.shutdown(wait=True, cancel_futures=True)
        raise failed
    absent = [text for f in futures if (text := f.result()) is not None]
    if absent:
        raise FilesNotFound(sorted(absent))
