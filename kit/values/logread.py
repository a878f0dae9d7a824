"""
Read a log file that a person names: of upstream's three tracks, of the kit, or copied from a terminal.

More lines count here than in a run, whose claims `kit.values.log` reads: lines with a prefix, with times in
seconds and with further fields. No evaluation uses this module, and nothing that it reads enters a result.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from kit.values import logfile
from kit.values.log import MAX_CLAIM, Grammar, bounded, parse_line, read_run
from kit.values.logtext import plain_text, unwrapped
from kit.values.lookalikes import LookAlikes, look_alikes, look_alikes_of_run
from kit.values.output import read_log_bytes
from kit.values.run_result import Point

MAX_LINE = 1024
"""Bytes of the longest line of a file that is read; upstream's third track prints up to 170."""

_FIELDS = re.compile(
    r"step:(?P<step>[0-9]{1,9})/(?P<total>[0-9]{1,9})"
    r"(?P<fields>(?: [A-Za-z][A-Za-z0-9_]{0,31}:[!-~]{1,64}){2,24})",
    re.ASCII,
)
_KNOWN = {
    "val_loss": re.compile(r"[0-9]{1,4}\.[0-9]{1,20}|nan|inf", re.ASCII),
    "train_loss": re.compile(r"[0-9]{1,4}\.[0-9]{1,20}|nan|inf", re.ASCII),
    "train_time": re.compile(r"([0-9]{1,10})ms|([0-9]{1,7}(?:\.[0-9]{1,9})?)s", re.ASCII),
    "step_avg": re.compile(r"(?:[0-9]{1,9}\.[0-9]{1,6}|nan|inf)m?s", re.ASCII),
}


@dataclass(frozen=True, slots=True)
class Log:
    """The content of one log file. `points` include training lines, which have no `val_loss`."""

    grammar: Grammar | None
    """None if no line of the body is a claim."""
    points: tuple[Point, ...]
    sources: tuple[logfile.EmbeddedSource, ...]
    environment: logfile.LogEnvironment | None
    other_lines: int
    """Number of other lines in the body (nvidia-smi, peak memory, warnings)."""
    look_alikes: LookAlikes
    """Those of the other lines that nearly are claims."""

    @property
    def validations(self) -> tuple[Point, ...]:
        """Return the validation claims, in order."""
        return tuple(p for p in self.points if p.val_loss is not None)


def read_log(source: bytes | Path, grammar: Grammar | None = None) -> Log:
    """
    Read an upstream log file, or any file of printed lines.

    Claims are read from the body only, never from the embedded source. Without `grammar`, the grammar with
    the most claims is used. Points have no stamps. Raises `PrerequisiteError` if the file is missing or
    larger than `kit.values.output.MAX_LOG`, and as `plain_text` does.
    """
    data, where = (source, "the log") if isinstance(source, bytes) else (read_log_bytes(source), str(source))
    sections = logfile.split(plain_text(data, where))
    lines = sections.body.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    best, points = _best(grammar, lambda g: bounded(_points(lines, g), "the log"), len(lines))
    others = len(lines) - len(points)
    near = look_alikes(lines, best or Grammar.STEP, parse_file_line) if others else LookAlikes()
    return Log(best, points, sections.sources, sections.environment, others, near)


def read_any(path: Path, grammar: Grammar | None = None) -> Log:
    """
    Read a log file; if it is a run's `guest.log`, use the stamps next to it.

    Raises as `read_log` and `read_run` do.
    """
    stamps = path.parent / "stamps"
    if path.name != "guest.log" or not stamps.is_file():
        return read_log(path, grammar)
    pieces = read_log_bytes(stamps).count(b"\n")
    best, points = _best(grammar, lambda g: read_run(path, stamps, g), pieces)
    near = look_alikes_of_run(path, stamps, best or Grammar.STEP)
    return Log(best, points, (), None, pieces - len(points), near)


def parse_file_line(line: str, grammar: Grammar, last: Point | None = None) -> Point | None:
    """Parse one line of a file: as `kit.values.log.parse_line`, or in a form that only files may have."""
    if len(line) > MAX_LINE:
        return None
    point = parse_line(line, grammar, last)
    if point is None:
        text = unwrapped(line)
        point = parse_line(text, grammar, last) if text != line and len(text) <= MAX_CLAIM else None
        if point is None and grammar is Grammar.STEP:
            point = _with_fields(text)
    return point


def _with_fields(text: str) -> Point | None:
    """Parse a line of the grammar `step` with fields in any order, further ones, or a time in seconds."""
    match = _FIELDS.fullmatch(text)
    if match is None:
        return None
    words = [word.partition(":") for word in match["fields"].split(" ")[1:]]
    fields = {name: value for name, _, value in words}
    if len(fields) != len(words) or not {"train_time", "step_avg"} <= fields.keys():
        return None
    if any(name in fields and not form.fullmatch(fields[name]) for name, form in _KNOWN.items()):
        return None
    time, loss = fields["train_time"], fields.get("val_loss")
    ms = int(time[:-2]) if time.endswith("ms") else round(Decimal(time[:-1]) * 1000)
    value = None if loss is None else float("nan") if loss == "inf" else float(loss)
    return Point(int(match["step"]), int(match["total"]), value, ms)


def _best(
    grammar: Grammar | None, read: Callable[[Grammar], tuple[Point, ...]], lines: int
) -> tuple[Grammar | None, tuple[Point, ...]]:
    best, points = grammar, read(grammar) if grammar else ()
    for candidate in () if grammar else Grammar:
        if len(claims := read(candidate)) > len(points):
            best, points = candidate, claims
        if points and 2 * len(points) >= lines:
            break  # no line matches two grammars, so no other grammar can have more
    return best, points


def _points(lines: list[bytes], grammar: Grammar) -> Iterator[Point]:
    last: Point | None = None
    for line in lines:
        point = (
            parse_file_line(line.decode("utf-8", "replace"), grammar, last) if len(line) <= MAX_LINE else None
        )
        if point is not None:
            last = point
            yield point
