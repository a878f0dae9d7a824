"""Export an image as one tar that Docker, Podman and OCI tools can load."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from kit.core.digest import Sha256
from kit.core.errors import PrerequisiteError
from kit.core.files import disk_errors, place, require_parent
from kit.core.store import Progress, no_progress
from kit.image.build import Layout
from kit.image.entry import ArchiveEntry, EntryKind, Extent, folder, literal
from kit.image.oci import REPOSITORY, blob_path, docker_manifest, read_manifest
from kit.image.tarball import stream_tar, tar_size

NOTHING: frozenset[Sha256] = frozenset()


def size(layout: Layout, without: frozenset[Sha256] = NOTHING) -> int:
    """Return the number of bytes that `pieces` yields."""
    return tar_size(_entries(layout, without))


def pieces(layout: Layout, without: frozenset[Sha256] = NOTHING) -> Iterator[bytes]:
    """
    Yield the archive: an OCI layout with Docker's manifest.json; both name the same blobs.

    `without` names layers whose bytes are left out: Docker's classic store needs none that it has as a
    prefix of another image. The same layout gives the same bytes. The blobs are not hashed again: whoever
    loads them does that.
    """
    return stream_tar(_entries(layout, without), layout.epoch)


def export(layout: Layout, file: Path, progress: Progress = no_progress) -> Sha256:
    """
    Write the archive to `file` atomically; return its sha256.

    Raises `PrerequisiteError` if `file` exists and is not a file, or its directory does not exist,
    `RunError` if the disk is full.
    """
    if file.exists() and not file.is_file():
        raise PrerequisiteError(
            f"cannot write {file}: it is not a regular file", "choose another path with --out"
        )
    require_parent(file)
    digest, done, total = hashlib.sha256(), 0, size(layout)
    with disk_errors(file), tempfile.TemporaryDirectory(prefix=f".{file.name}.", dir=file.parent) as name:
        temporary = Path(name) / "archive"
        with temporary.open("wb", buffering=1 << 20) as sink:
            for piece in pieces(layout):
                sink.write(piece)
                digest.update(piece)
                done += len(piece)
                progress(f"export {layout.era}", done, total)
        place(temporary, file, 0o644)
    return Sha256(digest.hexdigest())


def _entries(layout: Layout, without: frozenset[Sha256]) -> list[ArchiveEntry]:
    config, layers = read_manifest(layout.path, layout.manifest_digest)
    kept = {layer.digest for layer in layers} - without
    names = {config.digest, layout.manifest_digest, *kept}
    return [
        folder("blobs", REPOSITORY),
        folder("blobs/sha256", REPOSITORY),
        *(_file(f"blobs/sha256/{name}", blob_path(layout.path, name)) for name in sorted(names)),
        _file("index.json", layout.path / "index.json"),
        literal("manifest.json", docker_manifest(layout.era, config, layers), REPOSITORY),
        _file("oci-layout", layout.path / "oci-layout"),
    ]


def _file(name: str, path: Path) -> ArchiveEntry:
    length = path.stat().st_size
    return ArchiveEntry(name, EntryKind.FILE, 0o644, REPOSITORY, length, Extent(path, 0, length))
