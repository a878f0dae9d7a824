"""Describe a sharded data set: names, sizes, digests, and the source of the digests."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from kit.core.digest import Sha256, canonical_json, sha256_bytes
from kit.core.errors import PrerequisiteError, SchemaError, StaleLock, UsageError
from kit.core.schema import read_json, read_toml
from kit.core.store import Artifact
from kit.data.shard import HEADER_BYTES, TOKEN_BYTES

FINEWEB = "fineweb10B"
HELD_OUT_SHARDS = 2
"""One shard is not enough: its whole documents have slightly fewer tokens than a shard."""


class StatedBy(StrEnum):
    """The source of a shard's digest."""

    HUB = "hub"
    """The Hub states it for one revision."""
    FOLDER = "folder"
    """Computed from local files: it shows only that they have not changed since."""


@dataclass(frozen=True, slots=True)
class DataSet:
    """A data set as `records/<name>.toml` describes it. Every shard has the same size."""

    name: str
    repo: str
    folder: str
    """Where scripts look for it, below their working directory."""
    val_name: str
    train_prefix: str
    train_first: int
    train_last: int
    tokens: int
    """Tokens of one shard."""
    size: int
    """Bytes of one shard."""
    sha256: Sha256
    """Of the TOML file's bytes."""
    path: Path

    def shards(self, train: int) -> tuple[str, ...]:
        """
        Return the names of the validation shard and of the first `train` training shards, in that order.

        Raises `UsageError` if there are fewer.
        """
        most = self.train_last - self.train_first + 1
        if not 0 <= train <= most:
            raise UsageError(f"{self.name} has {most} training shards, but {train} are required")
        numbers = range(self.train_first, self.train_first + train)
        return (self.val_name, *(self._train_name(n) for n in numbers))

    def held_out(self, train: int) -> tuple[str, ...]:
        """
        Return the names of the shards for held-out text, for a record that reads `train` training shards.

        They are the last shards, the same for every record; empty if the record reads one of them.
        """
        first = self.train_last - HELD_OUT_SHARDS + 1
        if self.train_first + train > first:
            return ()
        return tuple(self._train_name(n) for n in range(first, self.train_last + 1))

    def _train_name(self, number: int) -> str:
        return f"{self.train_prefix}{number:06d}.bin"


@dataclass(frozen=True, slots=True)
class ShardDigests:
    """The expected digests of the shards, and their source."""

    repo: str
    revision: str | None
    stated_by: StatedBy
    dataset_sha256: Sha256
    files: tuple[Artifact, ...]
    """Sorted by name."""

    def artifact(self, name: str) -> Artifact | None:
        """Return the expected size and digest of one shard, or None."""
        return next((a for a in self.files if a.name == name), None)

    def to_json(self) -> bytes:
        """Return the document of schema `dataset-lock.v1`, in canonical form with a trailing newline."""
        return (
            canonical_json(
                {
                    "schema": "dataset-lock.v1",
                    "dataset_sha256": self.dataset_sha256,
                    "repo": self.repo,
                    "revision": self.revision,
                    "stated_by": self.stated_by,
                    "files": {a.name: {"size": a.size, "sha256": a.sha256} for a in self.files},
                }
            )
            + b"\n"
        )


def load_dataset(records: Path, name: str = FINEWEB) -> DataSet:
    """Read `<records>/<name>.toml`. Raises `SchemaError` if size and tokens do not fit together."""
    path = records / f"{name}.toml"
    d = read_toml(path, "dataset.v1")
    train, shard = d["train"], d["shard"]
    if shard["size"] != HEADER_BYTES + TOKEN_BYTES * shard["tokens"] or train["last"] < train["first"]:
        raise SchemaError(f"{path}: size {shard['size']} does not match a shard of {shard['tokens']} tokens")
    return DataSet(
        name=d["name"],
        repo=d["repo"],
        folder=d["folder"],
        val_name=d["val"]["name"],
        train_prefix=train["prefix"],
        train_first=train["first"],
        train_last=train["last"],
        tokens=shard["tokens"],
        size=shard["size"],
        sha256=sha256_bytes(path.read_bytes()),
        path=path,
    )


def lock_path(dataset: DataSet) -> Path:
    """Return the path of the data set's lock, next to its TOML file; it need not exist."""
    return dataset.path.with_suffix(".lock.json")


def load_lock(dataset: DataSet) -> ShardDigests | None:
    """
    Read the committed lock; None if there is none, and then full runs are unpinned.

    Whether its digests are the right ones is NOT checked: a board compares it with the lock that it accepts.
    Raises `StaleLock` if it was made from another version of the TOML file, `SchemaError` if its digests are
    from the Hub but it has no revision.
    """
    path = lock_path(dataset)
    if not path.exists():
        return None
    statement = read_statement(path, dataset)
    if (statement.stated_by is StatedBy.HUB) is (statement.revision is None):
        raise SchemaError(
            f"{path}: a lock with digests from the Hub must have their revision, and no other lock has one",
            "speedrun data lock",
        )
    return statement


def read_statement(path: Path, dataset: DataSet) -> ShardDigests:
    """Read a file of digests. Raises `StaleLock` if it was made for another version of the data set."""
    try:
        d: dict[str, Any] = read_json(path, "dataset-lock.v1")
    except PrerequisiteError as e:
        raise PrerequisiteError(e.message, "speedrun data fetch --record N") from e
    if d["dataset_sha256"] != dataset.sha256:
        raise StaleLock(
            f"{path} is stale: it was made from another version of {dataset.path}", "speedrun data lock"
        )
    files = (Artifact(name, f["size"], Sha256(f["sha256"])) for name, f in d["files"].items())
    return ShardDigests(
        repo=d["repo"],
        revision=d["revision"],
        stated_by=StatedBy(d["stated_by"]),
        dataset_sha256=Sha256(d["dataset_sha256"]),
        files=tuple(sorted(files, key=lambda a: a.name)),
    )
