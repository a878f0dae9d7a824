"""Say why lines that look like claims are none; `kit.values.log` decides what a claim is."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kit.values.log import MAX_CLAIM, Grammar, parse_line
from kit.values.logtext import plain_text, unwrapped
from kit.values.output import read_pieces
from kit.values.run_result import OutputStream, Point

MAX_LOOKED_AT = 512
"""Bytes of the longest line that is looked at."""
MAX_COUNTED = 100_000
"""Lines after which counting ends."""

_STEP = re.compile(r"\bstep ?[:=]? ?[0-9]|\bs:[0-9]", re.ASCII | re.IGNORECASE)
_VALUE = re.compile(
    r"(?:(?:val|train)(?:idation)?[_ ]loss|train_?time|step_?avg|\bt[er]l) ?[:=]? ?[0-9ni]", re.I
)
_LOSS_ALONE = re.compile(r"\bval(?:idation)?[_ ]loss ?[:=]? ?[0-9]", re.ASCII | re.IGNORECASE)
_MILLISECONDS = re.compile(r"[0-9]{1,10}ms", re.ASCII)
_SECONDS = re.compile(r"[0-9]{1,10}(?:\.[0-9]{1,9})?s", re.ASCII)
_LOSS = re.compile(r"[0-9]{1,4}\.[0-9]{1,20}|nan|inf", re.ASCII)
_AVERAGE = re.compile(r"(?:[0-9]{1,9}\.[0-9]{1,6}|nan|inf)ms", re.ASCII)
_WHOLE = re.compile(r"[0-9]{1,20}", re.ASCII)
_HEAD = re.compile(r"step:[0-9]{1,9}/[0-9]{1,9}(?: |$)", re.ASCII)
_FORMS = {
    Grammar.STEP: "step:N/TOTAL val_loss:X train_time:Tms step_avg:Ams",
    Grammar.LLM_C: "s:N tel:X",
    Grammar.CLASSIC: "val loss X",
}
EXAMPLES = {
    Grammar.STEP: "step:125/5100 val_loss:4.5156 train_time:17750ms step_avg:142.00ms",
    Grammar.LLM_C: "s:19560 tel:3.2722",
    Grammar.CLASSIC: "val loss 3.2755",
}
"""A validation line of each grammar."""

Parse = Callable[[str, Grammar], Point | None]


@dataclass(frozen=True, slots=True)
class LookAlikes:
    """Lines that nearly are claims."""

    lines: int = 0
    """How many; counting ends at `MAX_COUNTED`."""
    reasons: tuple[tuple[str, int], ...] = ()
    """Each reason with its number of lines, the most frequent first."""


def look_alikes(lines: Iterable[bytes], grammar: Grammar, parse: Parse) -> LookAlikes:
    """Count the lines of a file that nearly are claims; `parse` tells which ones are claims."""
    return _counted(
        _fault(line.decode("utf-8", "replace"), grammar, parse)
        for line in lines
        if len(line) <= MAX_LOOKED_AT
    )


def look_alikes_of_run(log: Path, stamps: Path, grammar: Grammar) -> LookAlikes:
    """Count the lines of a run's stored output that nearly are claims. Raises as `read_pieces`."""
    return _counted(
        _fault_of_piece(piece.data, piece.stream, piece.whole, grammar)
        for piece in read_pieces(log, stamps)
        if len(piece.data) <= MAX_LOOKED_AT
    )


def _counted(faults: Iterator[str | None]) -> LookAlikes:
    reasons: Counter[str] = Counter()
    for fault in faults:
        if fault is not None:
            reasons[fault] += 1
            if reasons.total() >= MAX_COUNTED:
                break
    return LookAlikes(reasons.total(), tuple(reasons.most_common()))


def _fault_of_piece(data: bytes, stream: OutputStream, whole: bool, grammar: Grammar) -> str | None:
    line = data.removesuffix(b"\n").decode("utf-8", "replace")
    if stream is OutputStream.STDOUT and whole:
        return _fault(line, grammar, parse_line)
    if parse_line(line, grammar) is None:
        return None
    return (
        "claims count on stdout, not on stderr"
        if stream is OutputStream.STDERR
        else "the line has no line end"
    )


