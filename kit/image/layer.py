"""Plan and write the layers of an image from debs and wheels."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from kit.core.digest import Sha256
from kit.core.errors import IntegrityError
from kit.core.files import disk_errors
from kit.core.store import Store
from kit.image.base import ORIGIN, base_entries, module_entries, package_list
from kit.image.deb import read_deb
from kit.image.entry import ArchiveEntry, EntryKind, Extent, chunks, folder, plain_path, refusal
from kit.image.lock import Lock, Wheel
from kit.image.spec import EraSpec
from kit.image.tarball import write_tar
from kit.image.wheel import read_members, read_wheel

BASE = "base"
REST = "small wheels"
FILES = "files"


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """A layer that is not written yet."""

    title: str
    entries: tuple[ArchiveEntry, ...]
    """Sorted by path, each directory before its content."""


@dataclass(frozen=True, slots=True)
class LayerFile:
    """A layer as an uncompressed tar; its digest is also the diffID."""

    title: str
    path: Path
    digest: Sha256
    size: int


def plan_layers(spec: EraSpec, lock: Lock, store: Store, spool: Path, workers: int) -> tuple[LayerPlan, ...]:
    """
    Plan an era's layers: base, one for each wheel of `spec.own_layer`, and one for the other wheels.

    An era with files of no package, or with modules of the kit, has one more layer for these.
    `spool` is an empty directory for unpacked packages, which must exist until the layers are written;
    `workers` packages are unpacked at a time. Every artifact must be in the store.

    Raises `IntegrityError` for hostile packages, and for packages with conflicting entries.
    """
    plans = [LayerPlan(BASE, _base(spec, lock, store, spool, workers))]
    for title, wheels in _groups(spec, lock):
        entries = [e for w in wheels for e in _wheel(spec, w, store)]
        plans.append(LayerPlan(title, _sorted(_merged(entries))))
    if files := [*_files(spec, lock, store), *module_entries(spec.modules, spec.python)]:
        plans.append(LayerPlan(FILES, _sorted(_merged(files))))
    _refuse_contradictions(plans)
    return tuple(plans)


def _groups(spec: EraSpec, lock: Lock) -> list[tuple[str, list[Wheel]]]:
    by_name = {w.project: w for w in lock.wheels}
    for key, names in (("own-layer", spec.own_layer), ("extract", sorted(spec.extracted))):
        if missing := [name for name in names if name not in by_name]:
            raise IntegrityError(
                f"{spec.source}: {key} lists {', '.join(missing)}, missing from lock.json",
                f"remove it from {key}, or resolve again: speedrun image lock {spec.era}",
            )
    rest = [w for w in lock.wheels if w.project not in spec.own_layer]
    groups = [(name, [by_name[name]]) for name in spec.own_layer]
    return groups + ([(REST, rest)] if rest else [])


def _wheel(spec: EraSpec, wheel: Wheel, store: Store) -> list[ArchiveEntry]:
    path = store.blob(wheel.sha256)
    if wheel.project not in spec.extracted:
        return read_wheel(wheel, path, spec.python)
    return read_members(wheel, path, {m.member: m.path for m in spec.extract if m.wheel == wheel.project})


def _files(spec: EraSpec, lock: Lock, store: Store) -> list[ArchiveEntry]:
    paths = {f.name: f.path for f in spec.files}
    entries = []
    for file in lock.files:
        content = Extent(store.blob(file.sha256), 0, file.size)
        path = plain_path(paths[file.name], file.name)
        entries.append(ArchiveEntry(path, EntryKind.FILE, 0o644, file.name, file.size, content))
    return entries


def _base(spec: EraSpec, lock: Lock, store: Store, spool: Path, workers: int) -> tuple[ArchiveEntry, ...]:
    def read(number: int) -> tuple[str, list[ArchiveEntry]]:
        deb = lock.debs[number]
        return read_deb(deb, store.blob(deb.sha256), spool / f"{number}.tar")

    # lzma releases the GIL; largest first, so that no large package starts last
    order = sorted(range(len(lock.debs)), key=lambda number: (-lock.debs[number].size, number))
    with disk_errors(spool), ThreadPoolExecutor(workers) as pool:
        by_number = dict(zip(order, pool.map(read, order), strict=True))
    unpacked = [by_number[number] for number in sorted(by_number)]
    entries = _merged(entry for _, own in unpacked for entry in own)
    own = base_entries(spec.python)
    if unpacked:
        own.append(package_list([control for control, _ in unpacked]))
    entries.update((entry.path, entry) for entry in own)
    return _sorted(entries)


def _merged(entries: Iterable[ArchiveEntry]) -> dict[str, ArchiveEntry]:
    """Index entries by path; refuse two entries for a path unless they are equal."""
    merged: dict[str, ArchiveEntry] = {}
    for entry in entries:
        before = merged.setdefault(entry.path, entry)
        if before is not entry and not _is_same(before, entry):
            raise refusal(entry.origin, entry.path, f"conflicts with the entry of {before.origin}")
    return merged


def _is_same(a: ArchiveEntry, b: ArchiveEntry) -> bool:
    if (a.kind, a.mode, a.size, a.target) != (b.kind, b.mode, b.size, b.target):
        return False
    if a.source is None or b.source is None or a.source == b.source:
        return True
    return b"".join(chunks(a.source)) == b"".join(chunks(b.source))


def _sorted(by_path: dict[str, ArchiveEntry]) -> tuple[ArchiveEntry, ...]:
    """Add missing parent directories, and sort each directory before its content."""
    for path in list(by_path):
        while "/" in path:
            path = path.rsplit("/", 1)[0]
            if path in by_path:
                break
            by_path[path] = folder(path, ORIGIN)
    return tuple(sorted(by_path.values(), key=lambda e: e.path.split("/")))


def _refuse_contradictions(plans: list[LayerPlan]) -> None:
    """Refuse paths below a non-directory, and layers that replace an entry of an earlier layer."""
    whole: dict[str, ArchiveEntry] = {}
    for plan in plans:
        for entry in plan.entries:
            before = whole.setdefault(entry.path, entry)
            if (
                before is not entry
                and not (entry.kind is EntryKind.FOLDER is before.kind)
                and not _is_same(before, entry)
            ):
                raise refusal(entry.origin, entry.path, f"conflicts with the entry of {before.origin}")
    for entry in whole.values():
        parent = entry.path.rpartition("/")[0]
        if parent and whole[parent].kind is not EntryKind.FOLDER:
            raise refusal(entry.origin, entry.path, f"{parent} is not a directory in {whole[parent].origin}")


def write_layer(plan: LayerPlan, epoch: int, path: Path, moved: Callable[[int], None]) -> LayerFile:
    """
    Write a layer to `path` and hash it; call `moved` with the bytes written so far.

    Raises `IntegrityError` if a member's size is not as stated, `RunError` if the disk is full.
    """
    digest = hashlib.sha256()
    with disk_errors(path), path.open("wb", buffering=1 << 20) as f:

        def write(data: bytes) -> None:
            digest.update(data)
            f.write(data)

        size = write_tar(plan.entries, epoch, write, moved)
    return LayerFile(plan.title, path, Sha256(digest.hexdigest()), size)
