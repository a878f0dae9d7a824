"""Keep in the store what was stated about the shards' digests, apart for each source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kit.core.files import write_atomic
from kit.core.store import Artifact, Store
from kit.data.dataset import DataSet, ShardDigests, StatedBy, load_lock, read_statement


@dataclass(frozen=True, slots=True)
class StatedShard:
    """The expected digest of one shard, and its source."""

    artifact: Artifact
    stated_by: StatedBy
    revision: str | None
    """Commit of the repository; None if the digest was computed from a local file."""


@dataclass(frozen=True, slots=True)
class ShardStatements:
    """All that is stated of a data set's shards."""

    repo: str
    shards: Mapping[str, StatedShard]
    """By name of the shard; the Hub's digest where both sources state one."""
    pinned: bool
    """The digests come from a committed lock."""

    @property
    def hub_revision(self) -> str | None:
        """The revision that the Hub was asked for; None if the Hub stated nothing."""
        return next((s.revision for s in self.shards.values() if s.revision is not None), None)


def read_statements(dataset: DataSet, store: Store) -> ShardStatements:
    """Return what the lock states, or if there is none, what earlier downloads kept in the store."""
    lock = load_lock(dataset)
    if lock is not None:
        return ShardStatements(lock.repo, _by_name(lock), pinned=True)
    shards: dict[str, StatedShard] = {}
    for path in (_path(dataset, store, StatedBy.FOLDER), _path(dataset, store, StatedBy.HUB)):
        if path.exists():
            shards |= _by_name(read_statement(path, dataset))
    return ShardStatements(dataset.repo, shards, pinned=False)


def keep_statement(dataset: DataSet, store: Store, new: ShardDigests) -> None:
    """Add `new` to what the store keeps; a new digest of a shard replaces an old one of any source."""
    with store.lock(f"stated-{dataset.name}"):
        known = read_statements(dataset, store)
        shards = {**known.shards, **_by_name(new)}
        for stated_by in (StatedBy.HUB, StatedBy.FOLDER):
            revision = new.revision if stated_by is new.stated_by else None
            if stated_by is StatedBy.HUB and revision is None:
                revision = known.hub_revision
            same = [s.artifact for s in shards.values() if (s.stated_by, s.revision) == (stated_by, revision)]
            if same:
                files = tuple(sorted(same, key=lambda a: a.name))
                kept = ShardDigests(dataset.repo, revision, stated_by, dataset.sha256, files)
                write_atomic(_path(dataset, store, stated_by), kept.to_json(), mode=0o644)


def select(statements: ShardStatements, names: Sequence[str]) -> tuple[list[StatedShard], list[str]]:
    """Return what is stated of `names`, sorted by name, and the names of which nothing is stated."""
    stated = [statements.shards[n] for n in sorted(names) if n in statements.shards]
    return stated, [n for n in names if n not in statements.shards]


def _by_name(statement: ShardDigests) -> dict[str, StatedShard]:
    return {a.name: StatedShard(a, statement.stated_by, statement.revision) for a in statement.files}


def _path(dataset: DataSet, store: Store, stated_by: StatedBy) -> Path:
    # The first file may hold digests of the Hub, too: version 0.1 kept both sources in it.
    suffix = {StatedBy.FOLDER: "stated", StatedBy.HUB: "stated-hub"}[stated_by]
    return store.room("data") / f"{dataset.name}.{suffix}.json"
