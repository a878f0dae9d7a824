"""The store holds what its names promise, whoever is killed over it, and lets nobody wait for ever."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from system_errors import failing

from kit.core.errors import DigestMismatch, NetworkError, PrerequisiteError, RunError
from kit.core.files import disk_errors, is_being_staged, make_folder, staged, write_atomic
from kit.core.store import Artifact, FolderFetcher, Store

DATA = b"some bytes\n" * 1000
ARTIFACT = Artifact("some.bin", len(DATA), hashlib.sha256(DATA).hexdigest())


class Source:
    """Gives bytes, or raises; tells from where on it was asked."""

    source = "a source"

    def __init__(self, data=b"", error=None):
        self.data, self.error, self.offsets = data, error, []

    def fetch(self, artifact, sink, offset, progress):
        self.offsets.append(offset)
        sink.write(self.data[offset:])
        if self.error:
            raise self.error


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def test_a_transfer_that_broke_is_resumed_by_the_next_source(store):
    broken, whole = Source(DATA[:700], NetworkError("gone")), Source(DATA)
    assert store.ensure(ARTIFACT, [broken, whole]).read_bytes() == DATA
    assert whole.offsets == [700]


def test_a_store_below_a_file_holds_nothing_and_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    nowhere = Store(tmp_path / "file" / "store")
    assert not nowhere.has(ARTIFACT)
    with pytest.raises(PrerequisiteError, match=r"cannot write .*: Not a directory"):
        nowhere.ensure(ARTIFACT, [Source(DATA)])


def test_other_bytes_are_dropped_and_named(store):
    with pytest.raises(DigestMismatch, match=r"some\.bin from a source"):
        store.ensure(ARTIFACT, [Source(b"x" * len(DATA))])
    assert not store.has(ARTIFACT) and not list((store.root / "partial").iterdir())
    assert store.ensure(ARTIFACT, [Source(DATA)]).read_bytes() == DATA


def test_more_bytes_than_stated_are_dropped(store):
    with pytest.raises(DigestMismatch):
        store.ensure(ARTIFACT, [Source(DATA + b"x")])
    assert not list((store.root / "partial").iterdir())


def test_a_missing_file_is_named_with_every_source(store, tmp_path):
    (tmp_path / "mirror").mkdir()
    with pytest.raises(PrerequisiteError, match=r"some\.bin .*mirror .*file not found"):
        store.ensure(ARTIFACT, [FolderFetcher(tmp_path / "mirror")])


def test_a_blob_is_read_only_and_written_once(store):
    name = store.put(DATA)
    inode = store.blob(name).stat().st_ino
    assert store.put(DATA) == name and store.blob(name).stat().st_ino == inode
    assert store.blob(name).stat().st_mode & 0o777 == 0o444


def test_a_blob_that_was_spoiled_is_put_right(store):
    path = store.blob(store.put(DATA))
    path.chmod(0o644)
    path.write_bytes(DATA[:-1])
    assert store.blob(store.put(DATA)).read_bytes() == DATA


def test_a_name_that_is_no_digest_is_refused(store):
    with pytest.raises(DigestMismatch):
        store.blob("../../etc/passwd")


def test_a_process_that_is_killed_while_it_puts_a_blob_leaves_no_litter_that_grows(store):
    code = (
        "import os, sys\nfrom pathlib import Path\nimport kit.core.store\n"
        "kit.core.store.place = lambda *a, **k: os.kill(os.getpid(), 9)\n"
        "kit.core.store.Store(Path(sys.argv[1])).put(b'x' * 9000)\n"
    )
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", code, str(store.root)], check=False)
        assert done.returncode == -9
    assert len(list((store.root / "partial").iterdir())) == 1 and not (store.root / "blobs").exists()
    store.put(b"x" * 9000)
    assert not list((store.root / "partial").iterdir())


def test_folders_of_killed_processes_are_removed_and_those_of_living_ones_are_not(store):
    dead = store.room("layouts") / ".staging-dead"
    dead.mkdir()
    with store.staging("layouts") as living:
        assert not dead.exists()
        (store.room("roots") / ".staging-dead").mkdir()
        store.tidy()
        assert living.is_dir() and not list(store.room("roots").iterdir())
    assert not living.exists()


def test_a_folder_that_was_renamed_away_stays(tmp_path):
    with staged(tmp_path) as folder:
        folder.rename(tmp_path / "kept")
    assert (tmp_path / "kept").is_dir()


def test_a_folder_that_may_be_mounted_is_never_locked(tmp_path):
    def locked() -> bool:
        fd = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False

    with staged(tmp_path) as folder:
        assert not locked()
        folder = folder.rename(tmp_path / "kept")
        assert not locked()


def test_a_guest_that_locks_what_was_staged_keeps_nobody_from_staging(tmp_path):
    with staged(tmp_path) as folder:
        folder.rename(tmp_path / "kept")
    fd = os.open(tmp_path / "kept", os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        with staged(tmp_path) as folder:
            folder.rename(tmp_path / "next")
    finally:
        os.close(fd)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["kept", "next"]


def test_a_folder_is_locked_although_another_process_looks_at_it(tmp_path, monkeypatch):
    def made(**where):
        around = make(**where)
        look = os.open(around, os.O_RDONLY)
        fcntl.flock(look, fcntl.LOCK_EX)
        looking.append(threading.Timer(0.2, os.close, (look,)))
        looking[0].start()
        return around

    make, looking = tempfile.mkdtemp, []
    monkeypatch.setattr(tempfile, "mkdtemp", made)
    with staged(tmp_path) as folder:
        looking[0].join()
        assert is_being_staged(folder.parent)


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    write_atomic(tmp_path / "file", b"old")

    monkeypatch.setattr("kit.core.files.os.fsync", failing(errno.ENOSPC))
    with pytest.raises(RunError, match="no space left"):
        write_atomic(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("refused", "said"),
    [
        ("out/x", "cannot write .*/out/x: Permission denied"),
        ("out/.x.abc", "cannot write .*/out/x: Permission denied"),
        ("", "cannot write .*/out/x: Permission denied"),
        ("mirror/wheel.whl", "cannot open .*/mirror/wheel.whl: Permission denied"),
    ],
)
def test_the_file_that_is_not_permitted_is_named_and_not_the_one_that_was_to_be_written(
    tmp_path, refused, said
):
    with pytest.raises(PrerequisiteError, match=said) as e, disk_errors(tmp_path / "out" / "x"):
        raise PermissionError(13, "Permission denied", str(tmp_path / refused))
    assert e.value.hint


def test_a_mirror_that_may_not_be_read_is_named_among_the_sources(store, tmp_path, monkeypatch):
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "some.bin").write_bytes(DATA)
    real = Path.open

    def guarded(path, *a, **k):
        if path.parent.name == "mirror":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *a, **k)

    monkeypatch.setattr(Path, "open", guarded)  # root may read everything
    with pytest.raises(
        PrerequisiteError, match=r"mirror .*: cannot open .*/mirror/some\.bin: Permission denied"
    ):
        store.ensure(ARTIFACT, [FolderFetcher(tmp_path / "mirror")])


@pytest.mark.parametrize("place", ["file", "file/store"])
def test_a_file_in_the_place_of_the_store_is_something_missing_and_named(tmp_path, place):
    (tmp_path / "file").touch()
    with pytest.raises(PrerequisiteError, match=f"cannot write .*/{place}") as e:
        Store(tmp_path / place).put(DATA)
    assert "--store" in e.value.hint


def test_a_mirror_is_searched_through_links_that_go_in_circles(store, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "some.bin").write_bytes(DATA)
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / "shards").symlink_to(tmp_path / "disk", target_is_directory=True)
    (tmp_path / "disk" / "up").symlink_to(mirror, target_is_directory=True)
    (mirror / "lost").symlink_to(tmp_path / "nowhere")
    assert store.ensure(ARTIFACT, [FolderFetcher(mirror)]).read_bytes() == DATA


def test_a_store_stays_where_it_is_when_a_guest_has_another_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Store(Path("-a b/\u00e9")).root == tmp_path / "-a b" / "\u00e9"
    (tmp_path / "link").symlink_to("-a b")
    assert Store(Path("link/store")).root == tmp_path / "-a b" / "store"


@pytest.fixture
def read_only(tmp_path, monkeypatch):
    """A store that this process cannot write, also as root."""
    store = Store(tmp_path / "store")
    sha256 = store.put(b"x")
    real = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: not Path(path).is_relative_to(store.root) and real(path, mode)
    )
    return store, sha256


def test_a_read_only_store_is_read_without_locks(read_only):
    store, sha256 = read_only
    before = sorted(store.root.rglob("*"))
    with store.lock("anything"):
        assert store.blob(sha256).read_bytes() == b"x"
    assert sorted(store.root.rglob("*")) == before


def test_working_files_are_elsewhere_if_the_store_is_read_only(read_only, tmp_path):
    store, _ = read_only
    with store.working_folder("submissions") as folder:
        assert not folder.is_relative_to(store.root) and folder.stat().st_mode & 0o777 == 0o755
        (folder / "train_gpt2.py").touch()
    assert not folder.exists()
    with Store(tmp_path / "other").working_folder("submissions") as folder:
        assert folder.is_relative_to(tmp_path / "other")


def test_a_directory_that_cannot_be_made_is_a_wrong_path_and_no_defect(tmp_path):
    where = tmp_path / "absent" / "x"
    missing = FileNotFoundError(errno.ENOENT, "No such file or directory", str(where.parent))
    with pytest.raises(PrerequisiteError, match="cannot write"), disk_errors(where):
        raise missing
    with pytest.raises(FileNotFoundError), disk_errors(tmp_path / "x"):  # a file that a caller looks for
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(tmp_path / "x"))


def test_a_place_that_takes_no_entries_is_a_wrong_path_and_no_defect():
    for make in (make_folder, lambda where: write_atomic(where, b""), lambda where: make_folder(where / "y")):
        with pytest.raises(PrerequisiteError, match=r"cannot write /proc/x") as e:
            make(Path("/proc/x"))
        assert "--out" in e.value.hint


def test_a_file_as_a_parent_is_not_a_directory(tmp_path):
    (tmp_path / "file").touch()
    for below in ("file/x", "file/x/y"):
        where = tmp_path / below
        with pytest.raises(PrerequisiteError, match=r"cannot write .*: .*directory$"), disk_errors(where):
            where.parent.mkdir(parents=True, exist_ok=True)
