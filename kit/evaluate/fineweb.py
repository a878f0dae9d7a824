"""The shards that a full run reads: which ones, whether they are here, and in which folder. Fetches none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kit.benchmark.records import Record
from kit.core.errors import IntegrityError, PrerequisiteError
from kit.core.store import Artifact
from kit.data.dataset import DataSet, load_dataset, load_lock
from kit.data.fetch import Shards, find, find_statement
from kit.data.verify import verify
from kit.evaluate.request import Places
from kit.result.predicate import Data, InputFile

KIND = "fineweb"


@dataclass(frozen=True, slots=True)
class Shard:
    """One shard that a record reads."""

    name: str
    size: int
    """Bytes."""
    sha256: str | None
    """None where nothing states it yet."""
    present: bool


@dataclass(frozen=True, slots=True)
class ShardAvailability:
    """The data of a full run as far as it is known before the run."""

    shards: tuple[Shard, ...]
    pinned: bool
    """Whether a lock that is part of the kit says which bytes they are."""


def shard_availability(record: Record, places: Places) -> ShardAvailability:
    """Return which shards the record reads and which of them are in the store. Reads none of them."""
    dataset, names = _wanted(record, places)
    lock = load_lock(dataset)
    statement = find_statement(dataset, places.store)
    found = {a.name: a for a in statement.files} if statement else {}
    shards = tuple(_shard(name, found.get(name), dataset, places) for name in names)
    return ShardAvailability(shards, lock is not None)


def _shard(name: str, artifact: Artifact | None, dataset: DataSet, places: Places) -> Shard:
    if artifact is None:
        return Shard(name, dataset.size, None, present=False)
    return Shard(name, artifact.size, artifact.sha256, places.store.has(artifact))


def here(record: Record, places: Places) -> tuple[Data, Path]:
    """
    Return the record's data, every shard compared with what is stated of it, and the folder that holds them.

    Raises `PrerequisiteError` with the command that fetches them if one is missing, `IntegrityError` if
    one is not as stated. A shard that did not change since it was hashed is not hashed again.
    """
    dataset, names = _wanted(record, places)
    fetch = f"speedrun data fetch --record {record.number}"
    try:
        shards = find(dataset, names, places.store)
    except PrerequisiteError as e:
        raise PrerequisiteError(e.message, fetch) from e
    _check(dataset, shards, record, places)
    files = tuple(InputFile(a.name, a.size, a.sha256) for a in shards.files)
    return Data(dataset.name, KIND, shards.pinned, files, record.val_tokens), shards.folder


def _wanted(record: Record, places: Places) -> tuple[DataSet, tuple[str, ...]]:
    dataset = load_dataset(places.records)
    return dataset, dataset.shards(record.train_shards)


def _check(dataset: DataSet, shards: Shards, record: Record, places: Places) -> None:
    faulty = [c for c in verify(dataset, shards, places.store, progress=places.progress) if c.fault]
    if faulty:
        listed = "; ".join(f"{c.name}: {c.fault}" for c in faulty[:3])
        raise IntegrityError(
            f"{len(faulty)} shards are not as stated: {listed}",
            f"speedrun data verify --drop --record {record.number}",
        )
