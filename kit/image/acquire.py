"""The image room's shopping: brings a lock's artifacts into the store, several at a time. Builds nothing."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait

from kit.core.digest import sha256_file
from kit.core.errors import DigestMismatch, PrerequisiteError
from kit.core.store import Artifact, Fetcher, Progress, Store, no_progress
from kit.image.fetch import PipFetcher
from kit.image.lock import Deb, Lock, Wheel
from kit.image.meter import ByteMeter, cores

DOWNLOADS = 4


def fetch(lock: Lock, store: Store, fetchers: Sequence[Fetcher], progress: Progress = no_progress) -> int:
    """
    Bring every artifact of `lock` into the store, a few at a time; return the bytes that were missing.

    Raises what `Store.ensure` raises; if several are not to be had, one `PrerequisiteError` lists them.
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
        # The largest first, so that the last to finish is a small one.
        ordered = sorted(missing, key=lambda a: (-a.size, a.name))
        _outcome(pool, meter, [pool.submit(_fetch_one, a, store, fetchers, meter) for a in ordered])
    return total


def _fetch_one(artifact: Artifact, store: Store, fetchers: Sequence[Fetcher], meter: ByteMeter) -> str | None:
    """Fetch one artifact; return how to name it if no source has it."""
    try:
        store.ensure(artifact, fetchers, meter.part)
    except PrerequisiteError as e:
        where = artifact.pool if isinstance(artifact, Deb) else artifact.name
        return f"{where} (sha256 {artifact.sha256}): {e.message.partition('not to be had ')[2] or e.message}"
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
        raise PrerequisiteError(
            f"{len(absent)} of the files are not to be had:",
            "put them into a folder and pass it as --mirror DIR",
            sorted(absent),
        )


def recheck(lock: Lock, store: Store, progress: Progress = no_progress) -> None:
    """Hash every artifact in the store again. Raises `DigestMismatch` naming the first bad file."""
    meter = ByteMeter("hash artifacts", lock.size, progress)

    def check(artifact: Artifact) -> None:
        path = store.blob(artifact.sha256)
        if sha256_file(path) != artifact.sha256:
            raise DigestMismatch(f"{path} ({artifact.name}) has been changed", f"rm {path}, and run it again")
        meter.part(artifact.name, artifact.size, artifact.size)

    with ThreadPoolExecutor(cores()) as pool:
        for _ in pool.map(check, sorted(lock.artifacts, key=lambda a: (-a.size, a.name))):
            pass
