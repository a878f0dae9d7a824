"""
Make untrusted text safe to display as one printable line.

A bundle, a capsule, a log, an entry or a file name can contain line ends, control characters, characters that
reorder or hide text, and stacked combining marks. Each of them is replaced by U+FFFD.
"""

from __future__ import annotations

import json
import re
import shlex
import unicodedata
from pathlib import Path

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
MAX_MARKS = 4
"""Largest number of combining marks in a row; no language stacks more on one letter."""
MAX_SHOWN = 300
"""Default for the largest number of characters shown of one value."""

_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U00016fe4\U0001d159\U000e0000-\U000e0fff]"
)
"""Invisible characters that Python calls printable: fillers, blanks and variation selectors."""
_BLANKS = re.compile(" {2,}")


def printable(text: str) -> str:
    """
    Replace every character of `text` that a reader cannot see as it is; truncate nothing.

    Replaced: line ends and tabs, Unicode's Cc, Cf, Cs, Co, Cn, Zl, Zp and all of Zs except the space,
    invisible characters, and combining marks without a letter or beyond `MAX_MARKS` in a row.
    """
    if text.isascii() and text.isprintable():
        return text
    marks = _stray_marks(text)
    return "".join(REPLACEMENT if i in marks or _is_hidden(c) else c for i, c in enumerate(text))


def one_line(text: str, limit: int = MAX_SHOWN) -> str:
    """
    Return `text` as one printable value of at most `limit` characters, for the middle of a line.

    Collapses repeated spaces, so that a value cannot fill the rest of a terminal line; see `printable`.
    """
    line = _BLANKS.sub(" ", printable(text[: 4 * limit])).strip(" ")
    return line if len(line) <= limit and len(text) <= 4 * limit else line[: limit - 1] + "…"


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: `1 run`, `2 runs`. `plural` is for nouns that do not just add an s."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def named_once(path: Path, message: str) -> str:
    """Return a message that names `path` once: at its beginning, unless the message does so itself."""
    before, whole, name = r"(?<![\w./-])", re.escape(str(path)), re.escape(path.name)
    if re.search(rf"{before}{whole}(?![\w-]|\.\w)", message):
        return message
    changed, found = re.subn(rf"{before}{name}:", lambda _: f"{path}:", message, count=1)
    return changed if name and found else f"{path}: {message}"


def is_printable(text: str) -> bool:
    """Tell whether `printable` returns `text` unchanged."""
    return printable(text) == text


def escape_json(text: str) -> str:
    """Escape every character of a JSON document that `printable` would replace, except line ends."""
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
    """Return the positions of combining marks without a letter before them or beyond `MAX_MARKS` in a row."""
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


def in_shell(*words: str | Path) -> str:
    """Return paths or other words as a command that a person copies into a shell must have them."""
    return shlex.join(map(str, words))
