"""Assemble layers and OCI documents from files in the store, on all cores. Downloads nothing."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from kit.core.errors import PrerequisiteError, UsageError
from kit.core.files import disk_errors
from kit.core.store import Progress, Store, no_progress
from kit.image.digest import ImageIdentity
from kit.image.layer import LayerFile, LayerPlan, plan_layers, write_layer
from kit.image.lock import Lock, read_lock
from kit.image.meter import ByteMeter, cores
from kit.image.oci import ImageDocuments, blob_path, describe, write_layout
from kit.image.recheck import recheck
from kit.image.spec import EraSpec, read_spec
from kit.image.tarball import tar_size

ROOM = "layouts"


@dataclass(frozen=True, slots=True)
class BuiltImage:
    """An image that was assembled into a directory; it is not compared with the expected digests."""

    identity: ImageIdentity
    layers: tuple[LayerFile, ...]
    documents: ImageDocuments


@contextlib.contextmanager
def assembled(
    spec: EraSpec, lock: Lock, artifacts: Store, scratch: Store, progress: Progress
) -> Iterator[BuiltImage]:
    """Assemble an image in a staging directory of `scratch`, which is removed with all layers left in it."""
    with scratch.staging(ROOM) as folder:
        yield _assembled(spec, lock, artifacts, folder, progress)


def assemble(
    era: str, images: Path, artifacts: Store, folder: Path, progress: Progress = no_progress
) -> ImageIdentity:
    """
    Assemble an era into a new OCI layout at `folder`, for builders that provide the files themselves.

    Every artifact is hashed; the result is not compared with images/<era>/digest. Raises `UsageError`
    if `folder` exists, `PrerequisiteError` if an artifact is missing, and what `plan_layers` raises.
    """
    spec = read_spec(images, era)
    lock = read_lock(spec)
    absent = sorted(a.name for a in lock.artifacts if not artifacts.has(a))
    if absent:
        files = "1 file is" if len(absent) == 1 else f"{len(absent)} files are"
        raise PrerequisiteError(
            f"{files} missing from the store: {', '.join(absent)}", f"speedrun image fetch {era}"
        )
    recheck(lock, artifacts, progress)
    with disk_errors(folder):
        try:
            folder.mkdir(parents=True)
        except FileExistsError as e:
            raise UsageError(f"{folder} already exists", "choose another directory") from e
        scratch = folder / "scratch"
        scratch.mkdir()
        built = _assembled(spec, lock, artifacts, scratch, progress)
        write_layout(folder, era, built.identity.manifest, len(built.documents.manifest))
        for document, digest in (
            (built.documents.config, built.identity.config),
            (built.documents.manifest, built.identity.manifest),
        ):
            blob_path(folder, digest).write_bytes(document)
        for layer in built.layers:
            layer.path.rename(blob_path(folder, layer.digest))
        shutil.rmtree(scratch)
    return built.identity


def _assembled(spec: EraSpec, lock: Lock, artifacts: Store, folder: Path, progress: Progress) -> BuiltImage:
    spool = folder / "spool"
    spool.mkdir()
    progress(f"unpack {spec.era}", 0, 0)
    plans = plan_layers(spec, lock, artifacts, spool, cores())
    layers = _write(plans, spec, folder, progress)
    documents = describe(spec, layers)
    titles = tuple((layer.title, layer.digest) for layer in layers)
    identity = ImageIdentity(documents.config_digest, documents.manifest_digest, titles)
    return BuiltImage(identity, layers, documents)


def _write(
    plans: Sequence[LayerPlan], spec: EraSpec, folder: Path, progress: Progress
) -> tuple[LayerFile, ...]:
    """
    Write the layers in parallel threads: inflating, hashing and writing release the GIL.

    The largest come first, so that the cores end together.
    """
    sizes = [tar_size(plan.entries) for plan in plans]
    total = ByteMeter(f"assemble {spec.era}", sum(sizes), progress)

    def write(at: int) -> LayerFile:
        file = folder / f"layer-{at}"
        return write_layer(plans[at], spec.epoch, file, lambda done: total.part(file.name, done, 0))

    with ThreadPoolExecutor(cores()) as pool:
        order = sorted(range(len(plans)), key=lambda at: (-sizes[at], at))
        try:
            written = dict(zip(order, pool.map(write, order), strict=True))
        except BaseException:
            total.stop()
            raise
    return tuple(written[at] for at in range(len(plans)))
