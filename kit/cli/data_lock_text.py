"""Say which data locks results were compared with, or that they were not compared."""

from __future__ import annotations

from collections.abc import Sequence

from kit.cli.terminal import note, warn
from kit.leaderboard.submit.data_locks import DataLock, describe_locks


def tell_data_locks(locks: Sequence[DataLock], results: int) -> None:
    """Print a line about the data of this number of results with shards; nothing if there is none."""
    if not results:
        return
    if locks:
        note(describe_locks(locks, results))
    else:
        warn(describe_locks(locks, results))
        note("hint: pass --data-lock FILE, or name the lock in board.toml: see docs/reference/submission.md")
