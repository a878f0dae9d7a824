"""
Blobs of a store as compressed pieces of a bounded size, and back, in any order and while they arrive.

    pieces.json       each blob with its sha256, and each piece with its sha256 and its frames
    p000, p001, ...   whole frames, one behind the other; a frame is a part of one blob

A piece is compared with its sha256 before it is unpacked, and a blob before it enters the store.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from frames import ZSTD, Codec, best_codec, codec_named

from kit.core.codec import decode
from kit.core.digest import sha256_file
from kit.core.errors import DigestMismatch, PrerequisiteError, SchemaError, UsageError
from kit.core.files import disk_errors, make_folder, place, write_atomic
from kit.core.schema import parse_json, read_bounded
from kit.core.store import Artifact, Store

LIST = "pieces.json"
VERSION = 1
FRAME = 16 << 20
"""Bytes of a blob in one frame."""
PIECE = 58_000_000
NAME = re.compile(r"p[0-9]{3,6}")
CORES = min(os.cpu_count() or 1, 16)
ROOM = "carried"
"""Directory of a store for blobs that are not whole yet."""


@dataclass(frozen=True, slots=True)
class Blob:
    """A file of the store."""

    name: str
    """For messages."""
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class EraImage:
    """An era whose image the blobs complete."""

    era: str
    manifest: str
    """Digest."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A part of one blob."""

    blob: int
    """Position in the list of blobs."""
    offset: int
    """In the blob."""
    size: int
    """Of the part of the blob, in bytes."""
    stored: int
    """Of the frame in its piece, in bytes."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A file of whole frames."""

    name: str
    size: int
    sha256: str
    frames: tuple[Frame, ...]


@dataclass(frozen=True, slots=True)
class PieceList:
    """The content of `pieces.json`."""

    version: int
    codec: str
    eras: tuple[EraImage, ...]
    blobs: tuple[Blob, ...]
    pieces: tuple[Piece, ...]

    @property
    def digest(self) -> str:
        """What tells this list from others."""
        named = "\n".join(piece.sha256 for piece in self.pieces)
        return hashlib.sha256(named.encode()).hexdigest()


def read_list(folder: Path) -> PieceList:
    """Return the list of a directory of pieces. Raises `PrerequisiteError` or `SchemaError` without one."""
    path = folder / LIST
    try:
        data = read_bounded(path)
    except OSError as e:
        raise PrerequisiteError(f"cannot read {path}: {e.strerror}", f"copy {LIST} here first") from e
    listed: PieceList = decode(PieceList, parse_json(data, str(path)), str(path))
    names = [piece.name for piece in listed.pieces]
    if listed.version != VERSION or len(set(names)) < len(names) or not all(map(NAME.fullmatch, names)):
        raise SchemaError(f"{path}: another version, or a name that is invalid or repeated")
    for piece in listed.pieces:
        for frame in piece.frames:
            if not 0 <= frame.offset <= frame.offset + frame.size <= _blob(listed, frame, path).size:
                raise SchemaError(f"{path}: a frame of {piece.name} is outside of its blob")
    return listed


def _blob(listed: PieceList, frame: Frame, path: Path) -> Blob:
    if not 0 <= frame.blob < len(listed.blobs):
        raise SchemaError(f"{path}: no blob {frame.blob}")
    return listed.blobs[frame.blob]


def pack(
    blobs: Sequence[Blob],
    store: Store,
    folder: Path,
    eras: Sequence[EraImage],
    *,
    limit: int = PIECE,
    frame: int = FRAME,
    codec: Codec | None = None,
) -> PieceList:
    """
    Write blobs of a store as pieces of at most `limit` bytes, then their list.

    Raises `UsageError` if there is a list already or a frame may not fit a piece, `DigestMismatch` if a blob
    was changed.
    """
    if (folder / LIST).exists():
        raise UsageError(f"{folder} has pieces already", f"remove {folder}, or name another directory")
    if limit < frame + frame // 128 + 1024:
        raise UsageError(f"a frame of {frame:,} bytes may not fit a piece of {limit:,}")
    make_folder(folder)
    for old in folder.glob("p[0-9]*"):
        old.unlink()
    chosen = codec or best_codec()
    with disk_errors(folder):
        pieces = tuple(_written(_compressed(blobs, store, chosen, frame), folder, limit))
    listed = PieceList(VERSION, chosen.name, tuple(eras), tuple(blobs), pieces)
    write_atomic(folder / LIST, _text(listed))
    return listed


