"""Unpack each layer once, and make root file systems from hard links to the unpacked layers."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kit.core.digest import CHUNK, Sha256
from kit.core.errors import DigestMismatch, IntegrityError
from kit.core.files import link_or_copy
from kit.core.seal import listing
from kit.core.store import Progress, Store, no_progress
from kit.core.text import in_shell
from kit.image.bounded import UNREADABLE
from kit.image.build import Layout
from kit.image.entry import plain_path, refusal, safe_target
from kit.image.meter import ByteMeter
from kit.image.oci import blob_path

LAYERS = "unpacked"
ROOTS = "roots"
TREE = "root"
SEAL = "seal"
"""A file beside a tree: what `kit.core.seal.listing` said of it when it was made."""
IMPOSSIBLE = (errno.EEXIST, errno.EINVAL, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOTDIR)
"""What a file system answers to a name that comes twice, is too long, or is below a file."""


def ensure_rootfs(layout: Layout, store: Store, progress: Progress = no_progress) -> Path:
    """
    Return a directory with the image's files, which must be mounted read-only.

    Every layer's bytes are hashed when they are unpacked. Afterwards each use compares every path's
    mode, size and time with what they were: that sees accidents, not an operator who sets times back.
    Files belong to the calling user and are readable by every uid. Raises `DigestMismatch` if a layer
    or the tree has been changed, `RunError` if the disk is full.
    """
    home = store.room(ROOTS) / layout.manifest_digest
    if not home.exists():
        with store.lock(f"rootfs-{layout.manifest_digest}"):
            if not home.exists():
                _make(layout, home, store, progress)
                return home / TREE
    _check(home)
    return home / TREE


def _make(layout: Layout, home: Path, store: Store, progress: Progress) -> None:
    blobs = {diff_id: blob_path(layout.path, diff_id) for diff_id in layout.diff_ids}
    sizes = {diff_id: blob.stat().st_size if blob.exists() else 0 for diff_id, blob in blobs.items()}
    meter = ByteMeter(f"unpack {layout.era}", sum(sizes.values()), progress)
    trees = []
    for diff_id in layout.diff_ids:
        trees.append(_unpacked(layout, diff_id, store, meter.part))
        meter.part(diff_id, sizes[diff_id], sizes[diff_id])  # also where the layer was unpacked before
    with store.staging(ROOTS) as folder:
        root = folder / TREE
        root.mkdir()
        progress("link the root file system", 0, 0)
        folders: dict[str, int] = {}
        for tree in trees:
            _link_tree(tree, root, folders)
        _finish_folders(root, folders, layout.epoch)
        (folder / SEAL).write_text(listing(root), encoding="utf-8", errors="surrogateescape")
        folder.rename(home)


def _unpacked(layout: Layout, diff_id: Sha256, store: Store, progress: Progress) -> Path:
    """Return the directory of an unpacked layer; unpack it if it is missing."""
    home = store.room(LAYERS) / diff_id
    with store.lock(f"layer-{diff_id}"):
        if home.exists():
            _check(home)
            return home / TREE
        with store.staging(LAYERS) as folder:
            root = folder / TREE
            root.mkdir()
            folders = unpack_layer(blob_path(layout.path, diff_id), diff_id, root, progress)
            _finish_folders(root, folders, layout.epoch)
            (folder / SEAL).write_text(listing(root), encoding="utf-8", errors="surrogateescape")
            folder.rename(home)
    return home / TREE


class _HashingReader:
    """A layer's tar file, hashed while tarfile unpacks it."""

    def __init__(self, path: Path, progress: Progress) -> None:
        self._file = path.open("rb")
        self._size = path.stat().st_size
        self._label = path.name
        self._progress = progress
        self._done = 0
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """Read and hash the next bytes."""
        data = self._file.read(size)
        self.digest.update(data)
        self._done += len(data)
        self._progress(self._label, self._done, self._size)
        return data

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def unpack_layer(blob: Path, diff_id: Sha256, root: Path, progress: Progress) -> dict[str, int]:
    """Unpack a layer that the kit wrote; return its directories with their modes."""
    source = _HashingReader(blob, progress)
    again = f"rm {in_shell(blob)}, then run the command again"
    folders: dict[str, int] = {}
    try:
        stream: Any = source
        with tarfile.open(fileobj=stream, mode="r|", bufsize=CHUNK) as tar:
            for member in tar:
                _unpack_one(tar, member, root, folders, f"layer {diff_id[:12]}")
        while source.read(CHUNK):
            pass
    except UNREADABLE as e:
        raise IntegrityError(f"cannot unpack {blob}: {e}", again) from e
    except OSError as e:
        if e.errno not in IMPOSSIBLE:
            raise
        why = f"cannot unpack {blob}: {e.strerror}"
        raise IntegrityError(why, again) from e
    finally:
        source.close()
    if source.digest.hexdigest() != diff_id:
        raise DigestMismatch(f"checksum mismatch: {blob} was changed", again)
    return folders


