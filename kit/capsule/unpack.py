"""
Reading a capsule's archive that anybody may have made: all of it, into a new folder, or nothing.

Nothing of the archive is believed. The reader knows which member must come next, spells its header as the
writer would, and compares; so links, devices, other owners, absolute paths, `..`, a name that comes twice and
anything else that a tar can hold differ already in their header. Sizes are bounded before they are used. What
the payload says is not judged here.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from kit.capsule import bag
from kit.core.digest import CHUNK, Sha256
from kit.core.errors import DigestMismatch, IntegrityError, PrerequisiteError, RunError, UsageError
from kit.core.files import disk_errors, sync
from kit.core.store import Progress, no_progress
from kit.image.entry import ArchiveEntry, EntryKind
from kit.image.tarball import BLOCK, header

MAX_BYTES = 64 << 30
"""Of the payload, unless the reader allows more."""
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
"""How gzip, bzip2, xz and Zstandard begin."""
_OCTAL = re.compile(rb"[0-7]{11}")
_KINDS = {
    b"1": "a hard link", b"2": "a symbolic link", b"3": "a device", b"4": "a device", b"6": "a pipe",
    b"S": "a sparse file", b"L": "a long name", b"g": "a global header",
}  # fmt: skip


def unpack(
    file: Path,
    folder: Path,
    max_bytes: int = MAX_BYTES,
    progress: Progress = no_progress,
    examine: Callable[[Path], None] = lambda _: None,
) -> Path:
    """
    Unpack a capsule so that it becomes `folder`, which must not exist; return `folder`.

    Every byte is compared with the manifests as it is written. Before the result has its name, `examine`
    judges it in a hidden folder; what it raises is raised. Raises `IntegrityError` (`DigestMismatch`
    where a digest differs) naming the member, `UsageError` if `folder` is there, `RunError` if the payload
    is larger than `max_bytes` or than the disk has room. Then nothing is left.
    """
    if os.path.lexists(folder):
        raise UsageError(f"{folder} exists", "choose another folder")
    with disk_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        staged = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        with _opened(file) as source, disk_errors(folder):
            _Reader(source, file.name, max_bytes, progress).into(staged)
            examine(staged)
            staged.chmod(0o755)
            staged.rename(folder)
            sync(folder.parent)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return folder


def _opened(file: Path) -> BinaryIO:
    try:
        # a pipe must not keep the reader waiting for its other end
        source = os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    except OSError as e:
        raise PrerequisiteError(f"cannot read {file}: {e.strerror}") from e
    if not stat.S_ISREG(os.fstat(source.fileno()).st_mode):
        source.close()
        raise PrerequisiteError(f"{file} is not a regular file")
    return source


class _Reader:
    """One pass over one archive."""

    def __init__(self, source: BinaryIO, name: str, max_bytes: int, progress: Progress) -> None:
        self._source = source
        self._name = name
        self._max = max_bytes
        self._progress = progress
        self._epoch = 0
        self._left = 0
        """Bytes of payload that may still come."""

    def into(self, root: Path) -> None:
        """Unpack into the empty folder `root`, which takes the place of the archive's top folder."""
        self._epoch = self._first_epoch()
        tags = {name: self._tag(name) for name in bag.TAG_FILES}
        if bag.is_signed(tags[bag.TAG_MANIFEST]):
            tags |= {name: self._tag(name) for name in bag.SIGNED}
        if tags[bag.BAGIT] != bag.BAGIT_TXT:
            raise IntegrityError(f"{self._name}: {bag.BAGIT} is not that of BagIt 1.0")
        if tags[bag.TAG_MANIFEST] != bag.tag_manifest(tags):
            raise DigestMismatch(f"{self._name}: {bag.TAG_MANIFEST} does not fit the files that it lists")
        payload = bag.parse_manifest(tags[bag.MANIFEST], bag.MANIFEST)
        oxum = self._bounds(tags[bag.INFO], payload, root)
        for name, data in tags.items():
            (root / name).write_bytes(data)
        for path, kind in bag.members(payload):
            if kind is EntryKind.FOLDER:
                self._header(path, kind)
                (root / path).mkdir(mode=0o755)
            else:
                self._file(root / path, path, payload[path], oxum.size)
        if self._left:
            raise IntegrityError(
                f"{self._name}: the payload has {self._left} bytes less than {bag.INFO} says"
            )
        self._end()

    def _bounds(self, info: bytes, payload: dict[str, Sha256], root: Path) -> bag.Oxum:
        oxum = bag.parse_oxum(info, bag.INFO)
        if oxum.files != len(payload):
            raise IntegrityError(f"{self._name}: {bag.INFO} counts {oxum.files} files, not {len(payload)}")
        if oxum.size > self._max:
            raise RunError(
                f"{self._name} holds {oxum.size} bytes, more than the limit of {self._max}",
                "if you expect that much: speedrun unpack FILE --max-bytes N; reproduce takes its folder",
            )
        free = shutil.disk_usage(root).free
        if oxum.size > free:
            raise RunError(f"{self._name} needs {oxum.size} bytes; {free} are free", "free space")
        self._left = oxum.size
        return oxum

    def _first_epoch(self) -> int:
        block = self._source.read(BLOCK)
        if block.startswith(_COMPRESSED):
            raise IntegrityError(f"{self._name} is compressed", "decompress it first, then give the .tar")
        if len(block) != BLOCK:
            raise IntegrityError(f"{self._name}: ends too early", "get the file again")
        if not _OCTAL.fullmatch(block[136:147]):
            raise IntegrityError(f"{self._name}: not a capsule")
        epoch = int(block[136:147], 8)
        if block != header(ArchiveEntry(bag.TOP, EntryKind.FOLDER, 0o755, ""), epoch):
            raise IntegrityError(
                f"{self._name}: begins with {_member_name(block)}, not with the folder {bag.TOP}/"
            )
        return epoch

    def _header(self, path: str, kind: EntryKind) -> int:
        """Read the header that must come next and return the size that it states."""
        full = f"{bag.TOP}/{path}"
        mode = 0o755 if kind is EntryKind.FOLDER else 0o644
        expected = header(ArchiveEntry(full, kind, mode, ""), self._epoch)
        block = self._read(len(expected))
        tail = block[-BLOCK:]
        # Digits alone: `int` also takes a sign, and a negative size would be below every bound.
        size = int(tail[124:135], 8) if _OCTAL.fullmatch(tail[124:135]) else 0
        if block != header(ArchiveEntry(full, kind, mode, "", size), self._epoch):
            raise IntegrityError(f"{self._name}: {_member_name(block)} where {path} must come")
        return size

    def _tag(self, name: str) -> bytes:
        size = self._header(name, EntryKind.FILE)
        if size > bag.largest(name):
            raise IntegrityError(f"{self._name}: {name} has {size} bytes, more than {bag.largest(name)}")
        data = self._read(size)
        self._padding(size)
        return data

    def _file(self, place: Path, path: str, sha256: Sha256, total: int) -> None:
        size = self._header(path, EntryKind.FILE)
        if size > self._left:
            raise IntegrityError(f"{self._name}: {path} exceeds the size that {bag.INFO} states")
        self._left -= size
        hasher = hashlib.sha256()
        with place.open("xb") as sink:
            for chunk in self._chunks(size):
                sink.write(chunk)
                hasher.update(chunk)
            sink.flush()
            os.fsync(sink.fileno())
        self._padding(size)
        if hasher.hexdigest() != sha256:
            raise DigestMismatch(f"{self._name}: {path} has sha256 {hasher.hexdigest()}, expected {sha256}")
        place.chmod(0o444)
        self._progress(f"unpack {self._name}", total - self._left, total)

    def _chunks(self, size: int) -> Iterator[bytes]:
        while size > 0:
            chunk = self._read(min(size, CHUNK))
            size -= len(chunk)
            yield chunk

    def _padding(self, size: int) -> None:
        if any(self._read(-size % BLOCK)):
            raise IntegrityError(f"{self._name}: bytes are hidden behind a file")

    def _end(self) -> None:
        if any(self._read(2 * BLOCK)) or self._source.read(1):
            raise IntegrityError(f"{self._name}: more follows than the manifest lists")

    def _read(self, size: int) -> bytes:
        data = self._source.read(size)
        if len(data) != size:
            raise IntegrityError(f"{self._name}: ends too early", "get the file again")
        return data


def _member_name(block: bytes) -> str:
    """Name a header's member for a person."""
    name = block[:100].split(b"\0", 1)[0].decode("ascii", "replace")
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name) or "nothing"
    kind = _KINDS.get(block[156:157])
    return f"{shown!r} ({kind})" if kind else repr(shown)
