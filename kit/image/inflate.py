"""Read zip members at their offsets; check each local header against the archive's directory."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from isal import isal_zlib

from kit.core.errors import IntegrityError

PIECE = 1 << 18
"""Compressed bytes read at a time."""
GROWN = 1 << 20
"""Most bytes that one step yields, however well they were compressed."""

_LOCAL = struct.Struct("<4s5H3L2H")
_UTF8 = 0x800


@dataclass(frozen=True, slots=True)
class ZipMember:
    """The location of a zip member's bytes."""

    path: Path
    name: str
    """Archive and member, for messages."""
    offset: int
    packed: int
    """Bytes in the file."""
    crc: int
    deflated: bool


def packed_members(archive: ZipFile, path: Path, infos: list[ZipInfo], origin: str) -> dict[str, ZipMember]:
    """
    Locate the bytes of `infos`, by name.

    Raises `IntegrityError` if a member's local header contradicts the directory, if its compression is
    not deflate, or if it overlaps another member or the directory.
    """
    members: dict[str, ZipMember] = {}
    free = 0
    with path.open("rb") as f:
        for info in sorted(infos, key=lambda i: i.header_offset):
            part = _located(f, path, info, origin)
            if info.header_offset < free:
                raise _refused(part.name, "overlaps another member")
            free = part.offset + part.packed
            if free > archive.start_dir:
                raise _refused(part.name, "overlaps the zip's central directory")
            members[info.filename] = part
    return members


def _located(f: BinaryIO, path: Path, info: ZipInfo, origin: str) -> ZipMember:
    name = f"{origin}: {info.filename}"
    f.seek(info.header_offset)
    header = f.read(_LOCAL.size)
    if len(header) != _LOCAL.size or header[:4] != b"PK\x03\x04":
        raise _refused(name, "local header not found")
    _, _, flags, method, _, _, _, _, _, named, extra = _LOCAL.unpack(header)
    own = f.read(named).decode("utf-8" if flags & _UTF8 else "cp437")
    if (own, method) != (info.orig_filename, info.compress_type):
        raise _refused(
            name, f"local header contradicts the directory: name {own[:120]!r}, compression method {method}"
        )
    if method not in (ZIP_STORED, ZIP_DEFLATED):
        raise _refused(name, f"unsupported compression method {method}")
    offset = info.header_offset + _LOCAL.size + named + extra
    return ZipMember(path, name, offset, info.compress_size, info.CRC, method == ZIP_DEFLATED)


def inflated(part: ZipMember) -> Iterator[bytes]:
    """
    Yield a member's bytes, at most `GROWN` at a time.

    Raises `IntegrityError` if they are truncated, cannot be inflated or have another CRC. The caller checks
    their number, and may stop when there are too many.
    """
    crc = 0
    for chunk in _deflated(part) if part.deflated else _pieces(part):
        crc = isal_zlib.crc32(chunk, crc)
        yield chunk
    if crc != part.crc:
        raise _refused(part.name, "CRC mismatch")


def _deflated(part: ZipMember) -> Iterator[bytes]:
    stream = isal_zlib.decompressobj(-15)
    try:
        for piece in _pieces(part):
            while piece and not stream.eof:
                yield stream.decompress(piece, GROWN)
                piece = stream.unconsumed_tail
        while not stream.eof and (chunk := stream.decompress(b"", GROWN)):
            yield chunk
    except isal_zlib.error as e:  # type: ignore[misc]  # the stub types it as an instance
        raise _refused(part.name, f"cannot inflate: {e}") from e
    if not stream.eof:
        raise _refused(part.name, "truncated")


def _pieces(part: ZipMember) -> Iterator[bytes]:
    left = part.packed
    with part.path.open("rb", buffering=0) as f:
        f.seek(part.offset)
        while left > 0 and (piece := f.read(min(PIECE, left))):
            left -= len(piece)
            yield piece


def _refused(name: str, why: str) -> IntegrityError:
    return IntegrityError(f"{name}: {why}", "download the wheel again")
