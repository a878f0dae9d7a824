"""
Unpack an untrusted capsule archive completely into a new directory, or not at all.

The reader knows the next member, makes its header as the writer does, and compares. So links, devices, other
owners, absolute paths, `..`, duplicate names and every other feature of tar are refused by their header.
Sizes are bounded before use. The content of the payload is checked elsewhere.
"""

from __future__ import annotations

import contextlib
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
from kit.core.reading import open_file, unreadable
from kit.core.store import Progress, no_progress
from kit.image.entry import ArchiveEntry, EntryKind
from kit.image.tarball import BLOCK, header

MAX_BYTES = 64 << 30
"""Default limit of the payload, in bytes."""
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
"""First bytes of gzip, bzip2, xz and Zstandard files."""
_OCTAL = re.compile(rb"[0-7]{11}")
_CAPSULE = "pass a .tar that `speedrun pack` wrote"
_ORIGINAL = "use the .tar that `speedrun pack` wrote, or its directory if you have it: speedrun reproduce DIR"
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
    Unpack a capsule to `folder`, which must not exist; return `folder`.

    Every file is compared with the manifests while it is written. Then `examine` checks the hidden directory
    before it is renamed to `folder`; its errors are raised. Raises `IntegrityError` (`DigestMismatch` if a
    digest differs) naming the member, `UsageError` if `folder` exists, `RunError` if the payload is larger
    than `max_bytes` or than the free disk space. On an error `folder` does not exist.
    """
    if os.path.lexists(folder):
        raise UsageError(f"{folder} already exists", "choose another directory")
    with disk_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        staged = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        with disk_errors(folder), _opened(file) as source:
            _Reader(source, file.name, max_bytes, progress).into(staged)
            examine(staged)
            staged.chmod(0o755)
            staged.rename(folder)
            sync(folder.parent)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return folder


def read_through(
    file: Path, folder: Path, keep: Callable[[str, int], bool], progress: Progress = no_progress
) -> None:
    """
    Compare every byte of a capsule with its manifests, as `unpack` does, and write only some files.

    `folder` is an empty directory. It gets the tag files, all directories, and the payload files for which
    `keep(path, size)` is true. Raises as `unpack` does, but has no limit on the size of the payload.
    """
    with disk_errors(folder), _opened(file) as source:
        _Reader(source, file.name, None, progress, keep).into(folder)


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[BinaryIO]:
    """Open a capsule; an error while the block reads it is raised like one of opening it."""
    try:
        with open_file(file) as source:
            if not stat.S_ISREG(os.fstat(source.fileno()).st_mode):
                raise PrerequisiteError(f"{file} is not a regular file", _CAPSULE)
            yield source
    except OSError as e:
        if str(e.filename) != str(file):
            raise
        raise unreadable(file, e) from e


class _Reader:
    """One pass over one archive."""

    def __init__(
        self,
        source: BinaryIO,
        name: str,
        max_bytes: int | None,
        progress: Progress,
        keep: Callable[[str, int], bool] = lambda path, size: True,
    ) -> None:
        self._source = source
        self._name = name
        self._max = max_bytes
        """Limit of the payload in bytes; None if the payload is not written to the disk."""
        self._progress = progress
        self._keep = keep
        self._epoch = 0
        self._left = 0
        """Remaining bytes of payload."""

    def into(self, root: Path) -> None:
        """Unpack into the empty directory `root`, which stands for the archive's top directory."""
        self._epoch = self._first_epoch()
        tags = {name: self._tag(name) for name in bag.TAG_FILES}
        if bag.is_signed(tags[bag.TAG_MANIFEST]):
            tags |= {name: self._tag(name) for name in bag.SIGNED}
        if tags[bag.BAGIT] != bag.BAGIT_TXT:
            raise IntegrityError(f"{self._name}: {bag.BAGIT} does not declare BagIt 1.0")
        if tags[bag.TAG_MANIFEST] != bag.tag_manifest(tags):
            raise DigestMismatch(
                f"{self._name}: checksum mismatch between {bag.TAG_MANIFEST} and the files that it lists"
            )
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
                f"{self._name}: the payload is {self._left} bytes smaller than {bag.INFO} states"
            )
        self._end()

    def _bounds(self, info: bytes, payload: dict[str, Sha256], root: Path) -> bag.Oxum:
        oxum = bag.parse_oxum(info, bag.INFO)
        if oxum.files != len(payload):
            raise IntegrityError(
                f"{self._name}: {bag.INFO} states {oxum.files} files, but the manifest lists {len(payload)}"
            )
        self._left = oxum.size
        if self._max is None:
            return oxum
        if oxum.size > self._max:
            raise RunError(
                f"{self._name} unpacks to {oxum.size} bytes, more than the limit of {self._max}",
                "raise the limit with: speedrun unpack FILE --max-bytes N; reproduce accepts its directory",
            )
        free = shutil.disk_usage(root).free
        if oxum.size > free:
            raise RunError(
                f"no space left: {self._name} needs {oxum.size} bytes, {free} are free",
                "delete files to make room",
            )
        return oxum

    def _first_epoch(self) -> int:
        block = self._source.read(BLOCK)
        if block.startswith(_COMPRESSED):
            raise IntegrityError(f"{self._name} is compressed", "decompress it, then pass the .tar file")
        if len(block) != BLOCK:
            raise IntegrityError(f"{self._name} is truncated", "download the file again")
        if not _OCTAL.fullmatch(block[136:147]):
            raise IntegrityError(f"{self._name} is not a capsule", _CAPSULE)
        epoch = int(block[136:147], 8)
        if block != header(ArchiveEntry(bag.TOP, EntryKind.FOLDER, 0o755, ""), epoch):
            if _is_capsule_member(block):
                raise IntegrityError(
                    f"{self._name}: another tool packed this capsule again: first member is"
                    f" {_member_name(block)} in another form than `speedrun pack` writes",
                    _ORIGINAL,
                )
            raise IntegrityError(
                f"{self._name}: first member is {_member_name(block)}, expected directory {bag.TOP}/"
            )
        return epoch

    def _header(self, path: str, kind: EntryKind) -> int:
        """Read the next header, compare it with the expected one, and return its size."""
        full = f"{bag.TOP}/{path}"
        mode = 0o755 if kind is EntryKind.FOLDER else 0o644
        expected = header(ArchiveEntry(full, kind, mode, ""), self._epoch)
        block = self._read(len(expected))
        tail = block[-BLOCK:]
        # Only digits: `int` also accepts a sign, and a negative size is below every limit.
        size = int(tail[124:135], 8) if _OCTAL.fullmatch(tail[124:135]) else 0
        if block != header(ArchiveEntry(full, kind, mode, "", size), self._epoch):
            raise IntegrityError(
                f"{self._name}: invalid header of member {_member_name(block)}, expected {full}",
                _ORIGINAL if _is_capsule_member(tail) else "",
                ("another tool may have packed this capsule again",) if _is_capsule_member(tail) else (),
            )
        return size

    def _tag(self, name: str) -> bytes:
        size = self._header(name, EntryKind.FILE)
        if size > bag.largest(name):
            raise IntegrityError(
                f"{self._name}: {name} has {size} bytes, more than the limit of {bag.largest(name)}"
            )
        data = self._read(size)
        self._padding(size)
        return data

    def _file(self, place: Path, path: str, sha256: Sha256, total: int) -> None:
        size = self._header(path, EntryKind.FILE)
        if size > self._left:
            raise IntegrityError(f"{self._name}: the payload is larger than {bag.INFO} states, at {path}")
        self._left -= size
        hasher = hashlib.sha256()
        kept = self._keep(path, size)
        with place.open("xb") if kept else contextlib.nullcontext() as sink:
            for chunk in self._chunks(size):
                hasher.update(chunk)
                if sink is not None:
                    sink.write(chunk)
            if sink is not None:
                sink.flush()
                os.fsync(sink.fileno())
        self._padding(size)
        if hasher.hexdigest() != sha256:
            raise DigestMismatch(
                f"{self._name}: checksum mismatch: {path} has sha256 {hasher.hexdigest()}, expected {sha256}"
            )
        if kept:
            place.chmod(0o444)
        self._progress(f"{'unpack' if self._max else 'read'} {self._name}", total - self._left, total)

    def _chunks(self, size: int) -> Iterator[bytes]:
        while size > 0:
            chunk = self._read(min(size, CHUNK))
            size -= len(chunk)
            yield chunk

    def _padding(self, size: int) -> None:
        if any(self._read(-size % BLOCK)):
            raise IntegrityError(f"{self._name}: padding after a file is not zero")

    def _end(self) -> None:
        if any(self._read(2 * BLOCK)) or self._source.read(1):
            raise IntegrityError(f"{self._name}: unexpected data after the last member")

    def _read(self, size: int) -> bytes:
        data = self._source.read(size)
        if len(data) != size:
            raise IntegrityError(f"{self._name} is truncated", "download the file again")
        return data


def _member_name(block: bytes) -> str:
    """Return the name and kind of a header's member, printable."""
    name = block[:100].split(b"\0", 1)[0].decode("ascii", "replace")
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name) or "(no name)"
    kind = _KINDS.get(block[156:157])
    return f"{shown!r} ({kind})" if kind else repr(shown)


def _is_capsule_member(block: bytes) -> bool:
    """Tell whether a block is a valid tar header, by whatever tool, that names a member of a capsule."""
    blank = block[:148] + b" " * 8 + block[156:]
    stated = re.match(rb" *([0-7]{1,7})[\0 ]", block[148:156])
    if len(block) != BLOCK or stated is None or int(stated[1], 8) != sum(blank):
        return False
    name = block[:100].split(b"\0", 1)[0].decode("ascii", "replace")
    parts = [part for part in name.split("/") if part not in ("", ".") and not part.startswith("PaxHeaders")]
    kind = block[156:157]
    if kind not in (b"0", b"\0", b"5"):
        return kind in (b"g", b"x", b"L")
    return not parts or parts[0] in (bag.TOP, "data", *bag.TAG_FILES, *bag.SIGNED)
