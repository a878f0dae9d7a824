"""Check the content of an unpacked capsule against the signed bundle in it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import parse_wheel_filename

from kit.capsule import bag
from kit.capsule.derived import CONFIG, CapsuleFacts, capsule_spec
from kit.capsule.guide import KIT_PROJECT
from kit.capsule.statement import Word
from kit.core.digest import Sha256, sha256_bytes, sha256_file
from kit.core.errors import DigestMismatch, IntegrityError, KitError, PrerequisiteError, SchemaError
from kit.image.digest import digest_path, read_identity, render_identity
from kit.image.layer import LayerFile
from kit.image.lock import read_lock
from kit.image.oci import Descriptor, blob_path, describe, read_manifest
from kit.image.spec import read_spec
from kit.result import folder
from kit.result.keys import PublicKey, Trusted, read_public
from kit.result.predicate import Predicate
from kit.result.statement import LOG, STAMPS, SUBMISSION
from kit.result.verify import VerifiedBundle, open_bundle
from kit.values.profile import Profile
from kit.values.task_id import file_label

ERA_FILES = ("digest", "image.toml", "lock.json")
MAX_ENTRIES = 32_768
"""Files and folders of an unpacked capsule: its own, what was received in their places, and room."""
_AGAIN = "get the capsule again, from its packer"


@dataclass(frozen=True, slots=True)
class Capsule:
    """An unpacked capsule whose files match its bundle."""

    root: Path
    bundle: VerifiedBundle
    """The bundle in it."""
    facts: CapsuleFacts
    listed: Mapping[str, Sha256]
    """sha256 of every payload file by path, in order."""
    words: Mapping[str, Word]
    """For each file, whether the result or only the packer vouches for it."""

    @property
    def image(self) -> Path:
        """The image's OCI layout."""
        return self.root / bag.IMAGE

    @property
    def images(self) -> Path:
        """A directory of eras with the run's era: image.toml, lock.json, digest."""
        return self.root / bag.IMAGES

    @property
    def shards(self) -> Path | None:
        """The data, if they were packed."""
        folder = self.root / bag.SHARDS
        return folder if folder.is_dir() else None


def open_capsule(root: Path, trusted: Trusted) -> Capsule:
    """
    Verify the bundle of an unpacked capsule, and check that the other files belong to this bundle.

    Files were compared with the manifest when it was unpacked (`kit.capsule.unpack`); only those beside the
    bundle are hashed again. What the packer signed is not looked at: nothing here rests on it. The folder may
    be anybody's: nothing in it is opened before all of it was found to be plain files. Raises as
    `open_bundle`, `DigestMismatch` naming what does not belong to the bundle, and `IntegrityError` naming a
    file that no capsule of this run has.
    """
    _require_plain(root)
    bundle = open_bundle(root / bag.RUN, trusted)
    p = bundle.predicate
    listed = bag.parse_manifest((root / bag.MANIFEST).read_bytes(), bag.MANIFEST)
    manifest, config, layers = _image(root, p, listed)
    shards = {f"{bag.SHARDS}/{f.name}": f.sha256 for f in p.inputs.data.files}
    packed = {path: digest for path, digest in listed.items() if path.startswith(f"{bag.SHARDS}/")}
    if packed and packed != shards:
        raise DigestMismatch("digest mismatch: the data in the capsule differ from those of the bundle")
    words = classify(bundle, _signer(root, bundle), (manifest, config, *layers), listed)
    _require_description(root, p, layers)
    spec = capsule_spec(p, root / bag.RECORDS)
    facts = CapsuleFacts(p, bundle.key_id, spec, manifest, config, layers, bool(packed))
    return Capsule(root, bundle, facts, listed, words)


def _require_plain(root: Path) -> None:
    """Refuse links, pipes and devices, more than a capsule's files, and a manifest that is too large."""
    count = 0
    for where, folders, files in os.walk(root):
        count += len(folders) + len(files)
        if count > MAX_ENTRIES:
            raise IntegrityError(f"{root} holds more than {MAX_ENTRIES} files and folders", _AGAIN)
        for path in (Path(where, name) for name in (*folders, *files)):
            kind = path.lstat().st_mode
            if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
                named = path.relative_to(root).as_posix()
                raise IntegrityError(f"{named}: neither a plain file nor a folder", _AGAIN)
    manifest = root / bag.MANIFEST
    if manifest.exists() and manifest.stat().st_size > bag.largest(bag.MANIFEST):
        raise IntegrityError(f"{bag.MANIFEST} has more than {bag.largest(bag.MANIFEST)} bytes", _AGAIN)


def classify(
    bundle: VerifiedBundle, key: PublicKey, blobs: Iterable[Descriptor], listed: Mapping[str, Sha256]
) -> dict[str, Word]:
    """
    Return who vouches for each payload file, in order; `blobs` are the image's, `listed` all files.

    Raises `DigestMismatch` if a file is missing or differs from the bundle, and `IntegrityError` for an
    unexpected path.
    """
    named = dict(_named(bundle, key, blobs))
    shards = {f"{bag.SHARDS}/{f.name}": f.sha256 for f in bundle.predicate.inputs.data.files}
    if any(path.startswith(f"{bag.SHARDS}/") for path in listed):
        named |= shards
    packers = _packers(bundle.predicate)
    for path in (*named, *packers):
        if path not in listed:
            raise DigestMismatch(f"{path} is missing from the capsule", _AGAIN)
    words = {}
    for path, sha256 in listed.items():
        if path in named and sha256 != named[path]:
            raise DigestMismatch(
                f"checksum mismatch: {path} has sha256 {sha256}, but the result names {named[path]}", _AGAIN
            )
        if path not in named and path not in packers and _wheel_project(path) is None:
            raise IntegrityError(f"unexpected file in the capsule: {path}", _AGAIN)
        words[path] = Word.RESULT if path in named else Word.PACKER
    wheels = wheels_of(listed)
    if wheels and [_wheel_project(f"{bag.KIT}/{name}") for name in wheels].count(KIT_PROJECT) != 1:
        raise IntegrityError(f"{bag.KIT}: expected exactly one wheel of {KIT_PROJECT}", _AGAIN)
    return words


