"""The image room's bill: what built images take on a disk, beside their layers' sum. Removes nothing."""

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
    """Bytes of the images of a store. Downloads and unpacked file systems are not in it."""

    eras: tuple[str, ...]
    """Those that are built here."""
    layers: int
    """Distinct layers of them."""
    summed: int
    """Bytes of each image's layers, added up over the images."""
    distinct: int
    """Bytes of the distinct layers, each counted once."""
    on_disk: int
    """Blocks that layers, documents and layouts take, each file counted once, in bytes."""

    @property
    def ratio(self) -> float:
        """Blocks on disk for one byte of a distinct layer."""
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
    """Measure the images of the eras that are built in `store`. Broken or half built ones are left out."""
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
    """Note the blocks of all that is in a layout, through symbolic links too, by inode."""
    for path in (folder, *folder.rglob("*")):
        status = path.stat()
        files[(status.st_dev, status.st_ino)] = status.st_blocks * 512