def _text(listed: PieceList) -> bytes:
    return json.dumps(asdict(listed), separators=(",", ":")).encode()


def _parts(blobs: Sequence[Blob], store: Store, size: int) -> Iterator[tuple[int, int, bytes]]:
    """Yield position of the blob, offset and bytes of each part; compare each blob at its end."""
    for n, blob in enumerate(blobs):
        path, hashed, offset = store.blob(blob.sha256), hashlib.sha256(), 0
        with path.open("rb") as f:
            while data := f.read(size):
                hashed.update(data)
                yield n, offset, data
                offset += len(data)
        if hashed.hexdigest() != blob.sha256:
            raise DigestMismatch(f"checksum mismatch: {path} was changed", f"rm {path}, then build again")


def _compressed(
    blobs: Sequence[Blob], store: Store, codec: Codec, size: int
) -> Iterator[tuple[Frame, bytes]]:
    """Yield the frames in order, compressed on all cores."""
    ahead = 2 * CORES
    waiting: deque[tuple[int, int, int, Future[bytes]]] = deque()

    def first() -> tuple[Frame, bytes]:
        blob, offset, length, future = waiting.popleft()
        data = future.result()
        return Frame(blob, offset, length, len(data)), data

    with ThreadPoolExecutor(CORES) as pool:
        for blob, offset, data in _parts(blobs, store, size):
            waiting.append((blob, offset, len(data), pool.submit(codec.compress, data)))
            if len(waiting) > ahead:
                yield first()
        while waiting:
            yield first()


def _written(frames: Iterator[tuple[Frame, bytes]], folder: Path, limit: int) -> Iterator[Piece]:
    """Write frames into pieces, and yield each piece when it is whole."""
    number, kept, data = 0, [], bytearray()
    for frame, stored in frames:
        if kept and len(data) + len(stored) > limit:
            yield _write(folder, number, kept, data)
            number, kept, data = number + 1, [], bytearray()
        kept.append(frame)
        data += stored
    if kept:
        yield _write(folder, number, kept, data)


def _write(folder: Path, number: int, frames: list[Frame], data: bytearray) -> Piece:
    name = f"p{number:03d}"
    (folder / name).write_bytes(data)
    return Piece(name, len(data), hashlib.sha256(data).hexdigest(), tuple(frames))


class State(StrEnum):
    """What is known of a piece."""

    DONE = "unpacked"
    MISSING = "missing"
    CUT = "cut"
    """Its file is smaller than the piece: it may be arriving still."""
    HERE = "here"
    """Its file has the size of the piece or more, and is not compared yet."""
    DAMAGED = "damaged"
    """Its file was compared, and has other bytes."""


