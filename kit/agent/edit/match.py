"""
Find the one place of a block's old lines in a file, and say what is there if there is none.

Three ways, in this order: the exact lines; the lines without trailing blanks; the lines with one indentation
more or less throughout. The first way that finds a place decides: two places are a refusal, not a choice.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

NEAREST_LINES = 8
"""Lines of the file that are quoted where a block is not found."""
_COMPARED = 20_000
"""Lines of a file that are compared for the nearest place."""
_WIDTH = 200
"""Characters of a line that are compared."""


@dataclass(frozen=True, slots=True)
class Place:
    """Lines `start` to `end` (not included) of a file, and the lines that replace them."""

    start: int
    end: int
    lines: tuple[str, ...]


def find_place(lines: Sequence[str], search: Sequence[str], replace: Sequence[str]) -> Place | str:
    """
    Return where `search` stands in `lines`, with `replace` fitted to it, or the reason why not.

    `search` has at least one line with text.
    """
    for fits in (_exact, _without_trailing_blanks):
        starts = _starts(lines, search, fits)
        if len(starts) == 1:
            return Place(starts[0], starts[0] + len(search), tuple(replace))
        if starts:
            return _ambiguous(starts)
    shifted = [
        (at, shift) for at in _windows(lines, search) if (shift := _shift(lines, at, search)) is not None
    ]
    if len(shifted) > 1:
        return _ambiguous([at for at, _ in shifted])
    if shifted:
        at, (added, removed) = shifted[0]
        moved = _moved(replace, added, removed)
        if moved is None:
            return f"its SEARCH lines are indented more than line {at + 1}, but its REPLACE lines are not"
        return Place(at, at + len(search), moved)
    return _not_found(lines, search)


def _exact(line: str, wanted: str) -> bool:
    return line == wanted


def _without_trailing_blanks(line: str, wanted: str) -> bool:
    return line.rstrip() == wanted.rstrip()


def _windows(lines: Sequence[str], search: Sequence[str]) -> range:
    return range(max(0, len(lines) - len(search) + 1))


def _starts(lines: Sequence[str], search: Sequence[str], fits: Callable[[str, str], bool]) -> list[int]:
    return [
        at
        for at in _windows(lines, search)
        if all(fits(lines[at + i], wanted) for i, wanted in enumerate(search))
    ]


def _shift(lines: Sequence[str], at: int, search: Sequence[str]) -> tuple[str, str] | None:
    """Return the indentation that the file has more, and less, than the block; None if it is not one."""
    shift: tuple[str, str] | None = None
    for i, wanted in enumerate(search):
        line = lines[at + i]
        if line.strip() != wanted.strip():
            return None
        if not wanted.strip():
            continue
        ours, theirs = _indentation(line), _indentation(wanted)
        if ours.endswith(theirs):
            here = (ours[: len(ours) - len(theirs)], "")
        elif theirs.endswith(ours):
            here = ("", theirs[: len(theirs) - len(ours)])
        else:
            return None
        if shift is not None and here != shift:
            return None
        shift = here
    return shift


def _indentation(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _moved(replace: Sequence[str], added: str, removed: str) -> tuple[str, ...] | None:
    moved: list[str] = []
    for line in replace:
        if not line.strip():
            moved.append(line)
        elif line.startswith(removed):
            moved.append(added + line[len(removed) :])
        else:
            return None
    return tuple(moved)


def _ambiguous(starts: Sequence[int]) -> str:
    listed = ", ".join(str(at + 1) for at in starts[:5]) + (", ..." if len(starts) > 5 else "")
    return f"its SEARCH lines match {len(starts)} places (lines {listed}); add a line that occurs only there"


def _not_found(lines: Sequence[str], search: Sequence[str]) -> str:
    first = next(line.strip() for line in search if line.strip())
    compared = [line.strip()[:_WIDTH] for line in lines[:_COMPARED]]
    near = difflib.get_close_matches(first[:_WIDTH], compared, n=1, cutoff=0.6)
    if not near:
        return "its SEARCH lines are not in the file; copy them exactly from the file"
    offset = next(i for i, line in enumerate(search) if line.strip())
    start = max(0, compared.index(near[0]) - offset)
    quoted = "\n".join(lines[start : start + min(len(search), NEAREST_LINES)])
    return f"its SEARCH lines are not in the file; the nearest lines start at line {start + 1}:\n{quoted}"
