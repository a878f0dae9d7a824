"""
Claims: what a guest's printed lines say, under three grammars. Judges nothing and starts nothing.

    step     records 4 and later, and every upstream step log
             step:S/N val_loss:X train_time:Tms step_avg:Ams
             step:S/N [train_loss:X ]train_time:Tms step_avg:Ams
    llm.c    the log files that llm.c and records 1-3's scripts write
             s:S tel:X     |     s:S trl:X[ lr:.. norm:..]
    classic  what records 1-3's scripts print; no clock, and a val line does not name its step
             val loss X    |     step S/N | train loss X | ...

Only a whole line of stdout can be a claim, and no language model reads one, ever.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from kit.core.errors import IntegrityError, PrerequisiteError, SchemaError
from kit.values import logfile
from kit.values.run_result import OutputStream, Point

MAX_CLAIM = 256
"""Bytes of the longest line that can be a claim; upstream's longest has 92."""
MAX_LOG = 64 << 20
"""Bytes of the largest log file that is read; upstream's largest has 1.6 MB."""


class Grammar(StrEnum):
    """How a script prints its claims."""

    STEP = "step"
    LLM_C = "llm.c"
    CLASSIC = "classic"


# [0-9], not \d: \d also matches other scripts' digits. Every repetition is bounded and no two touch.
_N = r"[0-9]{1,9}"
_LOSS = r"[0-9]{1,4}\.[0-9]{1,20}|nan|inf"
_AVG = r"(?:[0-9]{1,9}\.[0-9]{1,6}|nan|inf)"
_TIME = rf"train_time:(?P<ms>[0-9]{{1,10}})ms step_avg:{_AVG}ms"
_HEAD = rf"step:(?P<step>{_N})/(?P<total>{_N}) "

_VAL = {
    Grammar.STEP: re.compile(rf"{_HEAD}val_loss:(?P<loss>{_LOSS}) {_TIME}", re.ASCII),
    Grammar.LLM_C: re.compile(rf"s:(?P<step>{_N}) tel:(?P<loss>{_LOSS})", re.ASCII),
    Grammar.CLASSIC: re.compile(rf"val loss (?P<loss>{_LOSS})", re.ASCII),
}
_TRAIN = {
    Grammar.STEP: re.compile(rf"{_HEAD}(?:train_loss:(?:{_LOSS}) )?{_TIME}", re.ASCII),
    Grammar.LLM_C: re.compile(
        rf"s:(?P<step>{_N}) trl:(?:{_LOSS})(?: lr:[0-9.e-]{{1,20}} norm:[0-9.naif]{{1,20}})?"
    ),
    Grammar.CLASSIC: re.compile(
        rf"step {{1,4}}(?P<step>{_N})/(?P<total>{_N}) \| train loss (?:{_LOSS}) \| [ -~]{{1,160}}"
    ),
}


def parse_line(line: str, grammar: Grammar, last: Point | None = None) -> Point | None:
    """
    Read one line, without its line end, as a claim; None if it is none.

    `last` is the claim before it. Only `classic` uses it: a `val loss` line does not name its step,
    which is that of the training line before it, or 0. `total_steps` is 0 where no line has said it yet.
    A loss that is printed as `inf` becomes NaN. Whether steps or times rise is not checked.
    """
    if len(line) > MAX_CLAIM:
        return None
    match = _VAL[grammar].fullmatch(line) or _TRAIN[grammar].fullmatch(line)
    if match is None:
        return None
    fields = match.groupdict()
    loss = fields.get("loss")
    if grammar is Grammar.CLASSIC and loss is not None:
        step, total = (last.step, last.total_steps) if last else (0, 0)
    else:
        step, total = int(fields["step"]), int(fields.get("total") or 0)
    ms = fields.get("ms")
    return Point(
        step=step,
        total_steps=total,
        val_loss=None if loss is None else float("nan") if loss == "inf" else float(loss),
        train_time_ms=None if ms is None else int(ms),
    )


class ClaimReader:
    """Reads claims from the pieces of a guest's output in the order of their arrival."""

    def __init__(self, grammar: Grammar) -> None:
        self.grammar = grammar
        self._last: Point | None = None

    def feed(
        self, piece: bytes, stream: OutputStream, whole: bool, host_ns: int | None = None
    ) -> Point | None:
        r"""
        Return the claim in one stored piece, stamped; None for stderr, for a cut line, for other text.

        One `\n` at the end of the piece is its line end. `host_ns`: nanoseconds since the guest's start.
        """
        if not whole or stream is not OutputStream.STDOUT or len(piece) > MAX_CLAIM + 1:
            return None
        point = parse_line(piece.removesuffix(b"\n").decode("utf-8", "replace"), self.grammar, self._last)
        if point is not None:
            self._last = point = point if host_ns is None else replace(point, host_ns=host_ns)
        return point


_STREAMS = {b"o": OutputStream.STDOUT, b"e": OutputStream.STDERR}
_STAMP = re.compile(rb'\[([0-9]{1,18}),"([oe])",([1-9][0-9]{0,9}),([01])\]')


