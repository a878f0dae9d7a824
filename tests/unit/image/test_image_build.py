"""From a lock to the promised layout: same bytes anywhere, or a refusal that leaves the store whole."""

from __future__ import annotations

import errno
import io
import json
import multiprocessing
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from system_errors import failing

from kit.core.digest import sha256_file
from kit.core.errors import DigestMismatch, PrerequisiteError, RunError, StaleLock
from kit.core.store import FolderFetcher, Store
from kit.image import archive, build, oci
from kit.image.acquire import fetch
from kit.image.digest import digest_path, read_identity
from kit.image.lock import lock_path, read_lock

ROOT = Path(__file__).parents[3]

BUILD = """
import os, sys
from pathlib import Path
os.umask(int(sys.argv[4], 8))
from kit.image.build import accept
from kit.core.store import FolderFetcher, Store
layout = accept("tiny", Path(sys.argv[1]), Store(Path(sys.argv[3])), [FolderFetcher(Path(sys.argv[2]))])
print(layout.manifest_digest, *layout.diff_ids)
"""


def ensure(tiny, store, mirror=True):
    fetchers = [FolderFetcher(tiny.mirror)] if mirror else []
    return build.ensure_layout("tiny", tiny.images, store, fetchers)


@pytest.fixture
def promised(tiny, tmp_path):
    """The tiny era with a committed digest."""
    build.accept("tiny", tiny.images, Store(tmp_path / "first"), [FolderFetcher(tiny.mirror)])
    return tiny


def contents(store: Store) -> dict[str, int]:
    """Return what a store holds, but for locks."""
    found = {}
    for path in store.root.rglob("*"):
        name = path.relative_to(store.root).as_posix()
        if path.is_file() and not name.startswith("locks/"):
            found[name] = path.stat().st_size
    return found


def test_the_same_lock_gives_the_same_bytes_under_any_umask_zone_locale_home_and_place(tiny, tmp_path):
    machines = [
        (
            "077",
            {
                "TZ": "Pacific/Kiritimati",
                "LANG": "tr_TR.UTF-8",
                "HOME": "/nonexistent",
                "PYTHONHASHSEED": "1",
            },
        ),
        (
            "000",
            {"TZ": "UTC", "LC_ALL": "C", "HOME": str(tmp_path), "PYTHONHASHSEED": "2", "PYTHONUTF8": "0"},
        ),
        (
            "022",
            {
                "TZ": "America/St_Johns",
                "LC_ALL": "C.UTF-8",
                "SOURCE_DATE_EPOCH": "1",
                "TMPDIR": str(tmp_path),
            },
        ),
    ]
    outcomes = set()
    for number, (umask, env) in enumerate(machines):
        store = tmp_path / f"a store {number} é" / ("x" * number or "y")
        argv = [sys.executable, "-c", BUILD, str(tiny.images), str(tiny.mirror), str(store), umask]
        done = subprocess.run(
            argv,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join((str(ROOT), *sys.path)), **env},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        outcomes.add(done.stdout)
    assert len(outcomes) == 1


def test_the_order_in_which_a_folder_lists_its_files_does_not_show(tiny, tmp_path, monkeypatch):
    one = build.accept("tiny", tiny.images, Store(tmp_path / "a"), [FolderFetcher(tiny.mirror)])
    straight = os.scandir

    class Backwards(list):
        __enter__ = lambda self: self  # noqa: E731
        __exit__ = lambda self, *_: None  # noqa: E731
        __next__ = lambda self: self.pop(0) if self else next(iter(()))  # noqa: E731
        close = lambda self: None  # noqa: E731

    monkeypatch.setattr(
        os, "scandir", lambda *a: Backwards(sorted(straight(*a), key=lambda e: e.name, reverse=True))
    )
    two = build.accept("tiny", tiny.images, Store(tmp_path / "b"), [FolderFetcher(tiny.mirror)])
    assert one.diff_ids == two.diff_ids and one.manifest_digest == two.manifest_digest


def test_a_second_call_needs_no_source_and_assembles_nothing(promised, tmp_path, monkeypatch):
    store = Store(tmp_path / "second")
    first = ensure(promised, store)
    monkeypatch.setattr(build, "assembled", lambda *_: pytest.fail("assembled again"))
    second = ensure(promised, store, mirror=False)
    assert first == second
    assert dict(second.env)["LANG"] == "C.UTF-8"
    assert second.fidelity[0].component == "torch"