def _wheel_project(path: str) -> str | None:
    """Return the project of a wheel in `bag.KIT`; None for another path."""
    folder, _, name = path.rpartition("/")
    try:
        return parse_wheel_filename(name)[0] if folder == bag.KIT else None
    except ValueError:
        return None


def wheels_of(listed: Iterable[str]) -> tuple[str, ...]:
    """Return the names of the wheels in a payload, in order."""
    return tuple(path.removeprefix(f"{bag.KIT}/") for path in listed if path.startswith(f"{bag.KIT}/"))


def _named(
    bundle: VerifiedBundle, key: PublicKey, blobs: Iterable[Descriptor]
) -> Iterable[tuple[str, Sha256]]:
    """Yield the files that the bundle names by digest; the key's file must be in canonical form."""
    p, subjects = bundle.predicate, bundle.statement.subjects
    yield f"{bag.RUN}/{folder.BUNDLE}", sha256_file(bundle.path)
    yield f"{bag.RUN}/{folder.SIGNER}", sha256_bytes(key.pem)
    yield f"{bag.RUN}/{LOG}", subjects.log
    yield f"{bag.RUN}/{STAMPS}", subjects.stamps
    for file in p.inputs.submission:
        yield f"{bag.RUN}/{SUBMISSION}/{file.name}", file.sha256
    for blob in blobs:
        yield f"{bag.IMAGE}/blobs/sha256/{blob.digest}", blob.digest
    yield f"{bag.RECORDS}/{file_label(p.task.id)}.toml", p.inputs.record_manifest.sha256


def _packers(p: Predicate) -> frozenset[str]:
    era = f"{bag.IMAGES}/{p.environment.era}"
    smoke = {f"{bag.RECORDS}/smoke.toml"} if p.task.profile is Profile.SMOKE else set()
    indices = {f"{bag.IMAGE}/{name}" for name in ("index.json", "manifest.json", "oci-layout")}
    return frozenset({CONFIG, *indices, *(f"{era}/{name}" for name in ERA_FILES), *smoke})


def _signer(root: Path, bundle: VerifiedBundle) -> PublicKey:
    path = root / bag.RUN / folder.SIGNER
    try:
        key = read_public(path)
    except PrerequisiteError as e:
        raise DigestMismatch(f"{bag.RUN}/{folder.SIGNER} is missing from the capsule", _AGAIN) from e
    if key.key_id != bundle.key_id:
        raise DigestMismatch(f"key mismatch: {bag.RUN}/{folder.SIGNER} did not sign the result", _AGAIN)
    return key


def _image(
    root: Path, p: Predicate, listed: Mapping[str, Sha256]
) -> tuple[Descriptor, Descriptor, tuple[Descriptor, ...]]:
    image = p.environment.image
    if image is None:
        raise DigestMismatch("the bundle names no image: a capsule must contain an image")
    try:
        config, layers = read_manifest(root / bag.IMAGE, image.manifest_digest)
    except FileNotFoundError as e:
        raise DigestMismatch(
            f"image {image.manifest_digest} of the bundle is missing from the capsule"
        ) from e
    if config.digest != image.config_digest:
        raise DigestMismatch(
            f"digest mismatch: the image's config is {config.digest}, expected {image.config_digest}"
        )
    for blob in (config, *layers):
        if listed.get(f"{bag.IMAGE}/blobs/sha256/{blob.digest}") != blob.digest:
            raise DigestMismatch(f"image blob {blob.digest} is missing from the capsule")
    size = blob_path(root / bag.IMAGE, image.manifest_digest).stat().st_size
    return Descriptor(image.manifest_digest, size), config, layers


def _require_description(root: Path, p: Predicate, layers: tuple[Descriptor, ...]) -> None:
    """
    Check that image.toml and digest describe the result's image.

    This binds environment and file times. It does not bind the fidelity that image.toml states, nor the
    packages that it and lock.json name; an image built from other packages has another digest.
    """
    era, image = p.environment.era, p.environment.image
    where = f"{bag.IMAGES}/{era}"
    try:
        spec = read_spec(root / bag.IMAGES, era)
        lock = read_lock(spec)
        identity = read_identity(spec, lock)
        rendered = render_identity(spec, lock, identity)
        data = digest_path(spec).read_bytes()
    except KitError as e:
        kind = type(e) if isinstance(e, IntegrityError) else SchemaError
        raise kind(f"{where}: {e.message.replace(f'{root}/', '')}", _AGAIN) from e
    if data != rendered:
        raise SchemaError(f"{where}/digest is not in canonical form", _AGAIN)
    if identity.diff_ids != tuple(layer.digest for layer in layers):
        raise DigestMismatch(
            f"digest mismatch: {where}/digest lists other layers than the result's image", _AGAIN
        )
    titled = zip(identity.layers, layers, strict=True)
    files = [LayerFile(title, Path(), digest, layer.size) for (title, digest), layer in titled]
    described = describe(spec, files)
    promised = (identity.config, identity.manifest)
    if image is None or promised != (image.config_digest, image.manifest_digest):
        raise DigestMismatch(f"digest mismatch: {where}/digest names another image than the result", _AGAIN)
    if (described.config_digest, described.manifest_digest) != promised:
        raise DigestMismatch(
            f"digest mismatch: {where}/image.toml describes another image than the result's", _AGAIN
        )
