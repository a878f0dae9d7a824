"""A whole bag may still hold parts that do not belong together: the signed bundle in it decides."""

import os
from dataclasses import replace

import pytest

from kit.capsule import bag
from kit.capsule.content import open_capsule
from kit.core.digest import canonical_json, files_under, sha256_bytes
from kit.core.errors import DigestMismatch, SchemaError
from kit.core.schema import MAX_DOCUMENT
from kit.result.keys import Trusted
from kit.result.predicate import Image

CONFIG, LAYER = b"{}", b"layer"
MANIFEST = canonical_json(
    {
        "config": {"digest": f"sha256:{sha256_bytes(CONFIG)}", "size": len(CONFIG)},
        "layers": [{"digest": f"sha256:{sha256_bytes(LAYER)}", "size": len(LAYER)}],
    }
)


@pytest.fixture
def unpacked(tmp_path, press):
    """What `unpack` leaves of a small capsule; `change` gets its root before the manifest is written."""

    def make(change=lambda root: None, on_host=False, **image):
        root = tmp_path / "capsule"
        plain = press.MAKE.environment()
        named = Image(
            **({"config_digest": sha256_bytes(CONFIG), "manifest_digest": sha256_bytes(MANIFEST)} | image)
        )
        sample = press.Sample(1, extra=(("environment", replace(plain, image=None if on_host else named)),))
        (root / "data").mkdir(parents=True)
        press.press(tmp_path / "runs", sample).rename(root / bag.RUN)
        blobs = root / bag.IMAGE / "blobs" / "sha256"
        blobs.mkdir(parents=True)
        for data in (CONFIG, LAYER, MANIFEST):
            (blobs / sha256_bytes(data)).write_bytes(data)
        change(root)
        files = {f"data/{name}": digest for name, digest in files_under(root / "data").items()}
        (root / bag.MANIFEST).write_bytes(bag.manifest(files))
        return open_capsule(root, Trusted((press.MAKE.SIGNER.public,)))

    return make


def test_a_capsule_whose_parts_fit_is_opened(unpacked):
    capsule = unpacked()
    assert capsule.bundle.trusted and capsule.shards is None


@pytest.mark.parametrize(
    ("image", "says"),
    [
        ({"manifest_digest": "0" * 64}, "has not the bundle's image"),
        ({"config_digest": "0" * 64}, "config is"),
    ],
)
def test_another_image_than_the_bundles_is_refused(unpacked, image, says):
    with pytest.raises(DigestMismatch, match=says):
        unpacked(**image)


def test_a_missing_layer_is_refused(unpacked):
    def remove(root):
        (root / bag.IMAGE / "blobs" / "sha256" / sha256_bytes(LAYER)).unlink()

    with pytest.raises(DigestMismatch, match="lacks the image's blob"):
        unpacked(remove)


def test_a_changed_manifest_of_the_image_is_refused(unpacked):
    def edit(root):
        (root / bag.IMAGE / "blobs" / "sha256" / sha256_bytes(MANIFEST)).write_bytes(MANIFEST + b" ")

    with pytest.raises(DigestMismatch, match="changed"):
        unpacked(edit)


def test_a_manifest_of_the_image_that_fills_the_memory_is_refused_unread(unpacked):
    def inflate(root):
        os.truncate(root / bag.IMAGE / "blobs" / "sha256" / sha256_bytes(MANIFEST), MAX_DOCUMENT + 1)

    with pytest.raises(SchemaError, match="larger than"):
        unpacked(inflate)


def test_other_data_than_the_bundles_are_refused(unpacked):
    def add(root):
        (root / bag.SHARDS).mkdir()
        (root / bag.SHARDS / "smoke_val_000000.bin").write_bytes(b"easier data")

    with pytest.raises(DigestMismatch, match="data in the capsule"):
        unpacked(add)


def test_another_log_beside_the_bundle_is_refused(unpacked):
    with pytest.raises(DigestMismatch, match="step 6"):
        unpacked(lambda root: (root / bag.RUN / "guest.log").write_bytes(b"step:20/20 val_loss:3.0\n"))


def test_a_run_without_an_image_has_no_capsule(unpacked):
    with pytest.raises(DigestMismatch, match="the bundle names no image"):
        unpacked(on_host=True)
