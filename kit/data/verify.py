"""Check shards against their expected digests."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from kit.core.errors import KitError
from kit.core.store import Artifact, Progress, Store, no_progress
from kit.data.dataset import DataSet
from kit.data.fetch import Shards
from kit.data.memo import Memo
from kit.data.shard import read_header

WORKERS = 4
"""Hashing is bound by the disk soon after that."""


@dataclass(frozen=True, slots=True)
class ShardCheck:
    """The result of checking one shard."""

    name: str
    fault: str | None
    """One sentence; None if header, token count, size and sha256 are correct."""
    hashed: bool
    """False if the digest came from the cache."""


def verify(
    dataset: DataSet,
    shards: Shards,
    store: Store,
    *,
    rehash: bool = False,
    progress: Progress = no_progress,
) -> tuple[ShardCheck, ...]:
    """
    Check every shard: header, token count, size, sha256. Results are sorted by name.

    A fault is a value, not an error. An unchanged file is hashed once (see `memo`), unless `rehash`.
    """
    memo = Memo(store)
    done = 0
    total = len(shards.files) * dataset.size

    def check_shard(artifact: Artifact) -> ShardCheck:
        return _check(shards.folder / artifact.name, artifact, dataset, memo, rehash)

    with ThreadPoolExecutor(max_workers=min(WORKERS, os.cpu_count() or 1)) as pool:
        checks: list[ShardCheck] = []
        for checked in pool.map(check_shard, shards.files):
            checks.append(checked)
            done += dataset.size
            progress(f"verify {dataset.name}", done, total)
    memo.save()
    return tuple(checks)


def drop_faulty(shards: Shards, checked: tuple[ShardCheck, ...], store: Store) -> None:
    """Remove the blobs of faulty shards and their links, so that `fetch` downloads them again."""
    faulty = {c.name for c in checked if c.fault}
    for artifact in shards.files:
        if artifact.name in faulty:
            store.blob(artifact.sha256).unlink(missing_ok=True)
            (shards.folder / artifact.name).unlink(missing_ok=True)


def _check(path: Path, artifact: Artifact, dataset: DataSet, memo: Memo, rehash: bool) -> ShardCheck:
    hashed = False
    try:
        tokens = read_header(path).tokens
        if tokens != dataset.tokens:
            return ShardCheck(
                artifact.name, f"wrong size: {tokens} tokens, expected {dataset.tokens}", hashed
            )
        digest, hashed = memo.sha256(path, anew=rehash)
    except KitError as e:
        return ShardCheck(artifact.name, e.message, hashed)
    except OSError as e:
        return ShardCheck(artifact.name, f"cannot read: {e.strerror}", hashed)
    fault = (
        None
        if digest == artifact.sha256
        else f"checksum mismatch: sha256 is {digest}, expected {artifact.sha256}"
    )
    return ShardCheck(artifact.name, fault, hashed)
