"""
Compare the shards of results with the data locks that a board accepts.

`board.toml` in the root of a repository names the sha256 of each lock; the locks lie beside it. A result says
`data: pinned` for every lock, also for one that its operator made, so only this comparison tells which one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kit.core.digest import Sha256, sha256_file
from kit.core.errors import PrerequisiteError, SchemaError
from kit.core.facts import facts_root
from kit.core.schema import MAX_DOCUMENT, parse_toml, read_json, validate
from kit.data.dataset import load_dataset, lock_path
from kit.leaderboard.submit.entry import read_bounded
from kit.result.predicate import Predicate
from kit.values.profile import Profile

BOARD = "board.toml"
MAX_BOARD = 16 << 10
"""Size limit of board.toml, in bytes."""
LOCKS = "*.lock.json"


@dataclass(frozen=True, slots=True)
class DataLock:
    """A data lock that a board accepts."""

    sha256: Sha256
    shards: Mapping[str, tuple[int, str]]
    """Size in bytes and sha256 of each shard, by name."""

    def fault(self, p: Predicate) -> str:
        """Return how a result's shards differ from this lock; an empty text if they do not."""
        if not p.inputs.data.pinned:
            return "unpinned"
        for file in p.inputs.data.files:
            if file.name not in self.shards:
                return f"{file.name} is not in it"
            if self.shards[file.name] != (file.size, file.sha256):
                return f"{file.name} has sha256 {file.sha256[:12]}, expected {self.shards[file.name][1][:12]}"
        return "" if p.inputs.data.files else "the result lists no shard"


def read_board_locks(root: Path) -> tuple[DataLock, ...]:
    """
    Return the locks that `root/board.toml` names; none without that file.

    A lock is read from `*.lock.json` in `root`, or from this kit if it has the same one. Raises `SchemaError`
    for an invalid file, `PrerequisiteError` if a lock is not found.
    """
    path = root / BOARD
    if not path.exists() and not path.is_symlink():
        return ()
    document = parse_toml(read_bounded(path, MAX_BOARD), BOARD)
    validate("board.v1", document, BOARD)
    own = lock_path(load_dataset(facts_root() / "records"))
    plain = (p for p in sorted(root.glob(LOCKS)) if p.is_file() and not p.is_symlink())
    found = {sha256_file(p): p for p in (own, *plain) if p.exists() and p.stat().st_size <= MAX_DOCUMENT}
    locks = []
    for sha256 in map(Sha256, document["data_locks"]):
        if sha256 not in found:
            raise PrerequisiteError(
                f"{BOARD} names data lock {sha256[:12]}, but no {LOCKS} in {root} has this sha256",
                f"copy the lock to {root}, or correct data_locks in {BOARD}",
            )
        locks.append(_lock(found[sha256], sha256))
    return tuple(locks)


def read_locks(paths: Iterable[Path]) -> tuple[DataLock, ...]:
    """Read data locks. Raises `PrerequisiteError` if one is missing, `SchemaError` if it is invalid."""
    return tuple(_lock(path, None) for path in paths)


def _lock(path: Path, sha256: Sha256 | None) -> DataLock:
    document = read_json(path, "dataset-lock.v1")
    if sha256 is None:
        sha256 = sha256_file(path)
    elif sha256_file(path) != sha256:
        raise SchemaError(f"{path} was changed while it was read", "run the command again")
    return DataLock(sha256, {name: (f["size"], f["sha256"]) for name, f in document["files"].items()})


def is_compared(p: Predicate) -> bool:
    """Tell whether a result has shards that a data lock can name: smoke data are made by the kit."""
    return p.task.profile is Profile.FULL and p.inputs.data.pinned


def lock_fault(p: Predicate, locks: Sequence[DataLock]) -> str:
    """
    Return why a result's data are of none of the locks; an empty text if they are, or cannot be compared.

    Unpinned data are refused elsewhere.
    """
    if not locks or not is_compared(p):
        return ""
    faults = [(lock, lock.fault(p)) for lock in locks]
    if not all(fault for _, fault in faults):
        return ""
    return "; ".join(f"data differ from data lock {lock.sha256[:12]}: {fault}" for lock, fault in faults)


def describe_locks(locks: Sequence[DataLock], compared: int) -> str:
    """Return a line about the comparison of this number of results with shards."""
    results = f"{compared} result" if compared == 1 else f"{compared} results"
    if locks:
        return f"data of {results} compared with data lock {', '.join(lock.sha256[:12] for lock in locks)}"
    return f"data of {results} not compared with a data lock: `pinned` may mean any lock, also a folder's"
