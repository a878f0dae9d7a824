"""
The stored output of a guest: raw bytes in one file, a stamp for each piece of output in another.

A stamp is one line with a JSON array, in order of arrival:

    [t_ns, "o" | "e", bytes, whole]

    t_ns     host monotonic nanoseconds since the guest's start
    o, e     stdout, stderr
    bytes    length of the piece in the raw file, newline included
    whole    1 if the piece is a whole line, else 0

This module defines the format and reads both files; `kit.sandbox.stamp` writes them.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from kit.core.errors import CHECK_PATH, IntegrityError, PrerequisiteError, SchemaError
from kit.core.reading import open_file, unreadable
from kit.values.run_result import OutputStream

MAX_LOG = 64 << 20
"""Bytes of the largest accepted log file; upstream's largest has 1.6 MB."""
MAX_PIECES = 2_200_000
"""Maximum stamps of one run; `kit.sandbox.stamp` writes far fewer."""
MAX_STAMP = 64
"""Maximum bytes of a stamp."""
TAIL = 300
"""Bytes of a guest's last output that an error quotes."""

_LETTERS = {OutputStream.STDOUT: "o", OutputStream.STDERR: "e"}
_STREAMS = {letter.encode(): stream for stream, letter in _LETTERS.items()}
_STAMP = re.compile(rb'\[([0-9]{1,18}),"([oe])",([1-9][0-9]{0,9}),([01])\]\n?')


def format_stamp(host_ns: int, stream: OutputStream, size: int, whole: bool) -> str:
    """Format the stamp of a piece of `size` bytes as one line."""
    return f'[{host_ns},"{_LETTERS[stream]}",{size},{int(whole)}]\n'


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece of output: a whole line with its end, or a part of one."""

    host_ns: int
    """Host monotonic nanoseconds since the guest's start."""
    stream: OutputStream
    data: bytes
    whole: bool


@dataclass(frozen=True, slots=True)
class StoredOutput:
    """The two files of a guest's output. Every call reads them again."""

    log: Path
    """The raw bytes of both streams."""
    stamps: Path

    def pieces(self) -> Iterator[Piece]:
        """Yield the output piece by piece; raises as `read_pieces`."""
        return read_pieces(self.log, self.stamps)

    def stdout(self) -> bytes:
        """Return all of stdout; raises as `read_pieces`."""
        return self._stream(OutputStream.STDOUT)

    def stderr_tail(self) -> str:
        """Return the last `TAIL` bytes of stderr, for a person; raises as `read_pieces`."""
        return self._stream(OutputStream.STDERR)[-TAIL:].decode(errors="replace")

    def tail(self) -> str:
        """Return the last `TAIL` bytes of both streams, for a person."""
        return self.log.read_bytes()[-TAIL:].decode(errors="replace")

    def _stream(self, stream: OutputStream) -> bytes:
        return b"".join(piece.data for piece in self.pieces() if piece.stream is stream)


def read_pieces(log: Path, stamps: Path) -> Iterator[Piece]:
    """
    Yield a run's stored output piece by piece, in order of arrival, without loading a whole file.

    Raises, also after the last piece, `IntegrityError` if the two files do not match, `SchemaError` if a
    stamp is malformed or there are more than `MAX_PIECES`, `PrerequisiteError` if a file is missing or above
    `MAX_LOG`.
    """
    for host_ns, stream, data, whole in _stored(log, stamps):
        yield Piece(host_ns, _STREAMS[stream], data, whole == b"1")


def read_lines(log: Path, stamps: Path, longest: int) -> Iterator[tuple[int, bytes]]:
    """
    Yield the whole stdout lines of at most `longest` bytes, each with its stamp in host nanoseconds.

    Raises as `read_pieces` does.
    """
    for host_ns, stream, data, whole in _stored(log, stamps):
        if whole == b"1" and stream == b"o" and len(data) <= longest:
            yield host_ns, data


def _stored(log: Path, stamps: Path) -> Iterator[tuple[int, bytes, bytes, bytes]]:
    """Yield (nanoseconds, letter, bytes, whole) for each piece."""
    with _opened(log) as f:
        done = 0
        for host_ns, stream, size, whole in _stamps(stamps):
            length = int(size)
            data = f.read(min(length, MAX_LOG))
            done += length
            if len(data) != length or done > MAX_LOG:
                break
            yield int(host_ns), stream, data, whole
        else:
            if not f.read(1):
                return
    actual = len(read_log_bytes(log))
    if actual != done:
        raise IntegrityError(
            f"size mismatch: {stamps} covers {done} bytes, but {log} has {actual}",
            "restore the original files of the run",
        )


def _stamps(stamps: Path) -> Iterator[tuple[bytes, bytes, bytes, bytes]]:
    number = done = 0
    with _opened(stamps) as f:
        while line := f.readline(MAX_STAMP):
            number, done = number + 1, done + len(line)
            match = _STAMP.fullmatch(line)
            if match is None:
                raise SchemaError(f"{stamps}:{number}: invalid stamp")
            if number > MAX_PIECES or done > MAX_LOG:
                raise SchemaError(f"{stamps} has more than {MAX_PIECES} stamps")
            yield match[1], match[2], match[3], match[4]


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with open_file(path, 1 << 18) as f:
            yield f
    except FileNotFoundError as e:
        raise PrerequisiteError(f"file not found: {path}", CHECK_PATH) from e
    except OSError as e:
        raise unreadable(path, e) from e


def read_log_bytes(path: Path) -> bytes:
    """Read a log file or its stamps. Raises `PrerequisiteError` if it is missing or above `MAX_LOG`."""
    try:
        with open_file(path) as f:
            data = f.read(MAX_LOG + 1)  # devices and pipes report no size
    except FileNotFoundError as e:
        raise PrerequisiteError(f"file not found: {path}", CHECK_PATH) from e
    except OSError as e:
        raise unreadable(path, e) from e
    if len(data) > MAX_LOG:
        raise PrerequisiteError(f"{path} is larger than {MAX_LOG} bytes, the largest accepted log")
    return data
