"""An image from a layout that anybody may have made: taken byte for byte as promised, or not at all."""

import shutil

import pytest

from kit.core.digest import sha256_file
from kit.core.errors import DigestMismatch, IntegrityError
from kit.core.store import FolderFetcher, Store
from kit.image.build import accept, adopt, ensure_layout
from kit.image.digest import digest_path
from kit.image.oci import blob_path


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
    with pytest.raises(DigestMismatch, match="does not contain"):
        adopt("tiny", tiny.images, Store(tmp_path / "second"), copy)


def test_a_layer_that_is_missing_is_said(layout, tiny, tmp_path):
    built, copy = layout
    blob_path(copy, built.diff_ids[0]).unlink()
    with pytest.raises(Exception, match="not found in any source"):
        adopt("tiny", tiny.images, Store(tmp_path / "second"), copy)


def spoil(path, change):
    """Let the bytes of a blob be others; who has its name keeps what it has."""
    data = bytearray(path.read_bytes())
    path.unlink()
    path.write_bytes(change(data))


def shortened(data):
    return data[:-1]


def flipped(data):
    data[len(data) // 2] ^= 1
    return data


@pytest.mark.parametrize(
    ("which", "change"), [("layer", shortened), ("config", shortened), ("manifest", flipped)]
)
def test_a_blob_of_the_store_that_was_spoiled_is_put_right_by_the_next_build(
    layout, tiny, tmp_path, which, change
):
    built, _ = layout
    store = Store(tmp_path / "first")
    digests = {"layer": built.diff_ids[-1], "config": built.config_digest, "manifest": built.manifest_digest}
    shutil.rmtree(store.root / "layouts")
    spoil(store.blob(digests[which]), change)
    found = ensure_layout("tiny", tiny.images, store, (FolderFetcher(tiny.mirror),))
    assert found == built and sha256_file(blob_path(found.path, digests[which])) == digests[which]


def test_a_manifest_of_the_store_that_was_spoiled_is_named_with_the_way_out(layout, tiny, tmp_path):
    built, copy = layout
    store = Store(tmp_path / "first")
    shutil.rmtree(store.root / "layouts")
    blob = store.blob(built.manifest_digest)
    spoil(blob, flipped)
    with pytest.raises(DigestMismatch, match=f"{built.manifest_digest} was changed") as caught:
        adopt("tiny", tiny.images, store, copy)
    assert caught.value.hint == f"rm {blob}, then run the command again"
    blob.unlink()
    assert adopt("tiny", tiny.images, store, copy) == built


def test_a_digest_file_whose_layers_are_not_those_of_its_manifest_is_named(layout, tiny, tmp_path):
    built, copy = layout
    path = digest_path(tiny.spec)
    path.write_text(path.read_text().replace(built.diff_ids[-1], "0" * 64))
    with pytest.raises(DigestMismatch, match=r"lists other layers than .*/tiny/digest"):
        adopt("tiny", tiny.images, Store(tmp_path / "second"), copy)
