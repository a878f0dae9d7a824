"""Compare two images: packages, layers and tar entries."""

from __future__ import annotations

import itertools
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from kit.core.digest import CHUNK
from kit.core.store import Store
from kit.image.compared import ComparedImage, ComparedLayer, read_image, tar_members
from kit.image.uncompressed import open_layer


@dataclass(frozen=True, slots=True)
class ImageChange:
    """One difference between two images; None on the side that lacks the package, layer or entry."""

    kind: str
    """`deb`, `wheel`, `layer` or `entry`."""
    layer: str
    """Title of the layer; empty for a package."""
    name: str
    before: str | None
    after: str | None

    def document(self) -> dict[str, object]:
        """Return it as JSON."""
        return {
            "kind": self.kind,
            "layer": self.layer,
            "name": self.name,
            "before": self.before,
            "after": self.after,
        }


@dataclass(frozen=True, slots=True)
class ImageDifference:
    """All differences between two images."""

    same: bool
    """The manifests, and so the whole images, are equal."""
    packages: tuple[ImageChange, ...]
    layers: tuple[ImageChange, ...]
    entries: tuple[ImageChange, ...]
    unread: tuple[str, ...]
    """Titles of layers that differ but are not on this disk: their entries are not compared."""

    @property
    def same_contents(self) -> bool:
        """Tell whether all layers were compared and unpack to the same bytes."""
        paired = all(c.name != "order" and None not in (c.before, c.after) for c in self.layers)
        return paired and not (self.packages or self.entries or self.unread)

    def document(self) -> dict[str, object]:
        """Return it as JSON."""
        return {
            "same": self.same,
            "same_contents": self.same_contents,
            "packages": [c.document() for c in self.packages],
            "layers": [c.document() for c in self.layers],
            "entries": [c.document() for c in self.entries],
            "unread_layers": list(self.unread),
        }


def read_pair(a: str, b: str, images: Path, store: Store) -> tuple[ComparedImage, ComparedImage]:
    """Read two images as `read_image` does. If their manifests are equal, no layer is opened."""
    one, other = (read_image(name, images, store, packages=False) for name in (a, b))
    if one.manifest == other.manifest:
        return one, replace(one, name=other.name)
    return read_image(a, images, store), read_image(b, images, store)


def compare_images(a: ComparedImage, b: ComparedImage) -> ImageDifference:
    """
    Compare two images: packages, layers by title, and headers and bytes of the entries of changed layers.

    Raises as `compare_layers` does.
    """
    layers: list[ImageChange] = []
    entries: list[ImageChange] = []
    unread: list[str] = []
    before, after = ({layer.title: layer for layer in s.layers} for s in (a, b))
    for title in dict.fromkeys((*before, *after)):
        old, new = before.get(title), after.get(title)
        if old is not None and new is not None and old.digest == new.digest:
            continue
        layers.append(ImageChange("layer", title, title, _digest(old), _digest(new)))
        if old is None or new is None:
            continue
        if old.path is None or new.path is None:
            unread.append(title)
        else:
            entries += compare_layers(title, old.path, new.path)
    if not layers and [x.title for x in a.layers] != [x.title for x in b.layers]:
        order = (", ".join(x.title for x in s.layers) for s in (a, b))
        layers.append(ImageChange("layer", "", "order", *order))
    return ImageDifference(
        same=a.manifest == b.manifest,
        packages=tuple(_packages(a, b)),
        layers=tuple(layers),
        entries=tuple(entries),
        unread=tuple(unread),
    )


def _digest(layer: ComparedLayer | None) -> str | None:
    return None if layer is None else layer.digest


def compare_layers(title: str, before: Path, after: Path) -> tuple[ImageChange, ...]:
    """
    Compare two layers by entry; if only the tar files differ, return the offset of the first difference.

    Compressed layers are compared by what they unpack to. Raises `IntegrityError` if a file is not a tar, and
    as `open_layer` does.
    """
    changes: list[ImageChange] = []
    with open_layer(before) as old_file, open_layer(after) as new_file:
        old, new = tar_members(before, old_file), tar_members(after, new_file)
        for path in sorted(old.keys() | new.keys()):
            difference = _difference(old.get(path), new.get(path), old_file, new_file)
            if difference is not None:
                changes.append(ImageChange("entry", title, path, *difference))
        if not changes and list(old) != list(new):
            number, pair = next(
                (i, pair) for i, pair in enumerate(zip(old, new, strict=True)) if pair[0] != pair[1]
            )
            changes.append(ImageChange("entry", title, f"entry {number} in order", *pair))
        if not changes:
            sizes = tuple(f.seek(0, os.SEEK_END) for f in (old_file, new_file))
            at = _first_difference(old_file, 0, new_file, 0, max(sizes))
            if at is not None:
                changes.append(ImageChange("entry", title, "tar encoding", f"byte {at}", f"byte {at}"))
    return tuple(changes)


def _difference(
    old: tarfile.TarInfo | None, new: tarfile.TarInfo | None, old_file: IO[bytes], new_file: IO[bytes]
) -> tuple[str | None, str | None] | None:
    """Describe both sides of the difference between two entries; return None if they are equal."""
    if old is None or new is None:
        return (None if old is None else _format_entry(old), None if new is None else _format_entry(new))
    fields = [
        (f"{name} {x}".strip(), f"{name} {y}".strip())
        for (name, x), (_, y) in zip(_fields(old), _fields(new), strict=True)
        if x != y
    ]
    if not fields and old.isreg():
        at = _first_difference(old_file, old.offset_data, new_file, new.offset_data, old.size)
        if at is not None:
            fields = [(f"differs from byte {at} of {old.size}", f"differs from byte {at} of {new.size}")]
    if not fields:
        return None
    return "; ".join(x for x, _ in fields), "; ".join(y for _, y in fields)


def _fields(member: tarfile.TarInfo) -> Iterator[tuple[str, Any]]:
    yield "", _kind(member)
    yield "mode", f"{member.mode:04o}"
    yield "size", member.size
    yield "time", member.mtime
    yield "uid", member.uid
    yield "gid", member.gid
    yield "user", member.uname
    yield "group", member.gname
    yield "target", member.linkname


def _kind(member: tarfile.TarInfo) -> str:
    return (
        "directory" if member.isdir() else "link" if member.issym() else "file" if member.isreg() else "other"
    )


def _format_entry(member: tarfile.TarInfo) -> str:
    more = (
        f" to {member.linkname}" if member.issym() else f" of {member.size} bytes" if member.isreg() else ""
    )
    return f"{_kind(member)}{more}"


def _first_difference(
    old_file: IO[bytes], at_old: int, new_file: IO[bytes], at_new: int, size: int
) -> int | None:
    """Return the offset of the first byte that differs, or None."""
    done = 0
    while done < size:
        want = min(CHUNK, size - done)
        x, y = (os.pread(f.fileno(), want, at + done) for f, at in ((old_file, at_old), (new_file, at_new)))
        if x != y:
            pairs = itertools.zip_longest(x, y)
            return done + next(i for i, (p, q) in enumerate(pairs) if p != q)
        if not x:
            break
        done += len(x)
    return None


def _packages(a: ComparedImage, b: ComparedImage) -> Iterator[ImageChange]:
    before, after = ({(kind, name): version for kind, name, version in s.packages} for s in (a, b))
    for kind, name in sorted(before.keys() | after.keys()):
        old, new = before.get((kind, name)), after.get((kind, name))
        if old != new:
            yield ImageChange(kind, "", name, old, new)
