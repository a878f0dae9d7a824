"""An image from a layout that anybody may have made: taken byte for byte as promised, or not at all."""

import shutil

import pytest

from kit.errors import DigestMismatch, IntegrityError
from kit.image.build import accept, adopt, ensure_layout
from kit.image.oci import blob_path
from kit.store import FolderFetcher, Store


@pytest.fixture
def layout(tiny, tmp_path):
    """The tiny era, promised, and a copy of its layout outside any store."""
    built = accept("tiny", tiny.images, Store(tmp_path / "first"), (FolderFetcher(tiny.mirror),))
    copy = tmp_path / "copy"
    shutil.copytree(built.path, copy, symlinks=False)
    for path in copy.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return built, copy


def test_an_empty_store_takes_the_whole_image_and_needs_no_source(layout, tiny, tmp_path):
    built, copy = layout
    store = Store(tmp_path / "second")
    found = adopt("tiny", tiny.images, store, copy)
    assert (found.manifest_digest, found.diff_ids) == (built.manifest_digest, built.diff_ids)
    shutil.rmtree(copy)
    assert ensure_layout("tiny", tiny.images, store, ()) == found


@pytest.mark.parametrize("which", ["layer", "config", "manifest"])
def test_a_changed_blob_is_refused_and_no_layout_is_left(layout, tiny, tmp_path, which):
    built, copy = layout
    digests = {"layer": built.diff_ids[-1], "config": built.config_digest, "manifest": built.manifest_digest}
    path = blob_path(copy, digests[which])
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    store = Store(tmp_path / "second")
    with pytest.raises(IntegrityError):
        adopt("tiny", tiny.images, store, copy)
    assert not (store.root / "layouts" / built.manifest_digest).exists()


def test_another_image_is_refused(layout, tiny, tmp_path):
    built, copy = layout
    blob_path(copy, built.manifest_digest).unlink()
    with pytest.raises(DigestMismatch, match="does not hold"):
        adopt("tiny", tiny.images, Store(tmp_path / "second"), copy)


def test_a_layer_that_is_missing_is_said(layout, tiny, tmp_path):
    built, copy = layout
    blob_path(copy, built.diff_ids[0]).unlink()
    with pytest.raises(Exception, match="not to be had"):
        adopt("tiny", tiny.images, Store(tmp_path / "second"), copy)
