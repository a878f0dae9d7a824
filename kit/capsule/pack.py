"""Packing: what a verified run needs for an offline rerun, gathered into one archive. Runs nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kit.benchmark import records
from kit.capsule import bag
from kit.capsule.guide import OPEN_FILES, guide
from kit.capsule.write import PayloadPart, part_of_bytes, part_of_file, write_capsule
from kit.core.digest import Sha256, sha256_bytes
from kit.core.errors import DigestMismatch, PrerequisiteError, UsageError
from kit.core.files import disk_errors, place
from kit.evaluate.launch import DATA
from kit.evaluate.request import Places
from kit.evaluate.task_data import TaskData, task_data
from kit.image.build import Layout, ensure_layout
from kit.image.oci import blob_path, docker_manifest, read_manifest
from kit.result import folder
from kit.result.keys import Trusted
from kit.result.predicate import Predicate
from kit.result.signed import find_key
from kit.result.statement import LOG, STAMPS, SUBMISSION
from kit.result.verify import VerifiedBundle, open_bundle
from kit.sandbox.runtime import oci
from kit.values.run_spec import Mount, RunSpec
from kit.values.task_id import file_label

ERA_FILES = ("digest", "image.toml", "lock.json")


@dataclass(frozen=True, slots=True)
class PackedCapsule:
    """A capsule that was written."""

    file: Path
    size: int
    sha256_of_manifest: Sha256
    """Of the bag's payload manifest: it names all content."""
    with_data: bool
    trusted: bool
    """Whether the packer trusts the bundle's key."""


def pack(
    bundle: Path, file: Path, trusted: Trusted, places: Places, with_data: bool = False
) -> PackedCapsule:
    """
    Write the capsule of a run to `file`, which must not exist.

    The bundle is verified first, then the image is made or taken from the store and compared with the
    bundle's. Synthetic data are always packed. Raises `UsageError` for a run on the machine's own files,
    `DigestMismatch` if this kit's image, record or data are not the run's, `PrerequisiteError` if the data
    are not in the store, and as `open_bundle` and `ensure_layout` do.
    """
    if file.exists():
        raise UsageError(f"{file} exists", "choose another file")
    verified = open_bundle(bundle, trusted)
    p = verified.predicate
    layout = _image(p, places)
    data = task_data(p.task.profile, records.load(places.records, p.task.id), places)
    with_data = with_data or data.made_here
    parts = dict(_parts(verified, trusted, layout, places, data))
    if with_data:
        parts.update(_shards(p, data, places))
    spec = _spec(p, places.records)
    box = oci.Box(rootfs=Path("rootfs"), open_files=OPEN_FILES)
    parts[f"{bag.RUNC}/config.json"] = part_of_bytes(oci.config(spec, box))
    oxum = bag.Oxum(sum(part.size for part in parts.values()), len(parts))
    tags = {
        bag.INFO: bag.info(oxum, p.run.id, p.run.started_at[:10], places.kit.version),
        bag.RUN_MD: guide(p, verified.key_id, spec, layout.diff_ids, with_data),
    }
    manifest = bag.manifest({path: part.sha256 for path, part in parts.items()})
    bag.parse_manifest(manifest, "this capsule")
    size = _write(parts, tags, layout.epoch, file, places)
    return PackedCapsule(file, size, sha256_bytes(manifest), with_data, verified.trusted)


def _write(
    parts: dict[str, PayloadPart], tags: dict[str, bytes], epoch: int, file: Path, places: Places
) -> int:
    partial = file.with_name(f".{file.name}.partial")
    try:
        with disk_errors(file), partial.open("wb", buffering=1 << 20) as sink:
            size = write_capsule(parts, tags, epoch, sink, places.progress, f"pack {file.name}")
        place(partial, file, mode=0o644)
    finally:
        partial.unlink(missing_ok=True)
    return size


