"""
Parse claims from a guest's printed lines, under one of three grammars.

    step     records 4 and later, and every upstream step log
             step:S/N val_loss:X train_time:Tms step_avg:Ams
             step:S/N [train_loss:X ]train_time:Tms step_avg:Ams
    llm.c    the log files of llm.c and of records 1-3's scripts
             s:S tel:X     |     s:S trl:X[ lr:.. norm:..]
    classic  the output of records 1-3's scripts; no clock, and a val line does not state its step
             val loss X    |     step S/N | train loss X | ...

Only a whole line of stdout can be a claim. No language model reads claims. A log file that a person names may
have other forms too: `kit.values.logread` reads those, and no evaluation uses it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path

from kit.core.errors import SchemaError
from kit.values.output import read_lines
from kit.values.run_result import OutputStream, Point

MAX_CLAIM = 256
"""Bytes of the longest line that can be a claim; upstream's longest has 92."""


MAX_CLAIMS = 100_000
"""Claims after which the kit kills a guest; upstream's longest runs print about 10,000."""
MAX_STORED_CLAIMS = 110_000
"""Claims that are read from one log: a guest may print some more before it is killed."""


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

VALIDATION = {
    Grammar.STEP: re.compile(rf"{_HEAD}val_loss:(?P<loss>{_LOSS}) {_TIME}", re.ASCII),
    Grammar.LLM_C: re.compile(rf"s:(?P<step>{_N}) tel:(?P<loss>{_LOSS})", re.ASCII),
    Grammar.CLASSIC: re.compile(rf"val loss (?P<loss>{_LOSS})", re.ASCII),
}
TRAINING = {
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
    Parse one line, without its line end, as a claim; return None for any other line.

    `last` is the previous claim. Only `classic` uses it: a `val loss` line has the step of the training line
    before it, or 0. `total_steps` is 0 until a line states it. A loss printed as `inf` becomes NaN. `host_ns`
    is the line's stamp. The order of steps and times is not checked.
    """
    if len(line) > MAX_CLAIM:
        return None
    match = VALIDATION[grammar].fullmatch(line) or TRAINING[grammar].fullmatch(line)
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
    """A parser of the pieces of a guest's output, in order of arrival."""

    def __init__(self, grammar: Grammar) -> None:
        self.grammar = grammar
        self._last: Point | None = None

    def feed(
        self, piece: bytes, stream: OutputStream, whole: bool, host_ns: int | None = None
    ) -> Point | None:
        r"""
        Return the claim in one stored piece with its stamp; None for stderr, a partial line or other text.

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
    Derive a run's claims again from its stored output.

    Raises as `read_pieces`, and `SchemaError` if there are more than `MAX_STORED_CLAIMS`.
    """
    claims = ClaimReader(grammar)
    lines = read_lines(log, stamps, MAX_CLAIM + 1)
    return bounded((claims.feed(data, OutputStream.STDOUT, True, t_ns) for t_ns, data in lines), str(log))


def bounded(points: Iterable[Point | None], where: str) -> tuple[Point, ...]:
    """Collect the claims; raises `SchemaError` if there are more than `MAX_STORED_CLAIMS`."""
    found: list[Point] = []
    for point in points:
        if point is not None:
            found.append(point)
            if len(found) > MAX_STORED_CLAIMS:
                raise SchemaError(
                    f"{where}: more than {MAX_STORED_CLAIMS} claims",
                    "the kit never writes so many; check that this is a run's log",
                )
    return tuple(found)
