"""Remove entries of the store that no process uses, and say how many bytes of the disk are free again."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kit.core.files import disk_errors, staged
from kit.core.store import Store
from kit.core.store_use import cleaning
from kit.diagnose.cache.inventory import REMOVABLE, CacheEntry, CacheInventory, CacheKind, take_inventory

BLOCK = 512
"""Bytes of the blocks that `stat` counts."""


@dataclass(frozen=True, slots=True)
class CacheSelection:
    """Which entries to remove."""

    kinds: tuple[CacheKind, ...] = REMOVABLE
    used_before: float | None = None
    """Unix time; None selects entries of any age."""

    def chosen(self, inventory: CacheInventory) -> tuple[CacheEntry, ...]:
        """Return the entries of these kinds and this age that nobody uses."""
        return tuple(entry for entry in self.matching(inventory) if not entry.in_use)

    def matching(self, inventory: CacheInventory) -> Iterator[CacheEntry]:
        """Yield the entries of these kinds and this age, also those in use."""
        for entry in inventory.entries:
            old = self.used_before is None or entry.last_used < self.used_before
            if old and entry.kind in self.kinds and entry.kind is not CacheKind.OTHER:
                yield entry


@dataclass(frozen=True, slots=True)
class CacheRemoval:
    """What was removed, or would be."""

    removed: tuple[CacheEntry, ...]
    kept: tuple[CacheEntry, ...]
    """Entries that were selected, too, but are in use."""
    freed: int
    """Bytes of the disk: files that other entries link to are not counted."""


def plan_removal(inventory: CacheInventory, selection: CacheSelection) -> CacheRemoval:
    """Return what `remove` would do now."""
    chosen = selection.chosen(inventory)
    kept = tuple(entry for entry in selection.matching(inventory) if entry.in_use)
    return CacheRemoval(chosen, kept, freed_bytes(chosen))


def remove(store: Store, selection: CacheSelection, scripts: Collection[str] = ()) -> CacheRemoval:
    """
    Remove the selected entries. A process that comes meanwhile waits, see `kit.core.store_use`.

    Raises `PrerequisiteError` if the store is not writable; what was removed before stays removed.
    """
    with cleaning(store) as uses:
        planned = plan_removal(take_inventory(store, uses, scripts), selection)
        delete(planned.removed)
    return planned


def delete(entries: Iterable[CacheEntry]) -> None:
    """Delete entries from the disk; the caller holds `cleaning`."""
    for entry in entries:
        for path in entry.paths:
            _delete(path)


def _delete(path: Path) -> None:
    """Delete a file, link or directory; a directory vanishes at once, also if this process is killed."""
    with disk_errors(path):
        if path.is_symlink() or not path.is_dir():
            path.unlink(missing_ok=True)
            return
        with staged(path.parent) as folder:
            if path.exists():  # `staged` itself removes directories of killed processes
                path.rename(folder / path.name)


def disk_bytes(entries: Iterable[CacheEntry], counted: set[tuple[int, int]]) -> int:
    """Return the bytes that entries take, without the inodes in `counted`; add theirs to it."""
    total = 0
    for status in _statuses(entries):
        inode = (status.st_dev, status.st_ino)
        if inode not in counted:
            counted.add(inode)
            total += status.st_blocks * BLOCK
    return total


def freed_bytes(entries: Iterable[CacheEntry]) -> int:
    """Return the bytes that are free once entries are removed: of files without a link elsewhere."""
    files: dict[tuple[int, int], list[int]] = {}
    for status in _statuses(entries):
        links = 1 if stat.S_ISDIR(status.st_mode) else status.st_nlink
        known = files.setdefault((status.st_dev, status.st_ino), [links, status.st_blocks * BLOCK])
        known[0] -= 1
    return sum(size for links, size in files.values() if links <= 0)


def _statuses(entries: Iterable[CacheEntry]) -> Iterator[os.stat_result]:
    for entry in entries:
        for path in entry.paths:
            yield from _below(path)


def _below(path: Path) -> Iterator[os.stat_result]:
    """Yield the status of a path and of everything below it; what vanishes or cannot be read is left out."""
    try:
        status = path.lstat()
    except OSError:
        return
    yield status
    if not stat.S_ISDIR(status.st_mode):
        return
    pending = [str(path)]
    while pending:
        try:
            with os.scandir(pending.pop()) as scan:
                entries = list(scan)
        except OSError:
            continue
        for entry in entries:
            try:
                yield entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
            except OSError:
                continue
