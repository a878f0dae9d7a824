"""Pack a verified run as a capsule."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kit.benchmark import records
from kit.capsule import bag
from kit.capsule.content import ERA_FILES, classify
from kit.capsule.derived import CapsuleFacts, capsule_spec, payload_files, run_md
from kit.capsule.receive import parts_of
from kit.capsule.statement import CapsuleClaims, PackedRun, Packer, sign_capsule
from kit.capsule.write import PayloadPart, part_of_bytes, part_of_file, write_capsule
from kit.core.digest import Sha256, sha256_bytes
from kit.core.errors import DigestMismatch, PrerequisiteError, UsageError
from kit.core.files import disk_errors, place, require_parent
from kit.evaluate.request import Places
from kit.evaluate.task_data import TaskData, task_data
from kit.image.build import Layout, ensure_layout
from kit.image.oci import Descriptor, blob_path, read_manifest
from kit.result import folder
from kit.result.appraisal.agreement import require_cold
from kit.result.keys import PublicKey, Trusted, load_or_create
from kit.result.predicate import Predicate
from kit.result.signed import find_key
from kit.result.statement import LOG, STAMPS, SUBMISSION
from kit.result.verify import VerifiedBundle, open_bundle
from kit.values.task_id import file_label


@dataclass(frozen=True, slots=True)
class PackedCapsule:
    """A capsule that was written."""

    file: Path
    size: int
    sha256_of_manifest: Sha256
    """sha256 of the payload manifest, which names all files."""
    with_data: bool
    trusted: bool
    """Whether the packer trusts the bundle's key."""
    key_id: Sha256
    """Key id of the packer, who signed the manifest."""


def pack(
    bundle: Path,
    file: Path,
    trusted: Trusted,
    places: Places,
    with_data: bool = False,
    wheels: Sequence[Path] = (),
) -> PackedCapsule:
    """
    Write the capsule of a run to `file`, which must not exist; sign it with the user's key.

    The bundle is verified first. The image is built or taken from the store, and compared with the bundle.
    Synthetic data are always packed; `wheels` are those of the kit, from `kit.capsule.wheels`. Raises
    `UsageError` if `file` exists, or for a run without an image or with a warm compile cache,
    `DigestMismatch` if this kit's image, record or data differ from the run's, `PrerequisiteError` if the
    directory of `file` or the data are missing, and as `open_bundle` and `ensure_layout` do.
    """
    if file.exists():
        raise UsageError(f"{file} already exists", "choose another path with --out")
    require_parent(file)
    verified = open_bundle(bundle, trusted)
    p = verified.predicate
    require_cold(p)
    layout = _image(p, places)
    data = task_data(p.task.profile, records.load(places.records, p.task.id), places)
    with_data = with_data or data.made_here
    key, _ = find_key(verified.path, verified.key_id, trusted)
    facts = _facts(verified, layout, places, with_data)
    parts = dict(_parts(verified, key, facts, layout, places, data))
    if with_data:
        parts.update(_shards(p, data, places))
    parts.update((path, part_of_bytes(made)) for path, made in payload_files(facts).items())
    parts.update((f"{bag.KIT}/{wheel.name}", part_of_file(wheel)) for wheel in wheels)
    listed = {path: parts[path].sha256 for path in sorted(parts)}
    tags = _tags(verified, key, facts, parts, [w.name for w in wheels], places)
    size = _write(parts, tags, layout.epoch, file, places)
    key_id = load_or_create(places.keys).key_id
    digest = sha256_bytes(bag.manifest(listed))
    return PackedCapsule(file, size, digest, with_data, verified.trusted, key_id)


def _facts(bundle: VerifiedBundle, layout: Layout, places: Places, with_data: bool) -> CapsuleFacts:
    p = bundle.predicate
    try:
        spec = capsule_spec(p, places.records)
    except DigestMismatch as e:
        raise DigestMismatch(e.message, _with_its_kit(p)) from e
    config, layers = read_manifest(layout.path, layout.manifest_digest)
    size = blob_path(layout.path, layout.manifest_digest).stat().st_size
    manifest = Descriptor(layout.manifest_digest, size)
    return CapsuleFacts(p, bundle.key_id, spec, manifest, config, layers, with_data)


