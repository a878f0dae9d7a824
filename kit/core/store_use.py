"""
Leases on the content of a store, so that cleaning it never removes what a process uses.

    <store>/uses/<16 hex>/lock      locked by the process that uses the store, see `kit.core.locks`
    <store>/uses/<16 hex>/images    manifest digests of the images that it uses, once it knows them

Without the second file, a process may use everything. With it, it uses these images, and everything that is
neither an image nor a download. Leases are taken, and the store is cleaned, under one lock: a process that
comes while the store is cleaned waits, and finds either all of an entry or nothing of it.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kit.core import locks
from kit.core.digest import is_sha256
from kit.core.errors import PrerequisiteError
from kit.core.files import disk_errors, make_folder, write_atomic
from kit.core.process import OwnerState, Process
from kit.core.store import Store

ROOM = "uses"
LOCK = "lock"
IMAGES = "images"
MAX_IMAGES_BYTES = 1 << 16
_LEASE = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class StoreUse:
    """A process that uses a store."""

    process: Process | None
    """None if the process cannot be read, for example one of another user."""
    images: frozenset[str] | None
    """Manifest digests of the images in use; None if everything may be in use."""


class StoreLease:
    """A lease that this process holds; without effect if the store is not writable."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def limit(self, images: Iterable[str]) -> None:
        """Say that only these images are used from now on, by manifest digest, and no downloads."""
        if self._folder is not None:
            names = "".join(f"{m}\n" for m in sorted(images))
            write_atomic(self._folder / IMAGES, names.encode(), mode=0o644)


@contextlib.contextmanager
def using(store: Store) -> Iterator[StoreLease]:
    """
    Hold a lease on the store's content for the block. Leases of one process are independent.

    Waits while the store is cleaned. Raises `RunError` if the disk is full. A store that this process cannot
    write gets no lease.
    """
    try:
        with store.lock(ROOM):
            folder = make_folder(store.room(ROOM) / secrets.token_hex(8))
            with disk_errors(folder):
                lock = locks.acquire(folder / LOCK)
                assert lock  # noqa: S101 - the name is new
                lock.note()
    except PrerequisiteError:
        yield StoreLease(None)
        return
    try:
        yield StoreLease(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()


def current_uses(store: Store) -> tuple[StoreUse, ...]:
    """Return the leases of processes that may still run, without changing the store."""
    return tuple(use for _, use in _leases(store) if use is not None)


@contextlib.contextmanager
def cleaning(store: Store) -> Iterator[tuple[StoreUse, ...]]:
    """
    Yield the leases of processes that may still run, and let nobody take a new one during the block.

    Removes the leases of dead processes. Raises `PrerequisiteError` if the store is not writable.
    """
    with store.lock(ROOM):
        uses: list[StoreUse] = []
        for folder, use in _leases(store):
            if use is None:
                shutil.rmtree(folder, ignore_errors=True)
            else:
                uses.append(use)
        yield tuple(uses)


def _leases(store: Store) -> Iterator[tuple[Path, StoreUse | None]]:
    """Yield each lease's directory with its use; None if the process has ended."""
    try:
        names = sorted(entry.name for entry in os.scandir(store.root / ROOM) if _LEASE.fullmatch(entry.name))
    except (FileNotFoundError, NotADirectoryError):
        return
    for folder in (store.root / ROOM / name for name in names):
        if locks.standing_of(folder / LOCK) is OwnerState.ENDED:
            yield folder, None
        else:
            yield folder, StoreUse(locks.noted(folder / LOCK), _images(folder / IMAGES))


def _images(path: Path) -> frozenset[str] | None:
    """Return the images that a lease names; None for a file that is missing or damaged."""
    try:
        with path.open("rb") as f:
            lines = f.read(MAX_IMAGES_BYTES).decode("ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    return frozenset(lines) if all(is_sha256(line) for line in lines) else None
