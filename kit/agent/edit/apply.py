"""Apply a model's answer to a script's files: all of its edits, or none with a reason."""

from __future__ import annotations

import ast
import difflib
import itertools
import warnings
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from kit.agent.edit.answer import Block, WholeFile, parse_answer
from kit.agent.edit.match import Place, find_place
from kit.audit.parsing import require_parsable
from kit.benchmark.submission import entry_of
from kit.benchmark.workspace import MAX_BYTES, MAX_FILES, VIRTUAL_ENVIRONMENT, is_left_out

SHORTEST_SHARE = 0.6
"""A whole file with fewer lines than this share of the old one counts as cut short."""
MAX_LINES = 10_000
"""Lines of a file before and after an edit; the time to compare two files grows faster than their lines."""
_LEFT_OUT = ("rest", "remain", "existing", "unchanged", "same", "omitted", "previous", "before")


@dataclass(frozen=True, slots=True)
class EditResult:
    """The changed files, or the reason why the answer was refused."""

    applied: Mapping[str, bytes] | None
    """All files of the submission after the edit; None if the answer was refused."""
    reason: str
    """Why the answer was refused, for the model; empty if it was applied."""
    diff: str
    """The change as a unified diff; empty if the answer was refused."""
    kind: str = ""
    """`blocks` or `whole`; empty if the answer holds neither."""


class _Refusal(Exception):
    """Ends the reading of an answer; its text is for the model."""


def apply_answer(parent: Mapping[str, bytes], answer: str, entry: str | None = None) -> EditResult:
    """
    Return `parent` with the edits of `answer` applied.

    Refused, with a reason that says what to change: an unreadable answer, old lines that match no place or
    several, an empty SEARCH in an existing file, overlapping blocks, a whole file that is cut short or skips
    parts, a result that equals `parent`, breaks the limits of a submission, or is not valid Python.
    `parent` is UTF-8 text; its line ends are kept. An edit without a file name changes `entry`; None
    stands for the training script in `parent`.
    """
    parsed = parse_answer(answer)
    entry = entry or entry_of(parent)
    kind = "blocks" if parsed.blocks else "whole" if parsed.files else ""
    try:
        if parsed.fault:
            raise _Refusal(parsed.fault)
        texts = {name: _text(name, data) for name, data in parent.items()}
        if parsed.blocks:
            changed = _with_blocks(texts, parsed.blocks, entry)
        else:
            changed = _with_files(texts, parsed.files, entry)
        files = {name: _encoded(text, parent.get(name)) for name, text in changed.items()}
        _require_change(parent, files)
        _require_limits(files)
        _require_names(files, parent)
        _require_python({name: data for name, data in files.items() if data != parent.get(name)})
    except _Refusal as e:
        return EditResult(None, str(e), "", kind)
    return EditResult(dict(sorted(files.items())), "", unified_diff(parent, files), kind)


