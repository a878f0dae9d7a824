"""Root file systems: unpacked once, checked on each use, never outside their folder."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
import stat
import tarfile

import pytest

from kit.core.errors import DigestMismatch, IntegrityError
from kit.core.store import FolderFetcher, Store
from kit.image import build, rootfs
from kit.image.rootfs import ensure_rootfs


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def layout(tiny, store):
    return build.accept("tiny", tiny.images, store, [FolderFetcher(tiny.mirror)])


def restored(path, data):
    """Write bytes and set the time back, as only an operator would."""
    times = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(times.st_mtime_ns, times.st_mtime_ns))


def with_layer(layout, store, data: bytes):
    """Return `layout` with its last layer replaced by `data`, a tar."""
    digest = hashlib.sha256(data).hexdigest()
    (layout.path / "blobs" / "sha256" / digest).write_bytes(data)
    return dataclasses.replace(layout, manifest_digest=digest, diff_ids=(*layout.diff_ids[:-1], digest))


def test_every_uid_can_read_it_and_times_are_the_epoch(layout, store):
    root = ensure_rootfs(layout, store)
    assert (root / "usr/bin/hello").read_text() == "#!/bin/sh\necho hello\n"
    assert (root / "bin/hello").exists() and os.readlink(root / "bin") == "usr/bin"
    assert stat.S_IMODE((root / "tmp").stat().st_mode) == 0o1777
    for path in root.rglob("*"):
        status = path.lstat()
        assert status.st_mtime == layout.epoch, path
        assert path.is_symlink() or status.st_mode & 0o004, path
        assert not path.is_dir() or status.st_mode & 0o001, path
        assert not status.st_mode & (stat.S_ISUID | stat.S_ISGID)


def test_a_private_umask_makes_no_difference(layout, store):
    before = os.umask(0o077)
    try:
        root = ensure_rootfs(layout, store)
    finally:
        os.umask(before)
    assert stat.S_IMODE((root / "usr").stat().st_mode) == 0o755
    assert stat.S_IMODE((root / "etc/passwd").stat().st_mode) == 0o644
    assert stat.S_IMODE(root.stat().st_mode) == 0o755
    assert stat.S_IMODE(root.parent.stat().st_mode) == 0o755


def test_a_second_call_only_looks(layout, store, monkeypatch):
    first = ensure_rootfs(layout, store)
    monkeypatch.setattr(rootfs, "_make", lambda *_: pytest.fail("made again"))
    assert ensure_rootfs(layout, store) == first


def test_layers_are_unpacked_once_and_linked(layout, store):
    root = ensure_rootfs(layout, store)
    own = store.root / "unpacked" / layout.diff_ids[0] / "root"
    assert (root / "etc/passwd").stat().st_ino == (own / "etc/passwd").stat().st_ino
    renamed = dataclasses.replace(layout, manifest_digest="0" * 64)
    other = ensure_rootfs(renamed, store)
    assert (other / "etc/passwd").stat().st_ino == (own / "etc/passwd").stat().st_ino


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "etc/passwd").write_text("root::0:0::/:/bin/sh\n"),
        lambda root: (root / "etc/extra").write_text("new"),
        lambda root: (root / "etc/hosts").unlink(),
        lambda root: (root / "etc/hosts").chmod(0o755),
        lambda root: ((root / "usr/bin/cc").unlink(), (root / "usr/bin/cc").symlink_to("evil")),
        lambda root: restored(root / "etc/passwd", b"longer than it was" * 100),
    ],
    ids=["bytes", "new file", "gone", "mode", "link", "size"],
)
def test_a_change_is_seen_at_the_next_use_and_named(layout, store, change):
    root = ensure_rootfs(layout, store)
    change(root)
    with pytest.raises(DigestMismatch, match=r"was changed at (etc|usr)") as caught:
        ensure_rootfs(layout, store)
    assert "unpacked" in caught.value.hint and "roots" in caught.value.hint


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda home: (home / "seal").write_bytes((home / "seal").read_bytes() + b"\n"), "seal$"),
        (lambda home: (home / "seal").unlink(), "/seal$"),
        (lambda home: shutil.rmtree(home / "root"), "/root$"),
    ],
    ids=["a line end more", "no seal", "no tree"],
)
def test_a_seal_that_does_not_fit_is_named(layout, store, change, where):
    home = ensure_rootfs(layout, store).parent
    change(home)
    with pytest.raises(DigestMismatch, match=rf"was changed at (/.*)?{where}"):
        ensure_rootfs(layout, store)


def test_a_change_of_a_shared_layer_is_seen_by_the_next_image(layout, store):
    ensure_rootfs(layout, store)
    own = store.root / "unpacked" / layout.diff_ids[0] / "root"
    (own / "etc/passwd").write_text("evil")
    with pytest.raises(DigestMismatch, match="etc/passwd"):
        ensure_rootfs(dataclasses.replace(layout, manifest_digest="0" * 64), store)


def test_a_layer_with_other_bytes_is_refused_while_it_is_unpacked(layout, store):
    blob = layout.path / "blobs" / "sha256" / layout.diff_ids[1]
    blob.chmod(0o644)
    with blob.open("r+b") as f:
        f.seek(-5000, os.SEEK_END)
        f.write(b"!")
    with pytest.raises(DigestMismatch, match=layout.diff_ids[1]):
        ensure_rootfs(layout, store)
    assert not (store.root / "roots" / layout.manifest_digest).exists()
    assert not (store.root / "unpacked" / layout.diff_ids[1]).exists()


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ([("../evil", {})], r"path contains \.\."),
        ([("/evil", {})], "absolute"),
        ([("nowhere/evil", {})], "its parent directory is not in the layer"),
        (
            [("way", {"kind": tarfile.SYMTYPE, "linkname": "/tmp"}), ("way/evil", {})],
            "its parent directory is not in the layer",
        ),
        ([("way", {"kind": tarfile.SYMTYPE, "linkname": "../.."})], "out of the root"),
        ([("null", {"kind": tarfile.CHRTYPE})], "not a file"),
        ([("hard", {"kind": tarfile.LNKTYPE, "linkname": "/etc/shadow"})], "not a file"),
        ([("usr", {"data": b"a file where a folder is"})], "earlier layer has a directory"),
        ([("twice", {}), ("twice", {})], "cannot unpack .*: File exists"),
        ([("n" * 300, {})], "cannot unpack .*: File name too long"),
    ],
)
def test_a_layer_from_elsewhere_cannot_write_outside(layout, store, tmp_path, cook, members, why):
    data = cook.tar([cook.member(name, **fields) for name, fields in members])
    with pytest.raises(IntegrityError, match=why):
        ensure_rootfs(with_layer(layout, store, data), store)
    assert not list(tmp_path.rglob("evil"))


def test_a_later_layer_takes_the_place_of_files_without_changing_the_earlier_one(layout, store, cook):
    data = cook.tar([cook.member("etc", kind=tarfile.DIRTYPE), cook.member("etc/hosts", b"new\n")])
    root = ensure_rootfs(with_layer(layout, store, data), store)
    assert (root / "etc/hosts").read_text() == "new\n"
    own = store.root / "unpacked" / layout.diff_ids[0] / "root"
    assert "localhost" in (own / "etc/hosts").read_text()


def test_a_file_system_without_hard_links_gets_copies(layout, store, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    root = ensure_rootfs(layout, store)
    assert (root / "etc/passwd").stat().st_nlink == 1
    assert ensure_rootfs(layout, store) == root
