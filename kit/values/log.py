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
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from kit.core.errors import SchemaError
from kit.values import logfile
from kit.values.output import read_lines, read_log_bytes
from kit.values.run_result import OutputStream, Point

MAX_CLAIM = 256
"""Bytes of the longest line that can be a claim; upstream's longest has 92."""


MAX_CLAIMS = 100_000
"""Claims after which a guest is ended; upstream's longest runs print about 10,000."""
MAX_STORED_CLAIMS = 110_000
"""Claims that are read from one log; a guest may have printed some more while it was being ended."""


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


def parse_line(
    line: str, grammar: Grammar, last: Point | None = None, host_ns: int | None = None
) -> Point | None:
    """
    Read one line, without its line end, as a claim; None if it is none.

    `last` is the claim before it. Only `classic` uses it: a `val loss` line does not name its step,
    which is that of the training line before it, or 0. `total_steps` is 0 where no line has said it yet.
    A loss that is printed as `inf` becomes NaN. `host_ns` is the line's stamp. Whether steps or times rise is
    not checked.
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
        if last is not None and last.total_steps == total:
            total = last.total_steps  # one number for all lines, of which there may be many
    ms = fields.get("ms")
    return Point(
        step=step,
        total_steps=total,
        val_loss=None if loss is None else float("nan") if loss == "inf" else float(loss),
        train_time_ms=None if ms is None else int(ms),
        host_ns=host_ns,
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
        line = piece.removesuffix(b"\n").decode("utf-8", "replace")
        point = parse_line(line, self.grammar, self._last, host_ns)
        if point is not None:
            self._last = point
        return point


def read_run(log: Path, stamps: Path, grammar: Grammar) -> tuple[Point, ...]:
    """
    Re-derive a run's claims from its stored output, as they were read live.

    Raises as `read_pieces`, and `SchemaError` if there are more than `MAX_STORED_CLAIMS`.
    """
    claims = ClaimReader(grammar)
    lines = read_lines(log, stamps, MAX_CLAIM + 1)
    return _bounded((claims.feed(data, OutputStream.STDOUT, True, t_ns) for t_ns, data in lines), str(log))


def _bounded(points: Iterable[Point | None], where: str) -> tuple[Point, ...]:
    found: list[Point] = []
    for point in points:
        if point is not None:
            found.append(point)
            if len(found) > MAX_STORED_CLAIMS:
                raise SchemaError(
                    f"{where}: more than {MAX_STORED_CLAIMS} claims", "no run of the kit has so many"
                )
    return tuple(found)


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
    the file is absent or larger than `kit.values.output.MAX_LOG`.
    """
    sections = logfile.split(source if isinstance(source, bytes) else read_log_bytes(source))
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
    pieces = read_log_bytes(stamps).count(b"\n")
    best, points = _best(grammar, lambda g: read_run(path, stamps, g), pieces)
    return Log(best, points, (), None, pieces - len(points))


def _best(
    grammar: Grammar | None, read: Callable[[Grammar], tuple[Point, ...]], lines: int
) -> tuple[Grammar | None, tuple[Point, ...]]:
    best, points = grammar, read(grammar) if grammar else ()
    for candidate in () if grammar else Grammar:
        if len(claims := read(candidate)) > len(points):
            best, points = candidate, claims
        if points and 2 * len(points) >= lines:
            break  # no line is a claim under two grammars, so no other can have more
    return best, points


def _claims(lines: list[bytes], grammar: Grammar) -> tuple[Point, ...]:
    claims = ClaimReader(grammar)
    return _bounded((claims.feed(line, OutputStream.STDOUT, True) for line in lines), "the log")
