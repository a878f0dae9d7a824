"""What an unpacked capsule holds, checked against the signed bundle in it. Unpacks and runs nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kit.capsule import bag
from kit.core.errors import DigestMismatch
from kit.image.oci import read_manifest
from kit.result.keys import Trusted
from kit.result.verify import VerifiedBundle, open_bundle


@dataclass(frozen=True, slots=True)
class Capsule:
    """An unpacked capsule whose parts belong together."""

    root: Path
    bundle: VerifiedBundle
    """The bundle in it."""

    @property
    def image(self) -> Path:
        """The image's OCI layout."""
        return self.root / bag.IMAGE

    @property
    def images(self) -> Path:
        """A folder of eras that has the run's: image.toml, lock.json, digest."""
        return self.root / bag.IMAGES

    @property
    def shards(self) -> Path | None:
        """The data, if they were packed."""
        folder = self.root / bag.SHARDS
        return folder if folder.is_dir() else None


def open_capsule(root: Path, trusted: Trusted) -> Capsule:
    """
    Verify the bundle of an unpacked capsule, and that image and data in it are the bundle's.

    Files were compared with the manifest when it was unpacked (`kit.capsule.unpack`), and are not hashed
    again. Raises as `open_bundle`, and `DigestMismatch` naming what does not belong to the bundle.
    """
    bundle = open_bundle(root / bag.RUN, trusted)
    p = bundle.predicate
    manifest = (root / bag.MANIFEST).read_bytes()
    listed = bag.parse_manifest(manifest, bag.MANIFEST)
    image = p.environment.image
    if image is None:
        raise DigestMismatch("the bundle names no image, so this cannot be its capsule")
    try:
        config, layers = read_manifest(root / bag.IMAGE, image.manifest_digest)
    except FileNotFoundError as e:
        raise DigestMismatch(f"the capsule has not the bundle's image {image.manifest_digest}") from e
    if config.digest != image.config_digest:
        raise DigestMismatch(f"the image's config is {config.digest}, not {image.config_digest}")
    for blob in (config, *layers):
        if listed.get(f"{bag.IMAGE}/blobs/sha256/{blob.digest}") != blob.digest:
            raise DigestMismatch(f"the capsule lacks the image's blob {blob.digest}")
    packed = {path: digest for path, digest in listed.items() if path.startswith(f"{bag.SHARDS}/")}
    data = {f"{bag.SHARDS}/{f.name}": f.sha256 for f in p.inputs.data.files}
    if packed and packed != data:
        raise DigestMismatch("the data in the capsule are not the bundle's")
    return Capsule(root, bundle)