def _unpack_one(
    tar: tarfile.TarFile, member: tarfile.TarInfo, root: Path, folders: dict[str, int], origin: str
) -> None:
    path = plain_path(member.name, origin)
    parent = path.rpartition("/")[0]
    if not path or (parent and parent not in folders):
        raise refusal(origin, member.name, "its parent directory is not in the layer")
    place = root / path
    if member.isdir():
        place.mkdir(mode=0o755)
        folders[path] = member.mode & 0o1777
    elif member.issym():
        place.symlink_to(safe_target(path, member.linkname, origin))
        os.utime(place, (member.mtime, member.mtime), follow_symlinks=False)
    elif member.isreg():
        content = tar.extractfile(member)
        fd = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        with os.fdopen(fd, "wb", buffering=0) as f:
            while content is not None and (chunk := content.read(CHUNK)):
                f.write(chunk)
            os.fchmod(fd, member.mode & 0o755)
            os.utime(fd, (member.mtime, member.mtime))
    else:
        raise refusal(origin, path, "not a file, directory or link")


def _link_tree(tree: Path, root: Path, folders: dict[str, int]) -> None:
    """Hard-link a layer's files into `root`; replace files that exist."""
    for path, entry, status in _walk(tree):
        place = root / path
        if entry.is_dir(follow_symlinks=False):
            if path not in folders:
                place.mkdir(mode=0o755)
            folders[path] = stat.S_IMODE(status.st_mode)
            continue
        if path in folders:
            raise refusal(str(tree), path, "an earlier layer has a directory at this path")
        try:
            _link(entry, status, place)
        except FileExistsError:
            place.unlink()
            _link(entry, status, place)


def _link(entry: os.DirEntry[str], status: os.stat_result, place: Path) -> None:
    if entry.is_symlink():
        place.symlink_to(Path(entry.path).readlink())
        os.utime(place, ns=(status.st_mtime_ns, status.st_mtime_ns), follow_symlinks=False)
        return
    link_or_copy(Path(entry.path), place)


def _finish_folders(root: Path, folders: dict[str, int], epoch: int) -> None:
    """Set the directories' modes and times at the end, deepest first: adding files changes their times."""
    for path in sorted(folders, key=lambda p: -p.count("/")):
        (root / path).chmod(folders[path])
        os.utime(root / path, (epoch, epoch))
    root.chmod(0o755)
    os.utime(root, (epoch, epoch))


def _walk(root: Path) -> Iterator[tuple[str, os.DirEntry[str], os.stat_result]]:
    """Yield every path below `root` with its status, in a fixed order, directories before their content."""
    pending = [""]
    while pending:
        folder = pending.pop()
        with os.scandir(root / folder) as scan:
            entries = sorted(scan, key=lambda e: e.name)
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            yield path, entry, entry.stat(follow_symlinks=False)
            if entry.is_dir(follow_symlinks=False):
                pending.append(path)


def _check(home: Path) -> None:
    """Compare a tree with its seal. Raises `DigestMismatch` naming the first path that differs."""
    try:
        sealed = (home / SEAL).read_text(encoding="utf-8", errors="surrogateescape")
        actual = listing(home / TREE)
    except OSError as e:
        raise _changed(home, str(e.filename)) from e
    if sealed != actual:
        differing = set(sealed.splitlines()) ^ set(actual.splitlines())
        raise _changed(home, min((line.split(" ", 3)[-1] for line in differing), default=SEAL))


def _changed(home: Path, where: str) -> DigestMismatch:
    rooms = (home.parent.parent / room for room in (LAYERS, ROOTS))
    return DigestMismatch(
        f"{home / TREE} was changed at {where}", f"rm -r {in_shell(*rooms)}, then run the command again"
    )