@dataclass(frozen=True, slots=True)
class Piece:
    """What arrived at one moment: a whole line with its end, or a part of one."""

    host_ns: int
    """Host monotonic nanoseconds since the guest's start."""
    stream: OutputStream
    data: bytes
    whole: bool


def read_pieces(log: Path, stamps: Path) -> Iterator[Piece]:
    """
    Give a run's stored output piece by piece, in the order of arrival.

    `log` is the raw bytes of both streams; `stamps` has one JSON array per stored piece,
    `[t_ns, "o" | "e", nbytes, whole]`. Raises, also after the last piece, `IntegrityError` if the two do
    not fit together, `SchemaError` if a stamp is malformed, `PrerequisiteError` if a file is absent.
    """
    data, begin = _bytes(log), 0
    for host_ns, stream, size, whole in _stamps(_bytes(stamps), str(stamps)):
        yield Piece(host_ns, stream, data[begin : begin + size], whole)
        begin += size
    if begin != len(data):
        raise IntegrityError(
            f"{stamps} stamps {begin} bytes, but {log} has {len(data)}", "one of the two was changed"
        )


def read_run(log: Path, stamps: Path, grammar: Grammar) -> tuple[Point, ...]:
    """Re-derive a run's claims from its stored output, as they were read live; raises as `read_pieces`."""
    claims = ClaimReader(grammar)
    points = (claims.feed(p.data, p.stream, p.whole, p.host_ns) for p in read_pieces(log, stamps))
    return tuple(point for point in points if point is not None)


def _stamps(data: bytes, where: str) -> Iterator[tuple[int, OutputStream, int, bool]]:
    for number, line in enumerate(data.splitlines(), 1):
        stamp = _STAMP.fullmatch(line)
        if stamp is None:
            raise SchemaError(f"{where}:{number}: not a stamp")
        yield int(stamp[1]), _STREAMS[stamp[2]], int(stamp[3]), stamp[4] == b"1"


@dataclass(frozen=True, slots=True)
class Log:
    """What one log file says. `points` hold training lines, too; those have no `val_loss`."""

    grammar: Grammar | None
    """None if no line of the body is a claim."""
    points: tuple[Point, ...]
    sources: tuple[logfile.EmbeddedSource, ...]
    environment: logfile.LogEnvironment | None
    other_lines: int
    """Lines of the body that are not claims (nvidia-smi, peak memory, warnings)."""

    @property
    def validations(self) -> tuple[Point, ...]:
        """The validation claims, in order."""
        return tuple(p for p in self.points if p.val_loss is not None)


def read_log(source: bytes | Path, grammar: Grammar | None = None) -> Log:
    """
    Read an upstream log file, or any file of printed lines, after the fact.

    Only the body is read for claims, never the embedded source. Without `grammar` it is the one
    under which the body has most claims. Points carry no stamps. Raises `PrerequisiteError` if
    the file is absent or larger than `MAX_LOG`.
    """
    sections = logfile.split(source if isinstance(source, bytes) else _bytes(source))
    lines = sections.body.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    best, points = _best(grammar, lambda g: _claims(lines, g), len(lines))
    return Log(best, points, sections.sources, sections.environment, len(lines) - len(points))


def read_any(path: Path, grammar: Grammar | None = None) -> Log:
    """
    Read a log file; a kit run's `guest.log` by the stamps that lie beside it.

    Raises as `read_log` and `read_run` do.
    """
    stamps = path.with_name("stamps")
    if path.name != "guest.log" or not stamps.is_file():
        return read_log(path, grammar)
    pieces = _bytes(stamps).count(b"\n")
    best, points = _best(grammar, lambda g: read_run(path, stamps, g), pieces)
    return Log(best, points, (), None, pieces - len(points))


def _best(
    grammar: Grammar | None, read: Callable[[Grammar], tuple[Point, ...]], lines: int
) -> tuple[Grammar | None, tuple[Point, ...]]:
    best, points = grammar, read(grammar) if grammar else ()
    for tried in () if grammar else Grammar:
        if len(tried_points := read(tried)) > len(points):
            best, points = tried, tried_points
        if points and 2 * len(points) >= lines:
            break  # no line is a claim under two grammars, so no other can have more
    return best, points


def _claims(lines: list[bytes], grammar: Grammar) -> tuple[Point, ...]:
    claims = ClaimReader(grammar)
    points = (claims.feed(line, OutputStream.STDOUT, True) for line in lines)
    return tuple(p for p in points if p is not None)


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as f:
            data = f.read(MAX_LOG + 1)  # what a device or a pipe says of its size is nothing
    except FileNotFoundError as e:
        raise PrerequisiteError(f"{path} does not exist") from e
    except OSError as e:
        raise PrerequisiteError(f"cannot read {path}: {e.strerror}") from e
    if len(data) > MAX_LOG:
        raise PrerequisiteError(f"{path} has more than {MAX_LOG} bytes: that is no log of this project")
    return data