def unified_diff(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> str:
    """Return the difference of two sets of files as a unified diff, sorted by name."""
    parts: list[str] = []
    for name in sorted({*before, *after}):
        old, new = (files.get(name, b"").decode("utf-8", "replace") for files in (before, after))
        lines = difflib.unified_diff(old.split("\n"), new.split("\n"), f"a/{name}", f"b/{name}", lineterm="")
        parts += lines
    return "\n".join(parts) + ("\n" if parts else "")


def _text(name: str, data: bytes) -> str:
    try:
        text = data.decode().replace("\r\n", "\n")
    except UnicodeDecodeError as e:
        raise _Refusal(f"{name} is not UTF-8 text and cannot be edited") from e
    if text.count("\n") >= MAX_LINES:
        raise _Refusal(f"{name} has more than {MAX_LINES:,} lines and cannot be edited")
    return text


def _encoded(text: str, before: bytes | None) -> bytes:
    windows = before is not None and b"\r\n" in before
    return (text.replace("\n", "\r\n") if windows else text).encode()


def _with_blocks(texts: Mapping[str, str], blocks: Sequence[Block], entry: str) -> dict[str, str]:
    places: dict[str, list[tuple[int, Place]]] = {}
    changed = dict(texts)
    for number, block in enumerate(blocks, start=1):
        name = _named(block.name, texts, entry)
        if not any(line.strip() for line in block.search):
            if name in changed:
                raise _Refusal(
                    f"block {number} ({name}): its SEARCH part is empty; quote the lines to replace"
                )
            changed[name] = "\n".join((*block.replace, ""))
            continue
        if name not in texts:
            raise _Refusal(
                f"block {number}: there is no file {name}; its SEARCH part must be empty to create it"
            )
        _require_whole(f"block {number} ({name})", block.replace, block.search)
        place = find_place(texts[name].split("\n"), block.search, block.replace)
        if isinstance(place, str):
            raise _Refusal(f"block {number} ({name}): {place}")
        places.setdefault(name, []).append((number, place))
    for name, found in places.items():
        changed[name] = _replaced(texts[name].split("\n"), name, found)
    return changed


def _replaced(lines: list[str], name: str, found: list[tuple[int, Place]]) -> str:
    ordered = sorted(found, key=lambda item: item[1].start)
    for (first, a), (second, b) in itertools.pairwise(ordered):
        if b.start < a.end:
            raise _Refusal(
                f"blocks {first} and {second} ({name}) change the same lines; join them into one block"
            )
    for _, place in reversed(ordered):
        lines[place.start : place.end] = place.lines
    return "\n".join(lines)


def _with_files(texts: Mapping[str, str], files: Sequence[WholeFile], entry: str) -> dict[str, str]:
    unnamed = [file for file in files if file.name is None]
    if len(files) > 1 and unnamed:
        raise _Refusal(
            f"the answer has {len(files)} code blocks, {len(unnamed)} of them without a file name; "
            "give the whole file in one block, or put each file's name on the line above its block"
        )
    changed = dict(texts)
    seen: set[str] = set()
    for file in files:
        name = file.name or entry
        if name in seen:
            raise _Refusal(f"the answer gives {name} twice")
        seen.add(name)
        before = texts.get(name, "").split("\n")
        _require_whole(name, file.lines, before)
        if len(file.lines) < SHORTEST_SHARE * len(before):
            raise _Refusal(
                f"{name} has {len(file.lines) - 1} lines in the answer and {len(before) - 1} before; "
                "give the whole file, or SEARCH/REPLACE blocks"
            )
        changed[name] = "\n".join(file.lines)
    return changed


def _named(name: str | None, texts: Mapping[str, str], entry: str) -> str:
    """Return the file that a block means; a bare name means the one file of that name in any folder."""
    if name is None:
        return entry
    if name in texts:
        return name
    same = [known for known in texts if known.rsplit("/", 1)[-1] == name.rsplit("/", 1)[-1]]
    return same[0] if len(same) == 1 and "/" not in name else name


def _require_whole(where: str, lines: Sequence[str], before: Sequence[str]) -> None:
    known = {line.strip() for line in before}
    for line in lines:
        if line.strip() not in known and _stands_for_code(line):
            raise _Refusal(
                f"{where}: the line {line.strip()!r} stands for code that is left out; write all lines"
            )


def _stands_for_code(line: str) -> bool:
    """Tell whether a line is a comment such as `# ... rest of the model unchanged ...`."""
    comment = line.strip().lower()
    if not comment.startswith(("#", "//")):
        return False
    dots = "..." in comment or "\N{HORIZONTAL ELLIPSIS}" in comment
    return any(word in comment for word in _LEFT_OUT) and (dots or "unchanged" in comment)


def _require_change(parent: Mapping[str, bytes], files: Mapping[str, bytes]) -> None:
    if all(files[name] == parent.get(name) for name in files):
        raise _Refusal("the edit changes nothing: the result equals the file it starts from")


def _require_limits(files: Mapping[str, bytes]) -> None:
    size = sum(map(len, files.values()))
    if size > MAX_BYTES:
        raise _Refusal(f"the files have {size:,} bytes; a submission has at most {MAX_BYTES:,}")
    for name, data in files.items():
        if data.count(b"\n") >= MAX_LINES:
            raise _Refusal(f"{name} would have more than {MAX_LINES:,} lines")
    if len(files) > MAX_FILES:
        raise _Refusal(f"there are {len(files)} files; a submission has at most {MAX_FILES}")


def _require_names(files: Mapping[str, bytes], parent: Mapping[str, bytes]) -> None:
    if fault := name_fault(files, parent):
        raise _Refusal(fault)


def name_fault(files: Iterable[str], known: Container[str] = ()) -> str:
    """
    Return which file no run would get, or is the directory of another file; empty if there is none.

    Names in `known` are not judged.
    """
    names = sorted(files)
    directories = {folder.as_posix() for name in names for folder in PurePosixPath(name).parents}
    for name in names:
        if name in directories:
            return f"{name} cannot be a file and a directory"
        *folders, last = PurePosixPath(name).parts
        left_out = is_left_out(last, False) or last == VIRTUAL_ENVIRONMENT
        if name not in known and (left_out or any(is_left_out(folder, True) for folder in folders)):
            return f"{name}: a submission leaves out files of this name; choose another name"
    return ""


def _require_python(files: Mapping[str, bytes]) -> None:
    for name, data in sorted(files.items()):
        if not name.endswith(".py"):
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                require_parsable(data.decode("latin-1"))
                ast.parse(data, name)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as e:
            line = f" line {e.lineno}" if isinstance(e, SyntaxError) and e.lineno else ""
            said = e.msg if isinstance(e, SyntaxError) else type(e).__name__
            raise _Refusal(f"{name}{line} is not valid Python after the edit: {said}") from e
