"""Write a capsule as a deterministic tar from sources with known digests."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from kit.capsule import bag
from kit.core.digest import Sha256, sha256_bytes, sha256_file
from kit.core.errors import DigestMismatch
from kit.core.store import Progress
from kit.image.entry import ArchiveEntry, EntryKind, Extent, InlineBytes, Source, chunks, folder, literal
from kit.image.tarball import BLOCK, header

ORIGIN = "capsule"


@dataclass(frozen=True, slots=True)
class PayloadPart:
    """One file of the payload."""

    source: Source
    size: int
    sha256: Sha256
    """Expected digest, checked while writing."""


def part_of_bytes(data: bytes) -> PayloadPart:
    """Return a part with these bytes."""
    return PayloadPart(InlineBytes(data), len(data), sha256_bytes(data))


def part_of_file(path: Path, sha256: Sha256 | None = None) -> PayloadPart:
    """Return a part from a file; hash the file unless its digest is given."""
    size = path.stat().st_size
    return PayloadPart(Extent(path, 0, size), size, sha256 or sha256_file(path))


def write_capsule(
    parts: Mapping[str, PayloadPart],
    tags: Mapping[str, bytes],
    epoch: int,
    sink: BinaryIO,
    progress: Progress,
    label: str,
) -> int:
    """
    Write the archive and return its size.

    `tags` are RUN.md, bag-info.txt and `bag.SIGNED`; this function makes the others. Raises `DigestMismatch`
    if a source does not have its digest: then discard the incomplete archive.
    """
    payload = {path: part.sha256 for path, part in parts.items()}
    listed = {**tags, bag.BAGIT: bag.BAGIT_TXT, bag.MANIFEST: bag.manifest(payload)}
    listed[bag.TAG_MANIFEST] = bag.tag_manifest(listed)
    total = sum(part.size for part in parts.values())
    done = 0
    for entry, sha256 in _entries(parts, payload, listed):
        sink.write(header(entry, epoch))
        if entry.source is None:
            continue
        hasher, written = hashlib.sha256(), 0
        for chunk in chunks(entry.source):
            sink.write(chunk)
            hasher.update(chunk)
            written += len(chunk)
            done += len(chunk)
            progress(label, min(done, total), total)
        if (hasher.hexdigest(), written) != (sha256, entry.size):
            raise DigestMismatch(
                f"checksum mismatch: {entry.path} changed while it was packed, expected sha256 {sha256}",
                "pack the run again",
            )
        sink.write(bytes(-entry.size % BLOCK))
    sink.write(bytes(2 * BLOCK))
    return sink.tell()


def _entries(
    parts: Mapping[str, PayloadPart], payload: Mapping[str, Sha256], tags: Mapping[str, bytes]
) -> Iterator[tuple[ArchiveEntry, Sha256 | None]]:
    yield folder(bag.TOP, ORIGIN), None
    for name in (*bag.TAG_FILES, *(name for name in bag.SIGNED if name in tags)):
        yield literal(f"{bag.TOP}/{name}", tags[name], ORIGIN), sha256_bytes(tags[name])
    for path, kind in bag.members(payload):
        full = f"{bag.TOP}/{path}"
        if kind is EntryKind.FOLDER:
            yield folder(full, ORIGIN), None
        else:
            part = parts[path]
            yield ArchiveEntry(full, EntryKind.FILE, 0o644, ORIGIN, part.size, part.source), part.sha256
