"""
Parse a model's answer: SEARCH/REPLACE blocks, or whole files in code fences. Applies nothing.

A block is `<<<<<<< SEARCH`, the old lines, `=======`, the new lines, `>>>>>>> REPLACE`. Its three markers
have the same length, 5 to 9 characters, so that a text which holds one can be quoted. The name of a file
stands on the line above a block or its fence.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

MAX_ANSWER = 2 << 20
"""Characters of an answer that are parsed; a longer one is refused."""
MAX_BLOCKS = 200

_HEAD = re.compile(r"(<{5,9})[ \t]*SEARCH[ \t]*:?[ \t]*")
_FENCE = re.compile(r"[ \t]{0,3}(`{3,}|~{3,})[ \t]*([^`]*)")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.-]*)*\.[A-Za-z0-9]+")
_DECORATION = " \t*_`#:\"'"


@dataclass(frozen=True, slots=True)
class Block:
    """One replacement: lines to find in a file, and the lines to put in their place."""

    name: str | None
    """The file's name, if the answer gives one."""
    search: tuple[str, ...]
    replace: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WholeFile:
    """The complete text of one file."""

    name: str | None
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What an answer holds; blocks win over whole files."""

    blocks: tuple[Block, ...] = ()
    files: tuple[WholeFile, ...] = ()
    fault: str = ""
    """Why the answer cannot be read as edits; empty if it can."""


def parse_answer(text: str) -> Answer:
    """Return the edits in an answer, or the fault that makes it unreadable."""
    if len(text) > MAX_ANSWER:
        return Answer(fault=f"the answer has {len(text):,} characters; at most {MAX_ANSWER:,} are read")
    if "\0" in text:
        return Answer(fault="the answer contains a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        return Answer(fault="the answer contains characters that are not valid Unicode")
    lines = text.replace("\r\n", "\n").split("\n")
    if any(_HEAD.fullmatch(line) for line in lines):
        return _blocks(lines)
    return _whole_files(lines)


def _blocks(lines: Sequence[str]) -> Answer:
    blocks: list[Block] = []
    at = 0
    while at < len(lines):
        head = _HEAD.fullmatch(lines[at])
        if head is None:
            at += 1
            continue
        number, size = len(blocks) + 1, len(head[1])
        middle = _find(lines, at + 1, re.compile("=" * size + r"[ \t]*"), size)
        if middle is None:
            return Answer(fault=f"block {number} has no line {'=' * size!r} after its SEARCH line")
        tail = _find(lines, middle + 1, re.compile(">" * size + r"[ \t]*REPLACE[ \t]*"), size)
        if tail is None:
            return Answer(fault=f"block {number} has no line {'>' * size + ' REPLACE'!r}")
        blocks.append(
            Block(_name_above(lines, at), tuple(lines[at + 1 : middle]), tuple(lines[middle + 1 : tail]))
        )
        if len(blocks) > MAX_BLOCKS:
            return Answer(fault=f"the answer has more than {MAX_BLOCKS} blocks")
        at = tail + 1
    return Answer(blocks=tuple(blocks))


def _find(lines: Sequence[str], start: int, marker: re.Pattern[str], size: int) -> int | None:
    """Return the first line that is `marker`; None if another block of the same size begins before it."""
    for at in range(start, len(lines)):
        if marker.fullmatch(lines[at]):
            return at
        head = _HEAD.fullmatch(lines[at])
        if head and len(head[1]) == size:
            return None
    return None


def _name_above(lines: Sequence[str], at: int) -> str | None:
    """Return the file's name on the line above line `at`, or above the fence that opens there."""
    above = at - 1
    if above >= 0 and (fence := _FENCE.fullmatch(lines[above])):
        if named := _as_name(fence[2].split(" ")[-1]):
            return named
        above -= 1
    while above >= 0 and not lines[above].strip():
        above -= 1
    return _as_name(lines[above]) if above >= 0 else None


def _as_name(line: str) -> str | None:
    stripped = line.strip(_DECORATION)
    return stripped if len(stripped) <= 200 and _NAME.fullmatch(stripped) else None


def _whole_files(lines: Sequence[str]) -> Answer:
    files: list[WholeFile] = []
    at = 0
    while at < len(lines):
        fence = _FENCE.fullmatch(lines[at])
        if fence is None:
            at += 1
            continue
        close = re.compile(rf"[ \t]{{0,3}}{re.escape(fence[1][0])}{{{len(fence[1])},}}[ \t]*")
        end = next((i for i in range(at + 1, len(lines)) if close.fullmatch(lines[i])), None)
        if end is None:
            return Answer(fault="a code fence is not closed; was the answer cut off?")
        name = _as_name(fence[2].split(" ")[-1]) or _name_above(lines, at)
        files.append(WholeFile(name, (*lines[at + 1 : end], "")))
        if len(files) > MAX_BLOCKS:
            return Answer(fault=f"the answer has more than {MAX_BLOCKS} code blocks")
        at = end + 1
    if not files:
        return Answer(fault="the answer has neither a SEARCH/REPLACE block nor a file in a code fence")
    return Answer(files=tuple(files))
