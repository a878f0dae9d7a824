"""Measure the disk space of built images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kit.core.digest import Sha256
from kit.core.errors import KitError
from kit.core.store import Store
from kit.image.assemble import ROOM
from kit.image.build import survey
from kit.image.digest import read_identity
from kit.image.lock import read_lock
from kit.image.oci import read_manifest
from kit.image.spec import eras, read_spec


@dataclass(frozen=True, slots=True)
class DiskUsage:
    """Disk space of the images in a store, without downloads and unpacked file systems."""

    eras: tuple[str, ...]
    """Eras that are built on this machine."""
    layers: int
    """Number of distinct layers."""
    summed: int
    """Bytes of each image's layers, added up over the images."""
    distinct: int
    """Bytes of the distinct layers, each counted once."""
    on_disk: int
    """Blocks that layers, documents and layouts take, each file counted once, in bytes."""

    @property
    def ratio(self) -> float:
        """Bytes on disk for each byte of a distinct layer."""
        return self.on_disk / self.distinct if self.distinct else 0.0

    def document(self) -> dict[str, object]:
        """Return it as JSON."""
        return {
            "eras": list(self.eras),
            "layers": self.layers,
            "summed_bytes": self.summed,
            "distinct_bytes": self.distinct,
            "disk_bytes": self.on_disk,
            "ratio": round(self.ratio, 5),
        }


def disk_usage(images: Path, store: Store) -> DiskUsage:
    """Measure the images of the eras that are built in `store`. Incomplete images are skipped."""
    built: list[str] = []
    layers: dict[Sha256, int] = {}
    summed = 0
    files: dict[tuple[int, int], int] = {}
    for era in eras(images):
        try:
            if not survey(era, images, store).built:
                continue
            spec = read_spec(images, era)
            manifest = read_identity(spec, read_lock(spec)).manifest
            folder = store.root / ROOM / manifest
            _, descriptors = read_manifest(folder, manifest)
            _count(folder, files)
        except (KitError, FileNotFoundError):
            continue
        built.append(era)
        layers.update((layer.digest, layer.size) for layer in descriptors)
        summed += sum(layer.size for layer in descriptors)
    return DiskUsage(tuple(built), len(layers), summed, sum(layers.values()), sum(files.values()))


def _count(folder: Path, files: dict[tuple[int, int], int]) -> None:
    """Record the blocks of all files in a layout by inode; follow symbolic links."""
    for path in (folder, *folder.rglob("*")):
        status = path.stat()
        files[(status.st_dev, status.st_ino)] = status.st_blocks * 512
