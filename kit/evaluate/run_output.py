"""Read what a run's guest printed, also while it runs, as text that a terminal can show."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kit.core.errors import PrerequisiteError
from kit.core.process import OwnerState
from kit.core.reading import unreadable
from kit.core.system import NOFOLLOW, NONBLOCK, READ
from kit.core.text import printable
from kit.evaluate.run_list import LATEST, NEXT, find_run, run_ids
from kit.sandbox import folder
from kit.sandbox.folder import RunFolder
from kit.values.logtext import without_escapes

CHUNK = 1 << 16
MAX_LINE = 1 << 16
"""Bytes after which a line is cut into two."""
POLL_S = 0.2
_LINE_END = re.compile(rb"\r*\n|\r+")


def shown_lines(data: bytes) -> list[str]:
    """
    Return output as lines that can be printed: no control characters, no escape sequences, tabs as blanks.

    A carriage return ends a line, too: progress bars use it.
    """
    lines = _LINE_END.split(without_escapes(data))
    if lines[-1] == b"":
        lines.pop()
    return [printable(line.decode("utf-8", "replace").expandtabs(8)) for line in lines]


@dataclass(slots=True)
class OutputReader:
    """Reads the log of a run piece by piece; what is returned ends with a whole line."""

    path: Path
    _offset: int = 0
    _pending: bytes = b""

    def read(self, all_of_it: bool = False) -> Iterator[list[str]]:
        """
        Yield the lines added since the last call, in groups; with `all_of_it` also an incomplete last line.

        Raises `PrerequisiteError` if the file is missing or is not a regular file.
        """
        while chunk := self._chunk():
            self._pending += chunk
            cut = max(self._pending.rfind(b"\n"), self._pending.rfind(b"\r", 0, -1)) + 1
            if cut == 0 and len(self._pending) > MAX_LINE:
                cut = MAX_LINE
            ready, self._pending = self._pending[:cut], self._pending[cut:]
            if ready:
                yield shown_lines(ready)
        if all_of_it and self._pending:
            ready, self._pending = self._pending, b""
            yield shown_lines(ready)

    def _chunk(self) -> bytes:
        try:
            fd = os.open(self.path, READ | NOFOLLOW | NONBLOCK)
        except FileNotFoundError as e:
            raise PrerequisiteError(f"file not found: {self.path}", "pass the directory of a run") from e
        except OSError as e:
            raise unreadable(self.path, e) from e
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise PrerequisiteError(f"{self.path} is not a regular file")
            if status.st_size < self._offset:
                self._offset, self._pending = 0, b""
            os.lseek(fd, self._offset, os.SEEK_SET)
            chunk = os.read(fd, CHUNK)
        finally:
            os.close(fd)
        self._offset += len(chunk)
        return chunk


def follow(run: RunFolder, pause: Callable[[float], None] = time.sleep) -> Iterator[list[str]]:
    """
    Yield the lines of a run's output as they are written, until the run has ended.

    A run has ended when it has a result, or when no process works on it. Raises as `OutputReader.read`.
    """
    reader = OutputReader(run.log)
    while True:
        ended = has_ended(run)  # before the read, so that nothing is missed
        yield from reader.read(all_of_it=ended)
        if ended:
            return
        pause(POLL_S)


def has_ended(run: RunFolder) -> bool:
    """Tell whether a run has a result, or has lost its process. One of another machine has not ended."""
    return not folder.is_open(run) or folder.owner(run) is OwnerState.ENDED


def await_run(
    name: str, out: Path, waiting: Callable[[], None], pause: Callable[[float], None] = time.sleep
) -> RunFolder:
    """
    Find a run as `find_run` does; wait for a run that does not exist yet if its name says that it may come.

    These are a whole run id, `latest` if there is no run, and `next`: the first run that is reserved after
    this call. `waiting` is called once, before the first pause. Raises as `find_run` for any other name.
    """
    before = set(run_ids(out)) if name == NEXT else set()
    told = False
    while True:
        try:
            if name != NEXT:
                return find_run(name, out)
            fresh = [run_id for run_id in run_ids(out) if run_id not in before]
            if fresh:
                return RunFolder(out / fresh[0])
        except PrerequisiteError:
            if name not in (LATEST, NEXT) and not folder.RUN_ID.fullmatch(name):
                raise
        if not told:
            waiting()
            told = True
        pause(POLL_S)
