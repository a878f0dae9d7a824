"""External knowledge: files of text that a user puts into the prompt, identified by their bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kit.core.digest import Sha256, sha256_bytes
from kit.core.errors import PrerequisiteError, SchemaError, UsageError
from kit.core.reading import open_file

MAX_KNOWLEDGE = 400_000
"""Bytes of all files together; about 130,000 tokens."""


@dataclass(frozen=True, slots=True)
class Knowledge:
    """One file of external knowledge."""

    name: str
    sha256: Sha256
    text: str


def load_knowledge(paths: Sequence[Path]) -> tuple[Knowledge, ...]:
    """
    Read files of external knowledge, in the given order.

    Raises `PrerequisiteError` for a missing file or a directory, `SchemaError` for a file that is not UTF-8,
    `UsageError` for two files of one name or more than `MAX_KNOWLEDGE` bytes.
    """
    loaded: list[Knowledge] = []
    left = MAX_KNOWLEDGE
    for path in paths:
        data = _read(path, left)
        left -= len(data)
        if any(k.name == path.name for k in loaded):
            raise UsageError(f"two knowledge files are called {path.name}", "rename one of them")
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as e:
            raise SchemaError(f"{path} is not UTF-8 text", "give a text file, such as Markdown") from e
        loaded.append(Knowledge(path.name, sha256_bytes(data), text))
    return tuple(loaded)


def _read(path: Path, limit: int) -> bytes:
    if path.is_dir():
        raise PrerequisiteError(f"{path} is a directory", "name each file with its own --knowledge")
    try:
        with open_file(path) as f:
            data = f.read(limit + 1)
    except OSError as e:
        raise PrerequisiteError(
            f"cannot read the knowledge file {path}: {e.strerror}", "pass the path of a readable file"
        ) from e
    if len(data) > limit:
        raise UsageError(
            f"the knowledge files are larger than {MAX_KNOWLEDGE:,} bytes in all", "give shorter excerpts"
        )
    return data