def test_the_layout_is_one_that_others_can_read(promised, tmp_path):
    layout = ensure(promised, Store(tmp_path / "s"))
    assert json.loads((layout.path / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    entry = json.loads((layout.path / "index.json").read_bytes())["manifests"][0]
    assert entry["digest"] == f"sha256:{layout.manifest_digest}"
    for blob in (layout.path / "blobs" / "sha256").iterdir():
        assert sha256_file(blob) == blob.name
    manifest = json.loads(oci.blob_path(layout.path, layout.manifest_digest).read_bytes())
    assert [b["digest"] for b in manifest["layers"]] == [f"sha256:{d}" for d in layout.diff_ids]
    config = json.loads(oci.blob_path(layout.path, layout.config_digest).read_bytes())
    assert config["rootfs"]["diff_ids"] == [f"sha256:{d}" for d in layout.diff_ids]
    assert config["created"] == "2026-07-11T00:00:00Z"
    assert len(config["history"]) == len(layout.diff_ids)


def test_an_archive_leaves_out_the_layers_that_an_engine_has(promised, tmp_path):
    layout = ensure(promised, Store(tmp_path / "s"))
    whole = b"".join(archive.pieces(layout))
    part = b"".join(archive.pieces(layout, frozenset(layout.diff_ids[:1])))
    assert len(whole) == archive.size(layout)
    with tarfile.open(fileobj=io.BytesIO(whole)) as tar:
        docker = json.load(tar.extractfile("manifest.json"))[0]
        assert docker["RepoTags"] == ["speedrun-kit:tiny"]
        names = set(tar.getnames())
        assert {docker["Config"], *docker["Layers"], "index.json", "oci-layout"} <= names
        index = tar.extractfile("index.json").read()
    with tarfile.open(fileobj=io.BytesIO(part)) as tar:
        assert names - set(tar.getnames()) == {f"blobs/sha256/{layout.diff_ids[0]}"}
    assert index == (layout.path / "index.json").read_bytes(), "an archive keeps its bytes"


def test_an_image_with_another_digest_is_refused_layer_by_layer(promised, tmp_path):
    path = digest_path(promised.spec)
    lines = path.read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if line.endswith("  big"))
    lines[at] = f"layer     sha256:{'0' * 64}  big"
    path.write_text("\n".join(lines) + "\n")
    store = Store(tmp_path / "s")
    with pytest.raises(DigestMismatch, match=r"layer 1 \(big\): expected 0000") as caught:
        ensure(promised, store)
    assert "--accept" in caught.value.hint
    assert not list((store.root / "layouts").iterdir())


def test_verify_returns_both_identities_and_reads_nothing_of_an_earlier_build(promised, tmp_path):
    store = Store(tmp_path / "s")
    layout = ensure(promised, store)
    for digest in layout.diff_ids:
        blob = store.blob(digest)
        blob.chmod(0o644)
        blob.write_bytes(b"spoiled")
    done = build.verify("tiny", promised.images, store, [])
    assert done.promised == done.built and done.differences == done.entries == ()


def test_verify_hashes_the_artifacts_that_it_finds(promised, tmp_path):
    store = Store(tmp_path / "s")
    ensure(promised, store)
    victim = read_lock(promised.spec).wheels[0]
    blob = store.blob(victim.sha256)
    blob.chmod(0o644)
    with blob.open("r+b") as f:
        f.seek(100)
        f.write(b"!")
    with pytest.raises(DigestMismatch, match=victim.name) as caught:
        build.verify("tiny", promised.images, store, [])
    assert str(blob) in caught.value.hint


def test_a_digest_of_another_lock_is_stale(promised):
    path = digest_path(promised.spec)
    path.write_text(path.read_text().replace("lock      sha256:", "lock      sha256:0", 1)[:-1])
    text = path.read_text().replace(read_lock(promised.spec).sha256, "1" * 64)
    path.write_text(text.replace("sha256:0", "sha256:", 1) + "\n")
    with pytest.raises(StaleLock) as caught:
        read_identity(promised.spec, read_lock(promised.spec))
    assert str(path) in caught.value.message and str(lock_path(promised.spec)) in caught.value.message


def test_an_era_without_a_digest_says_how_to_make_one(tiny, tmp_path):
    with pytest.raises(PrerequisiteError, match="digest") as caught:
        ensure(tiny, Store(tmp_path / "s"))
    assert caught.value.hint == "speedrun image build tiny --accept"


def test_wrong_bytes_in_a_mirror_are_refused_and_do_not_stay(promised, tmp_path):
    store = Store(tmp_path / "s")
    victim = promised.mirror / read_lock(promised.spec).wheels[1].name
    data = bytearray(victim.read_bytes())
    data[50] ^= 1
    victim.write_bytes(bytes(data))
    with pytest.raises(DigestMismatch, match=victim.name):
        ensure(promised, store)
    assert sha256_file(victim) not in {Path(name).name for name in contents(store)}
    data[50] ^= 1
    victim.write_bytes(bytes(data))
    assert ensure(promised, store).era == "tiny"


def test_another_wheel_under_the_locked_name_is_refused(promised, tmp_path):
    lock = read_lock(promised.spec)
    locked, other = (promised.mirror / wheel.name for wheel in lock.wheels)
    locked.write_bytes(other.read_bytes())
    with pytest.raises(
        DigestMismatch,
        match=f"checksum mismatch: {locked.name} from mirror .* has sha256 {sha256_file(other)[:12]}",
    ):
        ensure(promised, Store(tmp_path / "s"))


@pytest.mark.parametrize("kind", ["debs", "wheels"])
def test_a_file_that_is_cut_off_in_a_mirror_is_refused_with_both_sizes(promised, tmp_path, kind):
    victim = promised.mirror / getattr(read_lock(promised.spec), kind)[0].name
    size = victim.stat().st_size
    victim.write_bytes(victim.read_bytes()[:-7])
    with pytest.raises(DigestMismatch, match=f"{size - 7} of {size} bytes"):
        ensure(promised, Store(tmp_path / "s"))


def test_all_missing_files_are_listed_at_once_with_pool_paths(promised, tmp_path):
    lock = read_lock(promised.spec)
    with pytest.raises(PrerequisiteError) as caught:
        ensure(promised, Store(tmp_path / "s"), mirror=False)
    assert caught.value.message.startswith("3 files were not found")
    assert lock.debs[0].pool in caught.value.message
    assert all(w.name in caught.value.message for w in lock.wheels)
    assert "--mirror" in caught.value.hint


def test_a_full_disk_is_said_and_leaves_the_store_as_it_was(promised, tmp_path, monkeypatch):
    store = Store(tmp_path / "s")
    fetch(read_lock(promised.spec), store, [FolderFetcher(promised.mirror)])
    before = contents(store)

    with monkeypatch.context() as patch:
        patch.setattr("kit.image.layer.write_tar", failing(errno.ENOSPC))
        with pytest.raises(RunError, match="no space left") as caught:
            ensure(promised, store)
    assert "--store" in caught.value.hint
    assert contents(store) == before
    assert ensure(promised, store, mirror=False).era == "tiny"


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_really_full_disk_is_said_and_the_store_recovers(promised, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=900k", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("this root may not mount")
    try:
        store = Store(disk / "s")
        with pytest.raises(RunError, match="no space left"):
            ensure(promised, store)
        assert not list((store.root / "layouts").glob(".staging-*"))
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        assert ensure(promised, store).era == "tiny"
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def _build(images: Path, mirror: Path, root: Path, start, results) -> None:
    from kit.image.rootfs import ensure_rootfs

    start.wait()
    store = Store(root)
    layout = build.ensure_layout("tiny", images, store, [FolderFetcher(mirror)])
    results.put((layout.manifest_digest, str(ensure_rootfs(layout, store))))


def test_processes_that_build_at_once_in_one_store_all_get_the_image(promised, tmp_path):
    context = multiprocessing.get_context("spawn")
    start, results = context.Event(), context.Queue()
    workers = [
        context.Process(
            target=_build, args=(promised.images, promised.mirror, tmp_path / "s", start, results)
        )
        for _ in range(3)
    ]
    for worker in workers:
        worker.start()
    start.set()
    outcomes = {results.get(timeout=600) for _ in workers}
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert len(outcomes) == 1
    assert not list((tmp_path / "s").glob("*/.staging-*"))


def test_what_a_killed_build_left_is_removed_by_the_next(promised, tmp_path):
    store = Store(tmp_path / "s")
    left = store.room("layouts") / ".staging-killed"
    left.mkdir()
    (left / "layer-0").write_bytes(bytes(1000))
    with store.staging("layouts") as alive:
        ensure(promised, store)
        assert alive.is_dir()
    assert not left.exists()


def test_a_layout_that_lost_a_blob_is_made_again(promised, tmp_path):
    store = Store(tmp_path / "s")
    layout = ensure(promised, store)
    oci.blob_path(layout.path, layout.diff_ids[1]).unlink()
    store.blob(layout.diff_ids[1]).unlink()
    assert ensure(promised, store) == layout
    assert sha256_file(store.blob(layout.diff_ids[1])) == layout.diff_ids[1]


def test_a_survey_tells_what_is_here_and_changes_nothing(promised, tmp_path):
    store = Store(tmp_path / "s")
    empty = build.survey("tiny", promised.images, store)
    assert (empty.present, empty.built, empty.state) == (0, False, "ok")
    assert not store.root.exists()
    ensure(promised, store)
    full = build.survey("tiny", promised.images, store)
    assert full.present == full.size == read_lock(promised.spec).size and full.built
    toml = promised.images / "tiny" / "image.toml"
    toml.write_text(toml.read_text() + "# changed\n")
    assert build.survey("tiny", promised.images, store).state == "stale"


def test_a_store_without_hard_links_has_a_layout_that_survives_a_move(promised, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", failing(errno.EPERM))
    ensure(promised, Store(tmp_path / "store"))
    (tmp_path / "store").rename(tmp_path / "moved")
    layout = ensure(promised, Store(tmp_path / "moved"), mirror=False)
    assert all(oci.blob_path(layout.path, diff_id).is_file() for diff_id in layout.diff_ids)
