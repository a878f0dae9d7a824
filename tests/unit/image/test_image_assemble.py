"""The assembler for builders that bring the files themselves: Nix, or a folder on a disk."""

from __future__ import annotations

import pytest

from kit.core.digest import sha256_file
from kit.core.errors import DigestMismatch, PrerequisiteError, UsageError
from kit.core.store import FolderFetcher, Store
from kit.image import build
from kit.image.assemble import assemble
from kit.image.lock import read_lock
from kit.image.oci import read_manifest


@pytest.fixture
def artifacts(tiny, tmp_path):
    """A folder that is laid out like a store, of links, as Nix makes it."""
    root = tmp_path / "brought"
    (root / "blobs" / "sha256").mkdir(parents=True)
    for artifact in read_lock(tiny.spec).artifacts:
        (root / "blobs" / "sha256" / artifact.sha256).symlink_to(tiny.mirror / artifact.name)
    return Store(root)


def test_it_makes_the_image_that_the_store_makes_and_leaves_nothing_else(tiny, artifacts, tmp_path):
    out = tmp_path / "deep" / "out"
    made = assemble("tiny", tiny.images, artifacts, out)
    layout = build.accept("tiny", tiny.images, Store(tmp_path / "s"), [FolderFetcher(tiny.mirror)])
    assert (made.manifest, made.diff_ids) == (layout.manifest_digest, layout.diff_ids)
    assert (out / "index.json").read_bytes() == (layout.path / "index.json").read_bytes()
    names = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    blobs = {f"blobs/sha256/{d}" for d in (made.config, made.manifest, *made.diff_ids)}
    assert names == {"index.json", "oci-layout", *blobs}
    assert all(sha256_file(out / name) == name.rpartition("/")[2] for name in blobs)
    assert [x.digest for x in read_manifest(out, made.manifest)[1]] == list(made.diff_ids)


def test_a_swapped_file_is_refused_before_anything_is_made(tiny, artifacts, tmp_path):
    victim = read_lock(tiny.spec).wheels[0]
    path = tiny.mirror / victim.name
    data = bytearray(path.read_bytes())
    data[60] ^= 1
    path.write_bytes(data)
    with pytest.raises(DigestMismatch, match=victim.name):
        assemble("tiny", tiny.images, artifacts, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_missing_files_are_named(tiny, artifacts, tmp_path):
    deb = read_lock(tiny.spec).debs[0]
    artifacts.blob(deb.sha256).unlink()
    with pytest.raises(PrerequisiteError, match=f"1 file is missing from the store: {deb.name}"):
        assemble("tiny", tiny.images, artifacts, tmp_path / "out")


def test_a_folder_that_is_there_is_not_touched(tiny, artifacts, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(UsageError, match="already exists"):
        assemble("tiny", tiny.images, artifacts, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())
