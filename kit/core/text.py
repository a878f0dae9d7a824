"""
Make text from elsewhere safe to show: one printable line, whatever it holds. Judges no meaning.

A bundle, a capsule, a log, an entry or a file name may hold line ends, control characters, characters that
reorder or hide text, and marks stacked on each other. Each of them becomes U+FFFD before it is shown.
"""

from __future__ import annotations

import json
import re
import unicodedata

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
MAX_MARKS = 4
"""Combining marks in a row that are shown; no language stacks more on one letter."""
MAX_SHOWN = 300
"""Characters of one value that are shown, unless the caller says otherwise."""

_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U00016fe4\U0001d159\U000e0000-\U000e0fff]"
)
"""Characters that Python calls printable and no font draws: fillers, blanks and variation selectors."""
_BLANKS = re.compile(" {2,}")


def printable(text: str) -> str:
    """
    Return `text` with every character replaced that a reader would not see as it is; nothing is cut.

    Replaced: line ends and tabs, Unicode's Cc, Cf, Cs, Co, Cn, Zl, Zp and all of Zs but the space,
    characters without a shape, and combining marks without a letter or beyond `MAX_MARKS` in a row.
    """
    if text.isascii() and text.isprintable():
        return text
    marks = _stray_marks(text)
    return "".join(REPLACEMENT if i in marks or _is_hidden(c) else c for i, c in enumerate(text))


def one_line(text: str, limit: int = MAX_SHOWN) -> str:
    """
    Return `text` as one printable value of at most `limit` characters, for the middle of a line.

    Runs of blanks become one, so that no value fills the rest of a terminal's line; see `printable`.
    """
    line = _BLANKS.sub(" ", printable(text[: 4 * limit])).strip(" ")
    return line if len(line) <= limit and len(text) <= 4 * limit else line[: limit - 1] + "…"


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: `1 run`, `2 runs`. `plural` is for nouns that do not just add an s."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def is_printable(text: str) -> bool:
    """Tell whether `printable` would change nothing."""
    return printable(text) == text


def escape_json(text: str) -> str:
    """Return a JSON document with every character escaped that `printable` replaces; line ends stay."""
    if text.isascii():
        return text.replace("\x7f", "\\u007f")
    marks = _stray_marks(text)
    return "".join(
        json.dumps(c)[1:-1] if c != "\n" and (i in marks or c == "\x7f" or _is_hidden(c)) else c
        for i, c in enumerate(text)
    )


def _is_hidden(character: str) -> bool:
    return not character.isprintable() or _INVISIBLE.match(character) is not None


def _stray_marks(text: str) -> set[int]:
    """Return where combining marks stand that have no letter before them or too many of their kind."""
    stray: set[int] = set()
    run, base = 0, False
    for i, character in enumerate(text):
        if unicodedata.category(character) not in ("Mn", "Me"):
            run, base = 0, character != " " and not _is_hidden(character)
            continue
        run += 1
        if not base or run > MAX_MARKS:
            stray.add(i)
    return stray
