"""
Find characters that make source code look different from what runs.

These are invisible characters, unusual spaces, characters that change the text direction, and identifiers
with look-alike letters.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

INVISIBLE = frozenset({"Cf", "Co", "Cs", "Zl", "Zp"})
"""Categories of invisible characters: format, private use, surrogates, separators."""
UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u2800\u3164\ufe00-\ufe0f\uffa0\ufff0-\ufff8"
    "\ufdd0-\ufdef\ufffe\uffff\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""Invisible characters of other categories: fillers, variation selectors and the like."""
TOKENS = re.compile(
    r"""(?s)[rRbBuUfF]{0,2}(?:\"{3}(?:\\.|[^\\])*?(?:\"{3}|\Z)|'{3}(?:\\.|[^\\])*?(?:'{3}|\Z)"""
    r"""|"(?:\\.|[^"\\\n])*(?:"|\n|\Z)|'(?:\\.|[^'\\\n])*(?:'|\n|\Z))|\#[^\n\r]*|(?P<word>\w+)"""
)
"""Strings, comments and words of Python."""
SCRIPTS = ("LATIN ", "GREEK ", "COMBINING ", "SUBSCRIPT ", "DIGIT ")
LONGEST = 60
"""Characters of a line that a description shows."""


def odd_characters(text: str, is_python: bool) -> Iterator[tuple[str, int]]:
    """Yield each odd character with its line number; equal lines give equal texts."""
    if text.isascii() and not re.search(r"[\x00-\x08\x0b\x0e-\x1f\x7f]|\r(?!\n)", text):
        return
    for number, line in enumerate(text.split("\n"), 1):
        body = line.removesuffix("\r")
        if not (body.isascii() and body.isprintable()):
            for character in sorted(set(body)):
                if _is_hidden(character):
                    yield f"{_name(character)} in the line {body.strip()[:LONGEST]!a}", number
    if is_python and not text.isascii():
        yield from _words(text)


def _is_hidden(character: str) -> bool:
    if character.isascii():
        return not character.isprintable() and character not in "\t\f"
    category = unicodedata.category(character)
    return (
        category in INVISIBLE or category == "Cc" or category == "Zs" or UNSEEN.match(character) is not None
    )


def _words(text: str) -> Iterator[tuple[str, int]]:
    """Yield the identifiers with misleading letters."""
    line, at = 1, 0
    for match in TOKENS.finditer(text):
        word = match["word"]
        if word is None or word.isascii() or not word.isidentifier():
            continue
        line += text.count("\n", at, match.start())
        at = match.start()
        normal = unicodedata.normalize("NFKC", word)
        if normal != word:
            yield (
                f"the identifier {word[:LONGEST]!a}, which Python reads as {normal[:LONGEST]!a}",
                line,
            )
        elif not all(c.isascii() or unicodedata.name(c, "").startswith(SCRIPTS) for c in word):
            yield f"the identifier {word[:LONGEST]!a}, which has look-alike letters", line


def _name(character: str) -> str:
    return f"U+{ord(character):04X} {unicodedata.name(character, 'unnamed')}"
