"""
List what lies in a store, by kind, with sizes, the last use, and what is in use. Changes nothing.

Only entries that the kit itself makes, by name and place, have a kind that can be removed. Everything else is
`other`: the store may be a directory that holds foreign files, too.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from kit.core.digest import Sha256, is_sha256
from kit.core.errors import KitError
from kit.core.files import STAGING, is_being_staged
from kit.core.store import Store
from kit.core.store_use import StoreUse
from kit.core.system import NOFOLLOW, NONBLOCK, READ
from kit.data.shard import MAGIC
from kit.evaluate import byte_code, compile_cache
from kit.image import assemble, rootfs
from kit.image.oci import read_manifest
from kit.values.task_id import SMOKE

BLOBS = "blobs/sha256"
PARTIAL = "partial"
_HEAD = 512
"""Bytes of a blob that say what it is."""
_TAR_MAGIC = slice(257, 262)


class CacheKind(StrEnum):
    """What an entry of the store is."""

    DOWNLOADS = "downloads"
    """Wheels and Debian packages."""
    IMAGES = "images"
    """Built images: OCI layouts and the layers and documents that they link to."""
    LAYERS = "layers"
    """Unpacked layers, the root file systems made of them for runc, and compiled Python files."""
    DATA = "data"
    """Shards: FineWeb's and the synthetic ones."""
    CANARY = "canary"
    """Texts that a guest drew for the canary audit."""
    COMPILED = "compile-caches"
    """What Inductor and Triton compiled for a record's script."""
    SCRIPTS = "scripts"
    """Scripts of the records, and the upstream files that they come from."""
    TEMPORARY = "temporary"
    """Incomplete downloads and directories of processes that are running or were killed."""
    OTHER = "other"
    """Everything else; it is never removed."""


