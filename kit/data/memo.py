"""Cache the sha256 of files that have not changed since they were hashed."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from pathlib import Path

from kit.core.digest import Sha256, is_sha256, sha256_file
from kit.core.errors import PrerequisiteError, SchemaError
from kit.core.files import link_or_copy, write_atomic
from kit.core.schema import parse_json
from kit.core.store import Store

KEPT = 4096
"""Number of entries; the oldest are dropped first."""
SETTLE_S = 0.05
"""Longer than a tick of the file system's clock: two changes within one tick look like one."""


def identity(path: Path) -> str:
    """
    Identify a file's current state: device, inode, size, mtime and ctime in nanoseconds.

    Any write or rename changes the ctime, which a program cannot set; only root can, by setting the
    machine's clock back.
    """
    s = path.stat()
    return f"{s.st_dev}:{s.st_ino}:{s.st_size}:{s.st_mtime_ns}:{s.st_ctime_ns}"


class Memo:
    """The digest cache of one store. Threads may share it; processes merge their entries in `save`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._path = store.root / "memo" / "sha256.json"
        self._known = self._read()
        self._new: dict[str, Sha256] = {}
        self._lock = threading.Lock()

    def sha256(self, path: Path, anew: bool = False) -> tuple[Sha256, bool]:
        """Return a file's sha256, and whether it was hashed now; `anew` ignores the cache."""
        before = identity(path)
        known = None if anew else self._recall(before)
        if known is not None:
            return known, False
        settled = time.time() - path.stat().st_ctime > SETTLE_S
        digest = sha256_file(path)
        if settled:
            self.learn(path, before, digest)
        return digest, True

    def learn(self, path: Path, expected: str, digest: Sha256) -> None:
        """Store `digest` for the file if its identity is still `expected`."""
        if identity(path) == expected:
            with self._lock:
                self._new[expected] = digest

    def link(self, path: Path, new: Path) -> None:
        """
        Hard-link a file, and keep its cache entry: a link changes the ctime.

        Copies the file on a file system without hard links.
        """
        known = self._recall(identity(path))
        if not link_or_copy(path, new):
            return
        if known is not None:
            self.learn(path, identity(path), known)

    def _recall(self, name: str) -> Sha256 | None:
        with self._lock:
            return self._new.get(name) or self._known.get(name)

    def save(self) -> None:
        """
        Write the new entries, and keep those that other processes wrote.

        Returns after a tick of the file system's clock, so a later change gives a file another identity.
        """
        with self._lock:
            new, self._new = self._new, {}
        if not new:
            return
        with self._store.lock("memo"):
            known = {**self._read(), **new}
            self._known = dict(list(known.items())[-KEPT:])
            with contextlib.suppress(PrerequisiteError):  # a read-only store: the files are hashed again
                write_atomic(self._path, json.dumps(self._known).encode(), mode=0o600)
        time.sleep(SETTLE_S)

    def _read(self) -> dict[str, Sha256]:
        try:
            document = parse_json(self._path.read_bytes(), str(self._path))
        except (OSError, SchemaError):
            return {}
        if not isinstance(document, dict):
            return {}
        return {str(k): Sha256(v) for k, v in document.items() if isinstance(v, str) and is_sha256(v)}
