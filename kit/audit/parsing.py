"""
Parse the Python files of a script as Python 3.11 does, if that takes a time that grows with their size alone.

What Python's parser takes far longer for is refused before it is parsed, and so is more code than any script
of this benchmark has: everything that looks at the parsed files takes time for each token.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
import warnings
from collections.abc import Iterable
from dataclasses import dataclass

MAX_PARTS = 1000
"""Parts of a dotted name. The parser refuses longer ones anyway, unless they are of modules."""
MAX_WORD, MAX_DOTTED = 255, 4096
"""Characters of a name and of a dotted name."""
MAX_FORMATTED = 8192
"""Characters of an f-string: the parser searches all of it for each of its expressions."""
MAX_TOKENS = 1 << 18
"""Words and operators of all files of a script; the largest script of a record has 45,000."""
LEXEMES = re.compile(
    r"""(?s)(?P<prefix>[rRbBuUfF]{0,2})"""
    r"""(?P<string>\"{3}(?:\\.|[^\\])*?(?:\"{3}|\Z)|'{3}(?:\\.|[^\\])*?(?:'{3}|\Z)"""
    r"""|"(?:\\.|[^"\\\n])*(?:"|\n|\Z)|'(?:\\.|[^'\\\n])*(?:'|\n|\Z))"""
    r"""|\#[^\n\r]*|(?P<word>\w+)|(?P<operator>[^\w\s])"""
)
"""Strings, comments, words and single characters of operators."""
_TOKEN = re.compile(r"\w+|[^\w\s]")
_DOTTED = re.compile(r"\b\w++(?:[\s\\]*+\.[\s\\]*+\w++)+")
"""Linear in the text: nothing is matched twice."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a script."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class ParsedFile:
    """One file of a script, with its syntax tree if it is a Python file, or why there is none."""

    file: SourceFile
    tree: ast.Module | None = None
    error: Exception | None = None


def parse_files(files: Iterable[SourceFile]) -> tuple[ParsedFile, ...]:
    """Parse the Python files of a script. The others have neither a tree nor an error."""
    parsed: list[ParsedFile] = []
    left = MAX_TOKENS
    for file in files:
        if not file.name.endswith(".py"):
            parsed.append(ParsedFile(file))
            continue
        try:
            text = text_of(file.data)
            left -= require_parsable(text, left)
            parsed.append(ParsedFile(file, _parsed(text)))
        except (SyntaxError, ValueError, RecursionError, MemoryError) as e:
            parsed.append(ParsedFile(file, error=e.with_traceback(None)))
    return tuple(parsed)


def parse(text: str) -> ast.Module:
    """Parse a script as Python 3.11 does. Raises what `ast.parse` and `require_parsable` raise."""
    require_parsable(text)
    return _parsed(text)


def _parsed(text: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # upstream has `\s` in docstrings, which only warns
        return ast.parse(text, feature_version=(3, 11))


def parse_annotation(text: str) -> ast.expr:
    """Parse an annotation that is written as a string. Raises what `parse` raises."""
    require_parsable(text)
    return ast.parse(text.strip(), mode="eval", feature_version=(3, 11)).body


def require_parsable(text: str, tokens: int = MAX_TOKENS) -> int:
    """
    Return the number of tokens, or raise `SyntaxError` for a text that takes Python's parser too long.

    For each part of a module's name that parser copies all before it: one line of `import a.a.a...` with half
    a megabyte takes more than 30 GB. An f-string of one megabyte takes it more than a minute.
    """
    for name in _DOTTED.finditer(text):
        if len(name[0]) > MAX_PARTS and name[0].count(".") >= MAX_PARTS:
            raise _refused(f"a name of more than {MAX_PARTS} parts", text, name.start())
        if len(name[0]) > MAX_DOTTED:
            raise _refused(f"a dotted name of more than {MAX_DOTTED} characters", text, name.start())
    count = 0
    for lexeme in LEXEMES.finditer(text):
        match lexeme.lastgroup:
            case "word":
                count += 1
                if len(lexeme[0]) > MAX_WORD and not lexeme[0][0].isdigit():
                    raise _refused(f"a name of more than {MAX_WORD} characters", text, lexeme.start())
            case "operator":
                count += 1
            case "string" if "f" in lexeme["prefix"].lower():
                if len(lexeme[0]) > MAX_FORMATTED:
                    raise _refused(
                        f"an f-string of more than {MAX_FORMATTED} characters", text, lexeme.start()
                    )
                count += len(_TOKEN.findall(lexeme["string"]))
            case "string":
                count += 1
        if count > tokens:
            raise _refused(f"a script of more than {MAX_TOKENS} tokens", text, lexeme.start())
    return count


def _refused(what: str, text: str, at: int) -> SyntaxError:
    line = text.count("\n", 0, at) + 1
    return SyntaxError(f"{what} in line {line}")


def text_of(data: bytes) -> str:
    """Decode a script. Raises `ValueError` if it declares an encoding other than UTF-8."""
    encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
    if encoding not in ("utf-8", "utf-8-sig"):
        raise ValueError(f"the declared encoding is {encoding!r}, not UTF-8")
    return data.decode(encoding)