def _fault(line: str, grammar: Grammar, parse: Parse) -> str | None:
    """Return why a line is no claim; None if it is one, or does not look like one."""
    if not _looks_like_a_claim(line) or parse(line, grammar) is not None:
        return None
    for other in Grammar:
        if other is not grammar and parse(line, other) is not None:
            return f"their form is {_FORMS[other]!r}, but the form of this log is {_FORMS[grammar]!r}"
    return _wrapping(line, grammar) or (
        _fault_of_step(unwrapped(_plain(line)), parse is parse_line)
        if grammar is Grammar.STEP
        else f"the form is {_FORMS[grammar]!r}"
    )


def _looks_like_a_claim(line: str) -> bool:
    """Tell whether a line states a step and then a loss or a time, or a validation loss. Linear in time."""
    step = _STEP.search(line)
    return bool((step and _VALUE.search(line, step.end())) or _LOSS_ALONE.search(line))


def _plain(line: str) -> str:
    return plain_text(line.encode(), "the line").decode("utf-8", "replace").rstrip("\n")


def _wrapping(line: str, grammar: Grammar) -> str | None:
    """Return what surrounds a claim, if it would be one without."""
    if len(line) > MAX_CLAIM:
        return f"the line is longer than {MAX_CLAIM} bytes"
    if parse_line(line.rstrip("\r"), grammar):
        return "the line ends in CR LF, not in LF alone"
    if parse_line(_plain(line), grammar):
        return "the line contains colour codes"
    if parse_line(line.strip(), grammar):
        return "the line begins or ends with a space"
    if parse_line(unwrapped(_plain(line)), grammar):
        return "the line begins with a prefix"
    return None


def _fault_of_step(text: str, exact: bool) -> str:
    """Return the first field of a line that is wrong; `exact` if only the form of a run's claims counts."""
    head = _HEAD.match(text)
    if head is None:
        return "the line must begin with step:N/TOTAL"
    words = [word.partition(":") for word in text[head.end() :].split(" ")]
    if not all(name and colon and value for name, colon, value in words):
        return "fields are name:value, with one space between them"
    fields = {name: value for name, _, value in words}
    if len(fields) != len(words):
        return "a field is printed twice"
    for name in ("train_time", "step_avg"):
        if name not in fields:
            return f"{name} is missing"
    faults = (
        *(_fault_of_loss(name, fields[name]) for name in ("val_loss", "train_loss") if name in fields),
        _fault_of_time(fields["train_time"], exact),
        _fault_of_average(fields["step_avg"]),
    )
    return next((fault for fault in faults if fault), None) or _fault_of_order(list(fields))


def _fault_of_order(names: list[str]) -> str:
    further = next((n for n in names if n not in ("val_loss", "train_loss", "train_time", "step_avg")), None)
    if further is not None:
        return "only the fields step, val_loss or train_loss, train_time and step_avg may be printed"
    return "the order of the fields is step, val_loss or train_loss, train_time, step_avg"


def _fault_of_loss(name: str, value: str) -> str | None:
    if _LOSS.fullmatch(value):
        return None
    if _WHOLE.fullmatch(value):
        return f"{name} needs a decimal point"
    return f"{name} must be a number such as 3.2755, with at most 20 decimals"


def _fault_of_time(value: str, exact: bool) -> str | None:
    if _MILLISECONDS.fullmatch(value) or (not exact and _SECONDS.fullmatch(value)):
        return None
    if _SECONDS.fullmatch(value):
        return "train_time must be in whole milliseconds, not in seconds"
    return "train_time must be in whole milliseconds, such as 721882ms"


def _fault_of_average(value: str) -> str | None:
    if _AVERAGE.fullmatch(value):
        return None
    if _WHOLE.fullmatch(value.removesuffix("ms")) and value.endswith("ms"):
        return "step_avg needs a decimal point"
    return "step_avg must be a number such as 141.82ms, with at most 6 decimals"