class Unpacker:
    """Puts pieces of a directory into a store as they arrive; a second one goes on where the first ended."""

    def __init__(self, folder: Path, store: Store, remove: bool = False) -> None:
        """
        Read the list, which must be there. With `remove`, a piece's file is removed when it is unpacked.

        Raises as `read_list` does, and `PrerequisiteError` if this machine cannot decompress.
        """
        self.listed = read_list(folder)
        self._folder, self._store, self._remove = folder, store, remove
        try:
            self._codec = codec_named(self.listed.codec, folder / "tools" / "lib")
        except OSError as e:
            raise PrerequisiteError(f"cannot load {ZSTD}: {e}", "apt-get install libzstd1") from e
        except ValueError as e:
            raise SchemaError(str(e)) from e
        self._room = store.root / ROOM / self.listed.digest
        self._damaged: dict[str, tuple[int, int]] = {}

    @property
    def is_done(self) -> bool:
        """Whether every blob is in the store."""
        return not any(map(self._lacks, self.listed.blobs))

    def _lacks(self, blob: Blob) -> bool:
        return not self._store.has(Artifact(blob.name, blob.size, blob.sha256))

    def _mark(self, piece: Piece) -> Path:
        return self._room / f"{piece.name}.done"

    def states(self) -> dict[str, State]:
        """Return the state of each piece; a file that changed since it was compared is compared again."""
        return {piece.name: self._state(piece) for piece in self.listed.pieces}

    def _state(self, piece: Piece) -> State:
        needed = any(self._lacks(self.listed.blobs[frame.blob]) for frame in piece.frames)
        if not needed or self._mark(piece).exists():
            return State.DONE
        try:
            status = (self._folder / piece.name).stat()
        except FileNotFoundError:
            return State.MISSING
        known = (status.st_size, status.st_mtime_ns)
        if self._damaged.get(piece.name) == known:
            return State.DAMAGED
        return State.CUT if status.st_size < piece.size else State.HERE

    def cut_bytes(self, name: str) -> tuple[int, int]:
        """Return the bytes of a piece that are here, and of the whole piece."""
        piece = next(piece for piece in self.listed.pieces if piece.name == name)
        return (self._folder / name).stat().st_size, piece.size

    def take(self) -> int:
        """
        Unpack each whole piece, store each whole blob, and return how many pieces were new.

        Raises `DigestMismatch` if a blob differs although its pieces do not: what was unpacked of it is
        forgotten. Raises `RunError` if the disk is full.
        """
        with self._store.lock(f"{ROOM}-{self.listed.digest}"), disk_errors(self._room):
            make_folder(self._room)
            ready = [piece for piece in self.listed.pieces if self._state(piece) is State.HERE]
            with ThreadPoolExecutor(CORES) as pool:
                taken = sum(pool.map(self._unpack, ready))
            self._store_whole_blobs()
            if self.is_done:
                shutil.rmtree(self._room)
                with contextlib.suppress(OSError):
                    self._room.parent.rmdir()
        return taken

    def _unpack(self, piece: Piece) -> bool:
        """Unpack a piece; return False if its bytes are others."""
        path = self._folder / piece.name
        status = path.stat()
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != piece.sha256:
            self._damaged[piece.name] = (status.st_size, status.st_mtime_ns)
            return False
        at = 0
        for frame in piece.frames:
            blob = self.listed.blobs[frame.blob]
            if self._lacks(blob):
                part = self._codec.decompress(data[at : at + frame.stored], frame.size)
                self._put(blob, frame.offset, part)
            at += frame.stored
        self._mark(piece).touch()
        if self._remove:
            path.unlink()
        return True

    def _put(self, blob: Blob, offset: int, part: bytes) -> None:
        fd = os.open(self._room / blob.sha256, os.O_WRONLY | os.O_CREAT, 0o644)
        with os.fdopen(fd, "wb", buffering=0) as f:
            f.seek(offset)
            view = memoryview(part)
            while view:
                view = view[f.write(view) :]

    def _store_whole_blobs(self) -> None:
        open_blobs = {
            frame.blob
            for piece in self.listed.pieces
            if not self._mark(piece).exists()
            for frame in piece.frames
        }
        whole = [
            blob for n, blob in enumerate(self.listed.blobs) if n not in open_blobs and self._lacks(blob)
        ]
        with ThreadPoolExecutor(CORES) as pool:
            for fault in filter(None, pool.map(self._keep, whole)):
                raise fault

    def _keep(self, blob: Blob) -> DigestMismatch | None:
        path = self._room / blob.sha256
        if path.is_file() and sha256_file(path) == blob.sha256:
            place(path, self._store.blob(blob.sha256))
            return None
        path.unlink(missing_ok=True)
        number = self.listed.blobs.index(blob)
        pieces = [p for p in self.listed.pieces if any(frame.blob == number for frame in p.frames)]
        for piece in pieces:
            self._mark(piece).unlink(missing_ok=True)
        names = " ".join(piece.name for piece in pieces)
        return DigestMismatch(
            f"checksum mismatch: {blob.name} differs after unpacking", f"copy these pieces again: {names}"
        )
