"""Write deterministic tar archives from entries."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from kit.core.errors import IntegrityError
from kit.image.entry import ArchiveEntry, EntryKind, chunks

BLOCK = 512
_TYPES = {EntryKind.FILE: b"0", EntryKind.LINK: b"2", EntryKind.FOLDER: b"5"}


def write_tar(
    entries: Iterable[ArchiveEntry],
    epoch: int,
    write: Callable[[bytes], object],
    moved: Callable[[int], None],
) -> int:
    """
    Write `entries` in the given order as an uncompressed POSIX tar: uid and gid 0, no user names.

    Calls `moved` with the bytes written so far; returns their total. Raises `IntegrityError` if the size
    of a source is not as stated.
    """
    done = 0
    for entry in entries:
        for piece in _pieces(entry, epoch):
            write(piece)
            done += len(piece)
        moved(done)
    write(bytes(2 * BLOCK))
    return done + 2 * BLOCK


def stream_tar(entries: Iterable[ArchiveEntry], epoch: int) -> Iterator[bytes]:
    """Yield the bytes that `write_tar` writes, in pieces of at most 1 MiB."""
    for entry in entries:
        yield from _pieces(entry, epoch)
    yield bytes(2 * BLOCK)


def tar_size(entries: Iterable[ArchiveEntry]) -> int:
    """Return the number of bytes that `write_tar` writes."""
    sizes = (len(header(e, 0)) + e.size + -e.size % BLOCK for e in entries)
    return sum(sizes) + 2 * BLOCK


def _pieces(entry: ArchiveEntry, epoch: int) -> Iterable[bytes]:
    yield header(entry, epoch)
    if entry.source is None:
        return
    left = entry.size
    for chunk in chunks(entry.source):
        left -= len(chunk)
        if left < 0:
            break
        yield chunk
    if left != 0:
        raise IntegrityError(
            f"{entry.origin}: size mismatch in {entry.path}: expected {entry.size} bytes",
            "download the package again",
        )
    yield bytes(-entry.size % BLOCK)


def header(entry: ArchiveEntry, epoch: int) -> bytes:
    """Return an entry's header, after an extended header if a name is too long for ustar."""
    name = entry.path.encode() + (b"/" if entry.kind is EntryKind.FOLDER else b"")
    target = entry.target.encode()
    records = b"".join(
        _record(key, value) for key, value in ((b"linkpath", target), (b"path", name)) if len(value) > 100
    )
    if not records:
        return _block(name, target, entry.mode, entry.size, epoch, _TYPES[entry.kind])
    extended = (
        _block(b"@extended", b"", 0o644, len(records), epoch, b"x") + records + bytes(-len(records) % BLOCK)
    )
    return extended + _block(name[:100], target[:100], entry.mode, entry.size, epoch, _TYPES[entry.kind])


def _record(key: bytes, value: bytes) -> bytes:
    """Return a POSIX record: it begins with its total length in decimal."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def _block(name: bytes, target: bytes, mode: int, size: int, epoch: int, kind: bytes) -> bytes:
    block = bytearray(BLOCK)
    block[0 : len(name)] = name
    for start, width, value in ((100, 7, mode), (108, 7, 0), (116, 7, 0), (124, 11, size), (136, 11, epoch)):
        block[start : start + width] = b"%0*o" % (width, value)
    block[148:156] = b" " * 8
    block[156:157] = kind
    block[157 : 157 + len(target)] = target
    block[257:265] = b"ustar\x0000"
    block[148:155] = b"%06o\x00" % sum(block)
    return bytes(block)
