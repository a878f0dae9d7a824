"""A whole bag may still hold parts that do not belong together: the signed bundle in it decides."""

import os
import shutil

import pytest

from kit.capsule import bag
from kit.capsule.content import open_capsule
from kit.capsule.unpack import unpack
from kit.core.digest import files_under
from kit.core.errors import DigestMismatch, IntegrityError, SchemaError
from kit.core.schema import MAX_DOCUMENT
from kit.result.keys import Trusted
from kit.result.predicate import Image


@pytest.fixture
def unpacked(tmp_path, workshop, honest):
    """What `unpack` leaves of a small capsule; `change` gets its root before the manifest is written."""

    def make(change=lambda root: None, on_host=False, **image):
        root = unpack(honest, tmp_path / "capsule")
        if on_host or image:
            own = workshop.layout
            digests = {"config_digest": own.config_digest, "manifest_digest": own.manifest_digest} | image
            shutil.rmtree(root / bag.RUN)
            made = workshop.press(tmp_path / "runs", image=None if on_host else Image(**digests))
            made.rename(root / bag.RUN)
        change(root)
        files = {f"data/{name}": digest for name, digest in files_under(root / "data").items()}
        (root / bag.MANIFEST).write_bytes(bag.manifest(files))
        return open_capsule(root, Trusted((workshop.signer,)))

    return make


@pytest.fixture
def blob(workshop):
    """Where a capsule has the image's manifest or lowest layer."""
    digests = {"manifest": workshop.layout.manifest_digest, "layer": workshop.layout.diff_ids[0]}
    return lambda root, name: root / bag.IMAGE / "blobs" / "sha256" / digests[name]


def test_a_capsule_whose_parts_fit_is_opened(unpacked):
    capsule = unpacked()
    assert capsule.bundle.trusted and capsule.shards is None


PLACES = (bag.MANIFEST, bag.RUN_MD, f"{bag.RUN}/result.json", f"{bag.RECORDS}/03.toml", "data/more")


@pytest.mark.parametrize("path", PLACES)
@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_a_folder_of_any_owner_is_opened_if_it_holds_plain_files_alone(
    tmp_path, workshop, honest, path, kind
):
    """Whoever used plain tar has what the archive held: a pipe that nobody writes, a link to /dev/zero."""
    place = unpack(honest, tmp_path / "capsule") / path
    place.unlink(missing_ok=True)
    match kind:
        case "pipe":
            os.mkfifo(place)
        case "device":
            place.symlink_to("/dev/zero")
        case "folder":
            place.symlink_to(tmp_path)
    with pytest.raises(IntegrityError, match=f"{path}: neither a plain file nor a folder"):
        open_capsule(tmp_path / "capsule", Trusted((workshop.signer,)))


def test_a_folder_with_files_without_end_is_not_read(tmp_path, workshop, honest, monkeypatch):
    root = unpack(honest, tmp_path / "capsule")
    (root / bag.MANIFEST).chmod(0o644)
    os.truncate(root / bag.MANIFEST, 1 << 40)
    with pytest.raises(IntegrityError, match="has more than 1048576 bytes"):
        open_capsule(root, Trusted((workshop.signer,)))
    monkeypatch.setattr("kit.capsule.content.MAX_ENTRIES", 20)
    with pytest.raises(IntegrityError, match="holds more than 20 files"):
        open_capsule(root, Trusted((workshop.signer,)))


@pytest.mark.parametrize(
    ("image", "says"),
    [
        ({"manifest_digest": "0" * 64}, "of the bundle is missing from the capsule"),
        ({"config_digest": "0" * 64}, "config is"),
    ],
)
def test_another_image_than_the_bundles_is_refused(unpacked, image, says):
    with pytest.raises(DigestMismatch, match=says):
        unpacked(**image)


def test_a_missing_layer_is_refused(unpacked, blob):
    def remove(root):
        blob(root, "layer").unlink()

    with pytest.raises(DigestMismatch, match=r"image blob .* is missing"):
        unpacked(remove)


def test_a_changed_manifest_of_the_image_is_refused(unpacked, blob):
    def edit(root):
        path = blob(root, "manifest")
        path.chmod(0o644)
        path.write_bytes(path.read_bytes() + b" ")

    with pytest.raises(DigestMismatch, match="changed"):
        unpacked(edit)


def test_a_manifest_of_the_image_that_fills_the_memory_is_refused_unread(unpacked, blob):
    def inflate(root):
        blob(root, "manifest").chmod(0o644)
        os.truncate(blob(root, "manifest"), MAX_DOCUMENT + 1)

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
        unpacked(lambda root: other_bytes(root / bag.RUN / "guest.log", b"step:20/20 val_loss:3.0\n"))


def other_bytes(path, data):
    path.chmod(0o644)
    path.write_bytes(data)


def test_a_run_without_an_image_has_no_capsule(unpacked):
    with pytest.raises(DigestMismatch, match="the bundle names no image"):
        unpacked(on_host=True)