def _tags(
    bundle: VerifiedBundle,
    key: PublicKey,
    facts: CapsuleFacts,
    parts: dict[str, PayloadPart],
    wheels: list[str],
    places: Places,
) -> dict[str, bytes]:
    """Return the signed tag files; refuse paths that `unpack` does not accept."""
    p = bundle.predicate
    signer = load_or_create(places.keys)
    listed = {path: parts[path].sha256 for path in sorted(parts)}
    words = classify(bundle, key, (facts.manifest, facts.config, *facts.layers), listed)
    run = PackedRun(
        p.run.id, listed[f"{bag.RUN}/{folder.BUNDLE}"], p.task.id, p.task.profile, p.score.verdict
    )
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    packer = Packer(signer.key_id, places.kit, version)
    oxum = bag.Oxum(sum(part.size for part in parts.values()), len(parts))
    manifest = bag.manifest(listed)
    bag.parse_manifest(manifest, "this capsule")
    tags = {
        bag.BAGIT: bag.BAGIT_TXT,
        bag.INFO: bag.info(oxum, p.run.id, p.run.started_at[:10], places.kit.version),
        bag.MANIFEST: manifest,
        bag.RUN_MD: run_md(facts, packer, wheels),
    }
    return tags | sign_capsule(CapsuleClaims(run, packer, parts_of(words)), tags, signer)


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
            f"cannot pack run {p.run.id}: it ran with --image host, so it has no image",
            "run it again without --image host: speedrun eval",
        )
    layout = ensure_layout(p.environment.era, places.images, places.store, places.fetchers, places.progress)
    if (layout.config_digest, layout.manifest_digest) != (image.config_digest, image.manifest_digest):
        raise DigestMismatch(
            f"digest mismatch: the run's image is {image.manifest_digest},"
            f" but image {layout.era} of this kit is {layout.manifest_digest}",
            _with_its_kit(p),
        )
    return layout


def _parts(
    bundle: VerifiedBundle,
    key: PublicKey,
    facts: CapsuleFacts,
    layout: Layout,
    places: Places,
    data: TaskData,
) -> Iterator[tuple[str, PayloadPart]]:
    yield from _run(bundle, key)
    for blob in (facts.manifest, facts.config, *facts.layers):
        path = blob_path(layout.path, blob.digest)
        yield f"{bag.IMAGE}/blobs/sha256/{blob.digest}", part_of_file(path, blob.digest)
    for name in ERA_FILES:
        yield f"{bag.IMAGES}/{layout.era}/{name}", part_of_file(places.images / layout.era / name)
    for name in (f"{file_label(bundle.predicate.task.id)}.toml", *data.fact_files):
        yield f"{bag.RECORDS}/{name}", part_of_file(places.records / name)


def _run(bundle: VerifiedBundle, key: PublicKey) -> Iterator[tuple[str, PayloadPart]]:
    where = bundle.path.parent
    subjects = bundle.statement.subjects
    yield f"{bag.RUN}/{folder.BUNDLE}", part_of_file(bundle.path)
    yield f"{bag.RUN}/{folder.SIGNER}", part_of_bytes(key.pem)
    yield f"{bag.RUN}/{LOG}", part_of_file(where / LOG, subjects.log)
    yield f"{bag.RUN}/{STAMPS}", part_of_file(where / STAMPS, subjects.stamps)
    for file in bundle.predicate.inputs.submission:
        source = where / SUBMISSION / file.name
        yield f"{bag.RUN}/{SUBMISSION}/{file.name}", part_of_file(source, file.sha256)


def _with_its_kit(p: Predicate) -> str:
    kit = p.run.kit
    return (
        f"pack it with the version that ran it: speedrun-kit {kit.version}, commit {kit.commit or 'unknown'}"
    )


def _shards(p: Predicate, data: TaskData, places: Places) -> Iterator[tuple[str, PayloadPart]]:
    files = p.inputs.data.files
    for file, source in zip(files, data.locate(files, places), strict=True):
        if not source.is_file() or source.stat().st_size != file.size:
            raise PrerequisiteError(
                f"{file.name} (sha256 {file.sha256[:12]}…) is not in the store",
                f"speedrun data fetch --record {p.task.id}, or leave out --with-data",
            )
        yield f"{bag.SHARDS}/{file.name}", part_of_file(source, file.sha256)