def _image(p: Predicate, places: Places) -> Layout:
    image = p.environment.image
    if image is None:
        raise UsageError(
            f"run {p.run.id} ran on its machine's own files: there is no image to pack",
            "run it in an image: speedrun eval without --image host",
        )
    layout = ensure_layout(p.environment.era, places.images, places.store, places.fetchers, places.progress)
    if (layout.config_digest, layout.manifest_digest) != (image.config_digest, image.manifest_digest):
        raise DigestMismatch(
            f"the run's image is {image.manifest_digest}, but this kit's {layout.era} is"
            f" {layout.manifest_digest}",
            _with_its_kit(p),
        )
    return layout


def _parts(
    bundle: VerifiedBundle, trusted: Trusted, layout: Layout, places: Places, data: TaskData
) -> Iterator[tuple[str, PayloadPart]]:
    yield from _run(bundle, trusted)
    config, layers = read_manifest(layout.path, layout.manifest_digest)
    for digest in sorted({config.digest, layout.manifest_digest, *(layer.digest for layer in layers)}):
        yield f"{bag.IMAGE}/blobs/sha256/{digest}", part_of_file(blob_path(layout.path, digest), digest)
    for name in ("index.json", "oci-layout"):
        yield f"{bag.IMAGE}/{name}", part_of_file(layout.path / name)
    yield f"{bag.IMAGE}/manifest.json", part_of_bytes(docker_manifest(layout.era, config, layers))
    for name in ERA_FILES:
        yield f"{bag.IMAGES}/{layout.era}/{name}", part_of_file(places.images / layout.era / name)
    yield from _record(bundle.predicate, data, places)


def _run(bundle: VerifiedBundle, trusted: Trusted) -> Iterator[tuple[str, PayloadPart]]:
    where = bundle.path.parent
    subjects = bundle.statement.subjects
    yield f"{bag.RUN}/{folder.BUNDLE}", part_of_file(bundle.path)
    key, _ = find_key(bundle.path, bundle.key_id, trusted)
    yield f"{bag.RUN}/{folder.SIGNER}", part_of_bytes(key.pem)
    yield f"{bag.RUN}/{LOG}", part_of_file(where / LOG, subjects.log)
    yield f"{bag.RUN}/{STAMPS}", part_of_file(where / STAMPS, subjects.stamps)
    for file in bundle.predicate.inputs.submission:
        source = where / SUBMISSION / file.name
        yield f"{bag.RUN}/{SUBMISSION}/{file.name}", part_of_file(source, file.sha256)


def _record(p: Predicate, data: TaskData, places: Places) -> Iterator[tuple[str, PayloadPart]]:
    record = records.load(places.records, p.task.id)
    if record.manifest_sha256 != p.inputs.record_manifest.sha256:
        raise DigestMismatch(
            f"{record.manifest} is another version than the run's",
            _with_its_kit(p),
        )
    for name in (f"{file_label(record.name)}.toml", *data.fact_files):
        yield f"{bag.RECORDS}/{name}", part_of_file(places.records / name)


def _with_its_kit(p: Predicate) -> str:
    kit = p.run.kit
    return f"pack it with the kit that ran it: version {kit.version}, commit {kit.commit or 'unknown'}"


def _shards(p: Predicate, data: TaskData, places: Places) -> Iterator[tuple[str, PayloadPart]]:
    files = p.inputs.data.files
    for file, source in zip(files, data.locate(files, places), strict=True):
        if not source.is_file() or source.stat().st_size != file.size:
            raise PrerequisiteError(
                f"{file.name} (sha256 {file.sha256}) is not in the store",
                f"speedrun data fetch --record {p.task.id}, or leave out --with-data",
            )
        yield f"{bag.SHARDS}/{file.name}", part_of_file(source, file.sha256)


def _spec(p: Predicate, where: Path) -> RunSpec:
    """Return the run's RunSpec with paths relative to a folder beside the unpacked capsule."""
    capsule = Path("..") / bag.TOP
    return RunSpec(
        run_id=p.run.id,
        image=None,
        submission=capsule / bag.RUN / SUBMISSION,
        argv=p.run.argv,
        env=p.run.env,
        folders=("data", *records.load(where, p.task.id).script.folders),
        mounts=(Mount(capsule / bag.SHARDS, PurePosixPath(DATA)),),
        limits=p.run.limits,
        deadlines=p.run.deadlines,
        untimed_steps=p.run.untimed_steps,
        world_size=p.run.world_size,
    )