REMOVABLE = tuple(kind for kind in CacheKind if kind is not CacheKind.OTHER)
_OWN = ("blobs", PARTIAL, "locks", "uses", "memo", "submissions", "capsules")
"""Rooms that are not listed by `_rooms`."""
_ROOMS = (
    ("smoke", re.compile(r"[0-9a-f]{8,64}"), CacheKind.DATA),
    ("data", re.compile(r"shards-[0-9a-f]{16}|[\w.-]+\.json"), CacheKind.DATA),
    (compile_cache.ROOM, re.compile(r"[0-9a-f]{64}"), CacheKind.COMPILED),
    ("canary", re.compile(r"[0-9a-f]{64}"), CacheKind.CANARY),
    ("scripts", re.compile(rf"(?:[0-9]{{2,3}}[a-z]?|{SMOKE}[1-9])-[0-9a-f]{{16}}"), CacheKind.SCRIPTS),
)
_BYTE_CODE = re.compile(r"[0-9a-f]{64}-[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """Something in the store that is removed as a whole."""

    kind: CacheKind
    name: str
    """Its name in lists: a digest or a file name."""
    paths: tuple[Path, ...]
    last_used: float
    """Unix time. For an image, a run's start; else the latest access or change that the disk knows of."""
    images: frozenset[str] = frozenset()
    """Manifest digests of the images that it belongs to; empty if it belongs to none."""
    in_use: bool = False


@dataclass(frozen=True, slots=True)
class CacheInventory:
    """The entries of a store, with the processes that use it."""

    root: Path
    entries: tuple[CacheEntry, ...]
    uses: tuple[StoreUse, ...]

    def of_kind(self, kind: CacheKind) -> tuple[CacheEntry, ...]:
        """Return the entries of one kind."""
        return tuple(entry for entry in self.entries if entry.kind is kind)


@dataclass(frozen=True, slots=True)
class _BuiltImage:
    manifest: str
    documents: frozenset[Sha256]
    layers: frozenset[Sha256]
    last_used: float


def take_inventory(store: Store, uses: tuple[StoreUse, ...], scripts: Collection[str] = ()) -> CacheInventory:
    """
    List the entries of a store; none if it does not exist.

    `uses` are its leases, `scripts` the digests of upstream files of the records. Raises `PermissionError`
    for a directory that cannot be read.
    """
    if not is_store(store):
        return CacheInventory(store.root, (), uses)
    images = {image.manifest: image for image in _built_images(store)}
    entries = [
        *_blobs(store, images, frozenset(scripts)),
        *_layouts(store, images),
        *_unpacked(store, images),
        *_rooms(store),
        *_temporary(store),
    ]
    entries = [replace(entry, in_use=entry.in_use or _is_used(entry, uses)) for entry in entries]
    return CacheInventory(store.root, tuple(sorted(entries, key=lambda e: (e.kind, e.name))), uses)


def is_store(store: Store) -> bool:
    """Tell whether a directory has been used as a store: it has blobs or locks of the kit."""
    return (store.root / BLOBS).is_dir() or (store.root / "locks").is_dir()


def _is_used(entry: CacheEntry, uses: tuple[StoreUse, ...]) -> bool:
    """Tell whether a process may use an entry; see `kit.core.store_use`."""
    if not uses:
        return False
    if any(use.images is None for use in uses):
        return True
    if entry.kind in (CacheKind.IMAGES, CacheKind.LAYERS):
        return any(entry.images & (use.images or frozenset()) for use in uses)
    return entry.kind is not CacheKind.DOWNLOADS


def _built_images(store: Store) -> Iterator[_BuiltImage]:
    for path in _children(store.root / assemble.ROOM):
        if not is_sha256(path.name):
            continue
        try:
            config, layers = read_manifest(path, Sha256(path.name))
        except (KitError, OSError):
            yield _BuiltImage(path.name, frozenset(), frozenset(), _mtime(path))
            continue
        documents = frozenset((Sha256(path.name), config.digest))
        yield _BuiltImage(path.name, documents, frozenset(layer.digest for layer in layers), _mtime(path))


def _layouts(store: Store, images: Mapping[str, _BuiltImage]) -> Iterator[CacheEntry]:
    for image in images.values():
        path = store.root / assemble.ROOM / image.manifest
        yield CacheEntry(
            CacheKind.IMAGES, image.manifest, (path,), image.last_used, frozenset((image.manifest,))
        )


def _blobs(store: Store, images: Mapping[str, _BuiltImage], scripts: frozenset[str]) -> Iterator[CacheEntry]:
    for path in _children(store.root / BLOBS):
        if not is_sha256(path.name):
            yield CacheEntry(CacheKind.OTHER, path.name, (path,), _latest(path))
            continue
        digest = Sha256(path.name)
        of = [image for image in images.values() if digest in image.documents or digest in image.layers]
        if of:
            last_used = max(image.last_used for image in of)
            owners = frozenset(image.manifest for image in of)
            yield CacheEntry(CacheKind.IMAGES, digest, (path,), last_used, owners)
        else:
            kind = CacheKind.SCRIPTS if digest in scripts else _kind_of_blob(path)
            yield CacheEntry(kind, digest, (path,), _latest(path))


def _kind_of_blob(path: Path) -> CacheKind:
    """Tell from its first bytes what a blob without an image is."""
    try:
        fd = os.open(path, READ | NOFOLLOW | NONBLOCK)
    except OSError:
        return CacheKind.OTHER
    try:
        head = os.read(fd, _HEAD) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
    finally:
        os.close(fd)
    if head[:4] == MAGIC.to_bytes(4, "little"):
        return CacheKind.DATA
    if head[_TAR_MAGIC] == b"ustar" or head[:1] == b"{":
        return CacheKind.IMAGES
    return CacheKind.DOWNLOADS


def _unpacked(store: Store, images: Mapping[str, _BuiltImage]) -> Iterator[CacheEntry]:
    for path in _children(store.root / rootfs.ROOTS):
        if is_sha256(path.name):
            image = images.get(path.name)
            last_used = image.last_used if image else _mtime(path)
            yield CacheEntry(CacheKind.LAYERS, path.name, (path,), last_used, frozenset((path.name,)))
    for path in _children(store.root / byte_code.ROOM):
        if _BYTE_CODE.fullmatch(path.name):
            manifest = path.name.partition("-")[0]
            last_used = images[manifest].last_used if manifest in images else _mtime(path)
            yield CacheEntry(CacheKind.LAYERS, path.name, (path,), last_used, frozenset((manifest,)))
    for path in _children(store.root / rootfs.LAYERS):
        if is_sha256(path.name):
            of = [image for image in images.values() if path.name in image.layers]
            last_used = max((image.last_used for image in of), default=_mtime(path))
            yield CacheEntry(
                CacheKind.LAYERS, path.name, (path,), last_used, frozenset(i.manifest for i in of)
            )


def _rooms(store: Store) -> Iterator[CacheEntry]:
    """Yield the entries of rooms that are not made of blobs, and everything that the kit does not know."""
    known = {name: (pattern, kind) for name, pattern, kind in _ROOMS}
    image_rooms = (assemble.ROOM, rootfs.ROOTS, rootfs.LAYERS, byte_code.ROOM)
    for room in _children(store.root):
        if room.name in known and room.is_dir():
            pattern, kind = known[room.name]
            for path in _children(room):
                if not path.name.startswith(STAGING):
                    mine = pattern.fullmatch(path.name)
                    yield CacheEntry(kind if mine else CacheKind.OTHER, path.name, (path,), _latest(path))
        elif room.name in image_rooms:
            yield from (
                CacheEntry(CacheKind.OTHER, path.name, (path,), _latest(path))
                for path in _children(room)
                if not _is_of_image(path)
            )
        elif room.name not in _OWN:
            yield CacheEntry(CacheKind.OTHER, room.name, (room,), _latest(room))


def _is_of_image(path: Path) -> bool:
    """Tell whether a name in a room of images is one that the kit makes."""
    named = _BYTE_CODE.fullmatch(path.name) if path.parent.name == byte_code.ROOM else is_sha256(path.name)
    return bool(named) or path.name.startswith(STAGING)


def _temporary(store: Store) -> Iterator[CacheEntry]:
    for path in _children(store.root / PARTIAL):
        kind = CacheKind.TEMPORARY if is_sha256(path.name) else CacheKind.OTHER
        yield CacheEntry(kind, path.name, (path,), _latest(path))
    for room in _children(store.root):
        for path in _children(room):
            if path.name.startswith(STAGING):
                busy = is_being_staged(path)
                yield CacheEntry(CacheKind.TEMPORARY, path.name, (path,), _mtime(path), in_use=busy)


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(Path(entry.path) for entry in os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _mtime(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except OSError:
        return 0.0


def _latest(path: Path) -> float:
    """Return the last access or change of a file; of a directory, the last change."""
    try:
        status = path.lstat()
    except OSError:
        return 0.0
    return max(status.st_mtime, status.st_atime if stat.S_ISREG(status.st_mode) else 0.0)
