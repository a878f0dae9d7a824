"""Leases on a store: a process that uses it is seen, a dead one is not, and cleaning excludes new ones."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import threading

import pytest
from system_errors import failing

from kit.core import store_use
from kit.core.store import Store
from kit.core.store_use import cleaning, current_uses, using

IMAGE = "a" * 64


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def leases(store):
    return sorted(p.name for p in (store.root / "uses").glob("*"))


def test_a_lease_is_seen_until_its_block_ends(store):
    with using(store):
        (use,) = current_uses(store)
        assert use.process.pid == os.getpid() and use.images is None
        with cleaning(store) as uses:
            assert uses == (use,)
    assert current_uses(store) == () and leases(store) == []


def test_a_lease_names_its_images_once_it_knows_them(store):
    with using(store) as lease:
        lease.limit([IMAGE])
        assert current_uses(store)[0].images == {IMAGE}
        lease.limit([])
        assert current_uses(store)[0].images == frozenset()


@pytest.mark.parametrize("content", [b"nonsense\n", b"\xff", IMAGE.encode() + b"\n../../x\n", b"a" * 63])
def test_a_damaged_list_of_images_protects_everything(store, content):
    with using(store) as lease:
        lease.limit([IMAGE])
        (store.root / "uses" / leases(store)[0] / "images").write_bytes(content)
        assert current_uses(store)[0].images is None


def test_the_lease_of_a_killed_process_ends_with_it(store):
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom kit.core.store import Store\n"
        "from kit.core.store_use import using\n"
        "with using(Store(Path(sys.argv[1]))):\n print('in', flush=True)\n time.sleep(600)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(store.root)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "in\n"
    assert [use.process.pid for use in current_uses(store)] == [process.pid]
    process.kill()
    process.communicate()
    assert current_uses(store) == ()
    assert leases(store) != []
    with cleaning(store) as uses:
        assert uses == ()
    assert leases(store) == []


def test_no_process_gets_a_lease_while_the_store_is_cleaned(store):
    inside = threading.Event()

    def come():
        with using(store):
            inside.set()

    with cleaning(store):
        thread = threading.Thread(target=come)
        thread.start()
        assert not inside.wait(0.3)
    assert inside.wait(60)
    thread.join()


def test_two_leases_of_one_process_are_independent(store):
    with using(store) as first, using(store):
        first.limit([IMAGE])
        assert sorted(str(use.images) for use in current_uses(store)) == [
            "None", f"frozenset({{'{IMAGE}'}})"
        ]  # fmt: skip
    assert leases(store) == []


def test_without_locks_of_the_file_system_the_process_is_looked_up(store, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", failing(errno.ENOLCK))
    with using(store):
        assert [use.process.pid for use in current_uses(store)] == [os.getpid()]
    assert current_uses(store) == ()


def test_a_store_that_cannot_be_written_is_used_without_a_lease(store, monkeypatch):
    from kit.core.errors import PrerequisiteError

    def refuse(folder):
        raise PrerequisiteError(f"cannot write {folder}")

    monkeypatch.setattr("kit.core.store.make_folder", refuse)
    with using(store) as lease:
        lease.limit([IMAGE])
    assert not store.root.exists()


def test_foreign_files_among_the_leases_are_ignored(store):
    (store.root / "uses").mkdir(parents=True)
    (store.root / "uses" / "notes.txt").write_text("")
    with cleaning(store) as uses:
        assert uses == ()
    assert leases(store) == ["notes.txt"]
    assert store_use.current_uses(Store(store.root / "none")) == ()
