"""
The journal of a run: one canonical JSON object a line, each with the digest of the line before it.

A line is complete once it ends in a line feed; every line is synced before the next step. One process writes.
The clock is injected, so that a replay with the recorded times writes the same bytes. Removed last lines can
only be detected with the digest of the last line, which the signed summary contains.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from kit.agent.events import Event, decode_event, encode_event
from kit.core.digest import Sha256, canonical_json, sha256_bytes
from kit.core.errors import IntegrityError, SchemaError, UsageError
from kit.core.files import disk_errors, make_folder, sync
from kit.core.locks import HeldLock, acquire, lock_file, noted
from kit.core.reading import open_file, unreadable
from kit.core.schema import parse_json, validate

JOURNAL = "journal.jsonl"
LOCK = "journal.lock"
LINE_SCHEMA = "agent-journal.v1"
MAX_JOURNAL = 64 << 20
"""Bytes of a journal that are read; a search of 20 nodes writes less than 1 MiB."""
FIRST = Sha256("0" * 64)
"""`prev` of the first line."""


@dataclass(frozen=True, slots=True)
class JournalLine:
    """One line."""

    seq: int
    """From 0."""
    time: str
    """ISO 8601 with its offset from UTC."""
    event: Event


@dataclass(frozen=True, slots=True)
class JournalContents:
    """The complete lines of a journal."""

    lines: tuple[JournalLine, ...]
    head: Sha256
    """The digest of the last line; `FIRST` without lines."""
    size: int
    """Bytes of the complete lines."""
    cut_bytes: int
    """Bytes of an incomplete last line."""

    @property
    def events(self) -> tuple[Event, ...]:
        """The events of the lines."""
        return tuple(line.event for line in self.lines)


def read_journal(path: Path, head: str | None = None) -> JournalContents:
    """
    Read a journal and check its chain.

    `head` is the expected digest of the last line. Raises `IntegrityError` that names the first line which is
    invalid, changed, missing or out of order, and `PrerequisiteError` if the file cannot be read.
    """
    try:
        with open_file(path) as f:
            data = f.read(MAX_JOURNAL + 1)
    except OSError as e:
        raise unreadable(path, e) from e
    if len(data) > MAX_JOURNAL:
        raise IntegrityError(f"{path}: larger than {MAX_JOURNAL} bytes, which no run of this kit writes")
    contents = _parse(data, path)
    if head is not None and contents.head != head:
        raise IntegrityError(
            f"{path}: the last line has the digest {contents.head}, expected {head}: "
            "lines are missing or changed"
        )
    return contents


def _parse(data: bytes, path: Path) -> JournalContents:
    *complete, torn = data.split(b"\n")
    prev, lines = FIRST, []
    for i, raw in enumerate(complete):
        lines.append(_parse_line(raw, prev, i, f"{path}: line {i + 1}"))
        prev = sha256_bytes(raw)
    return JournalContents(tuple(lines), prev, len(data) - len(torn), len(torn))


def _parse_line(raw: bytes, prev: Sha256, seq: int, where: str) -> JournalLine:
    document = parse_json(raw, where)
    line = _decode_line(document, where)
    if document["prev"] != prev or line.seq != seq:
        raise IntegrityError(
            f"{where}: the chain is broken: the line before it is missing, changed or out of order",
            "restore the journal from a copy; a run with a changed journal cannot be resumed",
        )
    if canonical_json(document) != raw:
        raise IntegrityError(f"{where}: not in canonical form")
    return line


def _decode_line(document: Any, where: str) -> JournalLine:
    validate(LINE_SCHEMA, document, where)
    if _offset(document["time"]) is None:
        raise SchemaError(f"{where}: invalid time {document['time']!r}")
    return JournalLine(document["seq"], document["time"], decode_event(document["event"], f"{where}: event"))


def _offset(time: str) -> Any:
    try:
        return datetime.fromisoformat(time).utcoffset()
    except ValueError:
        return None


class JournalInUse(UsageError):
    """Another process writes the journal."""


class Journal:
    """A journal that this process writes."""

    def __init__(
        self,
        fd: int,
        lock: HeldLock,
        path: Path,
        contents: JournalContents,
        now: Callable[[], str],
        redact: Callable[[Any], Any],
    ) -> None:
        self._fd, self._lock, self._path, self._now, self._redact = fd, lock, path, now, redact
        self._seq, self._size = len(contents.lines), contents.size
        self.head = contents.head
        """The digest of the last line."""

    @property
    def size(self) -> int:
        """Bytes of the whole lines."""
        return self._size

    def append(self, event: Event) -> JournalLine:
        """
        Write one line and sync it; return it as a reader will read it.

        Guests' texts are made printable, and `redact` removes secrets. Raises `SchemaError` for an invalid
        event, and `RunError` for a full disk.
        """
        document = {
            "seq": self._seq,
            "prev": self.head,
            "time": self._now(),
            "event": self._redact(encode_event(event)),
        }
        line = _decode_line(document, f"{self._path}: line {self._seq + 1}")
        raw = canonical_json(document)
        with disk_errors(self._path):
            self._write(raw + b"\n")
        self.head, self._seq = sha256_bytes(raw), self._seq + 1
        return line

    def _write(self, data: bytes) -> None:
        """Write and sync a line. After an error none of its bytes stay, so that another can follow."""
        try:
            _write_all(self._fd, data)
            os.fsync(self._fd)
        except BaseException:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self._size)
            raise
        self._size += len(data)

    def close(self) -> None:
        """Close the file and release the lock. Safe to repeat."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            self._lock.release()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_journal(
    folder: Path, now: Callable[[], str], redact: Callable[[Any], Any] = lambda value: value
) -> tuple[Journal, JournalContents]:
    """
    Open the journal in `folder` for appending, and create it if it is missing.

    Cuts an incomplete last line; the caller notes it in `Resumed`. `now` returns the time as ISO 8601;
    `redact` returns a JSON value without the secrets in its texts. Raises `JournalInUse` if another process
    writes, and `IntegrityError` for a broken chain.
    """
    make_folder(folder)
    path = folder / JOURNAL
    with disk_errors(path):
        lock = acquire(folder / LOCK)
        if lock is None:
            raise _in_use(path)
        with contextlib.suppress(OSError):  # a full disk refuses the first line, which says so
            lock.note()
        try:
            fd = _opened(path)
        except BaseException:
            lock.release()
            raise
    try:
        # Someone may have deleted the lock's file while a process works: the journal itself is locked too.
        if lock_file(fd) is False:
            raise _in_use(path)
        contents = read_journal(path)
        if contents.cut_bytes:
            os.ftruncate(fd, contents.size)
        os.fsync(fd)
        sync(folder)
    except BaseException:
        os.close(fd)
        lock.release()
        raise
    return Journal(fd, lock, path, contents, now, redact), contents


def _opened(path: Path) -> int:
    """Open the journal's file for appending. Raises `IntegrityError` for a pipe or a device."""
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    fd = os.open(path, flags, 0o644)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise IntegrityError(f"{path} is not a regular file", "restore it from a copy")
    return fd


def _in_use(path: Path) -> JournalInUse:
    return JournalInUse(
        f"another process is writing {path}", "wait until it ends, or stop it with Ctrl-C, then repeat"
    )


def writer_of(folder: Path) -> str:
    """Return who writes the journal in `folder`, for a message: `process 812`, or `another process`."""
    process = noted(folder / LOCK)
    return "another process" if process is None else f"process {process.pid}"


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]
