"""Archive entries: paths of an image, with the source of their bytes."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from kit.core.digest import CHUNK
from kit.core.errors import IntegrityError
from kit.image.inflate import ZipMember, inflated

MERGED = frozenset({"bin", "sbin", "lib", "lib32", "lib64", "libo32", "libx32"})
"""Top-level directories that are links into /usr in Debian 12."""

REMOVE_PACKAGE = "use another version of this package, or remove it from image.toml"
MAX_PATH = 1024
MAX_FILE = 8 << 30
"""Bytes of one file: the limit of a tar header without extensions."""


class EntryKind(StrEnum):
    """The kind of an entry. An image has no other kinds."""

    FOLDER = "folder"
    FILE = "file"
    LINK = "link"


@dataclass(frozen=True, slots=True)
class InlineBytes:
    """Bytes in memory."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Extent:
    """A range of an uncompressed file."""

    path: Path
    offset: int
    size: int


Source = InlineBytes | Extent | ZipMember


@dataclass(frozen=True, slots=True)
class ArchiveEntry:
    """One path of an image, relative to its root. The writer sets owner and time."""

    path: str
    kind: EntryKind
    mode: int
    origin: str
    """File name of the package that contains it."""
    size: int = 0
    source: Source | None = None
    target: str = ""
    """Target of a link, unresolved."""


def folder(path: str, origin: str, mode: int = 0o755) -> ArchiveEntry:
    """Return a directory entry."""
    return ArchiveEntry(path, EntryKind.FOLDER, mode, origin)


def link(path: str, target: str, origin: str) -> ArchiveEntry:
    """Return a symbolic link entry. Raises `IntegrityError` if it leads out of the root."""
    return ArchiveEntry(path, EntryKind.LINK, 0o777, origin, target=safe_target(path, target, origin))


def literal(path: str, data: bytes, origin: str, mode: int = 0o644) -> ArchiveEntry:
    """Return a file entry with these bytes."""
    return ArchiveEntry(path, EntryKind.FILE, mode, origin, len(data), InlineBytes(data))


def chunks(source: Source) -> Iterator[bytes]:
    """Yield a source's bytes. The caller checks their number."""
    match source:
        case InlineBytes(data):
            yield data
        case Extent(path, offset, size):
            with path.open("rb") as f:
                f.seek(offset)
                while size > 0 and (chunk := f.read(min(CHUNK, size))):
                    size -= len(chunk)
                    yield chunk
        case ZipMember():
            yield from inflated(source)


def plain_path(raw: str, origin: str) -> str:
    """
    Return a member's path without empty and `.` parts; `""` is the root.

    Raises `IntegrityError` for an absolute path, `..`, unprintable characters, or a path that is too long.
    """
    parts = [part for part in raw.split("/") if part not in ("", ".")]
    if raw.startswith("/"):
        raise refusal(origin, raw, "absolute path")
    if ".." in parts:
        raise refusal(origin, raw, "path contains ..")
    if not raw.isprintable() or "\\" in raw:
        raise refusal(origin, raw, "path contains a backslash or unprintable characters")
    if len(raw.encode()) > MAX_PATH:
        raise refusal(origin, raw, f"path longer than {MAX_PATH} bytes")
    if any(part.startswith(".wh.") for part in parts):
        raise refusal(origin, raw, "whiteout file of a layer")
    return "/".join(parts)


def merged_path(raw: str, origin: str) -> str:
    """Return `plain_path`, moved below /usr as in Debian 12."""
    path = plain_path(raw, origin)
    return f"usr/{path}" if "/" in path and path.split("/")[0] in MERGED else path


def safe_target(path: str, target: str, origin: str) -> str:
    """Return a link's target unchanged. Raises `IntegrityError` if it leads out of the root."""
    start = "" if target.startswith("/") else posixpath.dirname(path)
    depth = len(start.split("/")) if start else 0
    for part in target.split("/"):
        depth += -1 if part == ".." else 0 if part in ("", ".") else 1
        if depth < 0:
            raise refusal(origin, f"{path} -> {target}", "link leads out of the root")
    if not target or not target.isprintable() or len(target.encode()) > MAX_PATH:
        raise refusal(origin, f"{path} -> {target}", "link target is empty, too long or unprintable")
    return target


def refusal(origin: str, member: str, why: str) -> IntegrityError:
    """Return the error for a package member that must not be in an image."""
    shown = member if len(member) <= 120 else member[:120] + "…"
    return IntegrityError(f"{origin}: refused to add {shown!r}: {why}", REMOVE_PACKAGE)
