"""Read .deb files as archive entries. Runs no maintainer script."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from kit.core.digest import CHUNK
from kit.core.errors import IntegrityError
from kit.image.bounded import UNREADABLE, BoundedFile
from kit.image.entry import (
    MAX_FILE,
    MERGED,
    REMOVE_PACKAGE,
    ArchiveEntry,
    EntryKind,
    Extent,
    folder,
    link,
    merged_path,
    refusal,
)
from kit.image.lock import Deb

BAD_PACKAGE = "download the package again"
MAX_CONTROL = 16 << 20
MAX_DATA = 8 << 30
"""Bytes that a package may unpack to; and, beyond 64 MiB, `MAX_RATIO` times its own size."""
MAX_RATIO = 100
MAX_MEMBERS = 100_000

_LEFT_OUT = re.compile(
    r"usr/share/(info|lintian|locale|man)/.*"
    r"|usr/share/doc/[^/]+/(?!copyright$).*"
    r"|usr/bin/[^/]*lto-dump[^/]*"
    r"|usr/lib/.*/libpython[^/]*\.a"
    r"|.*\.pyc"
)
"""Documentation (licences are kept) and large files that are not read at run time."""


def read_deb(deb: Deb, path: Path, spool: Path) -> tuple[str, list[ArchiveEntry]]:
    """
    Return a package's control text and its entries; their bytes are in the uncompressed file `spool`.

    Raises `IntegrityError` if the file is not a .deb, for hostile members (absolute, `..`, links out of
    the root, devices, duplicates) and for archives that unpack to far more than their size.
    """
    with path.open("rb") as f:
        members = _ar_members(f, deb.name)
        control_name, control = members["control"]
        data_name, data = members["data"]
        text = _control(_inflate(control_name, control, MAX_CONTROL, deb.name), deb)
        limit = min(MAX_DATA, max(64 << 20, MAX_RATIO * deb.size))
        with spool.open("wb") as out:
            out.writelines(_inflate(data_name, data, limit, deb.name))
    return text, list(_entries(deb, spool))


def _ar_members(f: IO[bytes], origin: str) -> dict[str, tuple[str, bytes]]:
    if f.read(8) != b"!<arch>\n":
        raise IntegrityError(f"{origin} is not an ar archive", BAD_PACKAGE)
    left = os.fstat(f.fileno()).st_size
    members: dict[str, tuple[str, bytes]] = {}
    while header := f.read(60):
        name = header[:16].decode("ascii", "replace").rstrip().rstrip("/")
        digits = header[48:58].strip()
        if len(header) != 60 or header[58:] != b"`\n" or not digits.isdigit():
            raise IntegrityError(f"{origin}: invalid ar header", BAD_PACKAGE)
        size = int(digits)
        data = f.read(min(size, left))  # never more than the file has
        if len(data) != size:
            raise IntegrityError(f"{origin}: truncated in member {name}", BAD_PACKAGE)
        f.read(size % 2)
        if name.split(".")[0] in members:
            raise IntegrityError(f"{origin}: two members named {name}", BAD_PACKAGE)
        members[name.split(".")[0]] = (name, data)
    if not {"debian-binary", "control", "data"} <= members.keys() or members["debian-binary"][1] != b"2.0\n":
        raise IntegrityError(f"{origin} is not a Debian package of format 2.0", BAD_PACKAGE)
    return members


def _inflate(name: str, data: bytes, limit: int, origin: str) -> Iterator[bytes]:
    """Yield the uncompressed bytes of an ar member; refuse more than `limit` bytes."""
    total = 0
    try:
        with _stream(name, data, origin) as stream:
            while chunk := stream.read(CHUNK):
                total += len(chunk)
                if total > limit:
                    raise refusal(origin, name, f"it unpacks to more than {limit} bytes")
                yield chunk
    except (lzma.LZMAError, EOFError, OSError, zlib.error) as e:
        raise IntegrityError(f"{origin}: cannot unpack {name}: {e}", BAD_PACKAGE) from e


def _stream(name: str, data: bytes, origin: str) -> io.BufferedIOBase:
    match name.partition(".tar")[2]:
        case "":
            return io.BytesIO(data)
        case ".xz":
            return lzma.open(io.BytesIO(data))
        case ".gz":
            return gzip.open(io.BytesIO(data))
        case suffix:
            raise IntegrityError(
                f"{origin}: {name}: unknown compression {suffix!r}",
                "use a package that is compressed with xz or gz, as in Debian 12",
            )


def _control(pieces: Iterator[bytes], deb: Deb) -> str:
    try:
        with tarfile.open(fileobj=io.BytesIO(b"".join(pieces)), mode="r:") as tar:
            member = next((m for m in tar if m.name in ("./control", "control") and m.isreg()), None)
            data = None if member is None else tar.extractfile(member)
            text = "" if data is None else data.read().decode("utf-8")
    except (*UNREADABLE, OSError) as e:
        raise IntegrityError(f"{deb.name}: cannot read control: {e}", BAD_PACKAGE) from e
    fields = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line and line[0] not in " \t")
    stated = (fields.get("Package"), fields.get("Version"))
    if stated != (deb.package, deb.version):
        raise IntegrityError(
            f"{deb.name} contains {stated[0]} {stated[1]}, but lock.json names {deb.package} {deb.version}",
            "resolve the packages again: speedrun image lock ERA",
        )
    return text.rstrip("\n") + "\n"


def _entries(deb: Deb, spool: Path) -> Iterator[ArchiveEntry]:
    by_path: dict[str, ArchiveEntry] = {}
    try:
        with (
            spool.open("rb") as f,
            tarfile.open(fileobj=cast(IO[bytes], BoundedFile(f)), mode="r:", errors="strict") as tar,
        ):
            for count, member in enumerate(tar):
                if count >= MAX_MEMBERS:
                    raise IntegrityError(f"{deb.name}: more than {MAX_MEMBERS} members", REMOVE_PACKAGE)
                entry = _entry(member, deb.name, spool, by_path)
                if entry is None:
                    continue
                if entry.path in by_path and not (entry.kind is EntryKind.FOLDER is by_path[entry.path].kind):
                    raise IntegrityError(f"{deb.name}: two members named {entry.path}", REMOVE_PACKAGE)
                by_path[entry.path] = entry
    except (*UNREADABLE, OSError) as e:
        raise IntegrityError(f"{deb.name}: cannot read data: {e}", BAD_PACKAGE) from e
    return (e for e in by_path.values() if not _LEFT_OUT.fullmatch(e.path))


def _entry(
    member: tarfile.TarInfo, origin: str, spool: Path, by_path: dict[str, ArchiveEntry]
) -> ArchiveEntry | None:
    path = merged_path(member.name, origin)
    if path == "" or path in MERGED:
        return None
    if member.isdir():
        return folder(path, origin)
    if member.issym():
        return link(path, member.linkname, origin)
    if member.islnk():
        original = by_path.get(merged_path(member.linkname, origin))
        if original is None or original.kind is not EntryKind.FILE:
            raise refusal(origin, path, "hard link to a file that does not precede it")
        return ArchiveEntry(path, EntryKind.FILE, original.mode, origin, original.size, original.source)
    if not member.isreg() or member.sparse is not None or member.size > MAX_FILE:
        raise refusal(origin, path, "not a file, directory or link")
    mode = 0o755 if member.mode & 0o111 else 0o644
    return ArchiveEntry(
        path, EntryKind.FILE, mode, origin, member.size, Extent(spool, member.offset_data, member.size)
    )
