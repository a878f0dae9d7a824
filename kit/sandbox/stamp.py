"""
Store a guest's output: raw bytes in one file, one time stamp per piece in another.

`kit.values.output` defines the format of a stamp and reads both files. Streams are never mixed within a line.
A line longer than the line limit is split into pieces, and none of these counts as a whole line.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from kit.core.errors import RunError
from kit.core.files import disk_errors
from kit.core.system import CLOEXEC, NOFOLLOW, NONBLOCK
from kit.values.output import format_stamp
from kit.values.run_result import OutputStream
from kit.values.run_spec import Limits

PER_PIECE = 32
"""Bytes of the output limit per stamped piece. This also limits a flood of empty lines."""
MOST_PIECES = 1 << 18
"""Upper bound of stamped pieces for any output limit. An honest run prints about 20,000 lines."""
FEW_PIECES = 1024


@dataclass(slots=True)
class _Pending:
    """The bytes of a stream after its last newline."""

    data: bytearray
    cut: bool = False
    """Whether an earlier piece of this line is already stored."""


def _opened(path: Path) -> int:
    """
    Open a file to write it anew.

    Raises `RunError` for a link or a pipe: a guest's output would replace the file behind it.
    """
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | NOFOLLOW | CLOEXEC | NONBLOCK, 0o666)
    except OSError as e:
        if e.errno not in (errno.ELOOP, errno.ENXIO):
            raise
        raise RunError(f"{path} is a link or a pipe: nothing is written there", "remove it") from e


class LogWriter:
    """
    Writes the log, with stdout and stderr, and its time stamps.

    `feed` returns whole stdout lines. Raises `RunError` if the disk is full.
    """

    def __init__(self, log: Path, stamps: Path, limits: Limits) -> None:
        self._where = log
        with disk_errors(log), contextlib.ExitStack() as opened:
            self._log = opened.enter_context(os.fdopen(_opened(log), "wb"))
            self._stamps = os.fdopen(_opened(stamps), "w", encoding="ascii")
            opened.pop_all()
        self._limits = limits
        self._pending = {stream: _Pending(bytearray()) for stream in OutputStream}
        self.bytes = 0
        """Bytes stored so far, at most the output limit."""
        self.max_pieces = min(max(FEW_PIECES, limits.output // PER_PIECE), MOST_PIECES)
        """Largest number of pieces that are stored."""
        self._pieces_left = self.max_pieces
        self.lines = 0
        self.exceeded = False
        """Whether output was dropped because of the limit on bytes or pieces, or because of `stop`."""
        self._stopped = False
        self._broken = False
        """Whether a write failed; nothing is written after that."""

    def feed(self, stream: OutputStream, data: bytes, t_ns: int) -> list[bytes]:
        """Store data that arrived at `t_ns` and return the stdout lines that it completed, as stored."""
        if self._broken:
            return []
        with self._writing():
            return self._feed(stream, data, t_ns)

    def _feed(self, stream: OutputStream, data: bytes, t_ns: int) -> list[bytes]:
        pending = self._pending[stream]
        lines: list[bytes] = []
        *complete, rest = data.split(b"\n")
        for part in complete:
            pending.data += part + b"\n"
            whole = self._shorten(stream, t_ns) and not pending.cut
            piece = bytes(pending.data)
            stored = self._store(stream, piece, t_ns, whole)
            if stored and whole and stream is OutputStream.STDOUT:
                lines.append(piece)
            pending.data.clear()
            pending.cut = False
        pending.data += rest
        self._shorten(stream, t_ns)
        return lines

    def _shorten(self, stream: OutputStream, t_ns: int) -> bool:
        """Store full pieces of a line that is too long; return True if the line is still whole."""
        pending = self._pending[stream]
        limit = self._limits.line
        fits = True
        while len(pending.data) > limit:
            self._store(stream, bytes(pending.data[:limit]), t_ns, whole=False)
            del pending.data[:limit]
            pending.cut = True
            fits = False
        return fits

    def _store(self, stream: OutputStream, piece: bytes, t_ns: int, whole: bool) -> bool:
        if self._stopped:
            return False
        room = self._limits.output - self.bytes
        self._pieces_left -= 1
        if len(piece) > room or self._pieces_left < 0:
            room = room if self._pieces_left >= 0 else 0
            self.exceeded = True
            piece, whole = piece[:room], False
        if piece:
            self._log.write(piece)
            self._stamps.write(format_stamp(t_ns, stream, len(piece), whole))
            self.bytes += len(piece)
            self.lines += whole
        return not self.exceeded

    @property
    def out_of_pieces(self) -> bool:
        """Whether the limit on the number of pieces was exceeded."""
        return self._pieces_left < 0

    def stop(self) -> None:
        """Drop all further output."""
        self.exceeded = self._stopped = True

    def flush(self) -> None:
        """Flush to the operating system, so that the output survives the death of this process."""
        if not self._broken:
            with self._writing():
                self._log.flush()
                self._stamps.flush()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Raise for the first failed write only: the caller must still be able to kill the guest and read."""
        try:
            with disk_errors(self._where):
                yield
        except BaseException:
            self._broken = True
            raise

    def finish(self, t_ns: int) -> None:
        """Store the remaining bytes without a newline as a piece that is not a whole line."""
        if self._broken:
            return
        with self._writing():
            for stream, pending in self._pending.items():
                if pending.data:
                    self._store(stream, bytes(pending.data), t_ns, whole=False)
                    pending.data.clear()
        self.flush()

    def __enter__(self) -> LogWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in (self._log, self._stamps):
            with contextlib.suppress(OSError) if self._broken else self._writing(), file:
                file.flush()
                os.fsync(file.fileno())  # the bundle that names these bytes must not outlive them
