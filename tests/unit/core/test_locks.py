"""Locks and leases: a dead owner loses them, a copy has none, another machine's are not judged."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import replace

import pytest
from system_errors import failing

from kit.core import locks, process
from kit.core.lease import Takeover, claimed, lease_of
from kit.core.locks import acquire
from kit.core.process import OwnerState, Process, process_bytes, standing, this_process
from kit.core.store import Store

NAME = ".alive"


@pytest.fixture
def no_locks(monkeypatch):
    """A file system without locks, as an NFS mount without a lock daemon."""
    monkeypatch.setattr(fcntl, "flock", failing(errno.ENOLCK))


@pytest.fixture
def owned(tmp_path):
    """A folder, and the lease of a process on it that has let it go."""
    folder = tmp_path / "work"
    folder.mkdir()
    lock = acquire(folder / NAME)
    lock.note()
    lease = lease_of(folder, lock)
    lock.release()
    return folder, lease


def gone() -> Process:
    """A process of this machine that has ended."""
    with subprocess.Popen(["true"]) as child:
        pid = child.pid
    return replace(this_process(), pid=pid, started=1)


def claim(folder, lease):
    with claimed(folder, NAME, lease) as found:
        return found


def test_a_process_runs_until_it_ends_and_a_reused_pid_is_another_process():
    me = this_process()
    assert standing(me) is OwnerState.RUNNING
    assert standing(replace(me, started=me.started + 1)) is OwnerState.ENDED
    assert standing(gone()) is OwnerState.ENDED
    assert standing(replace(me, boot="another")) is OwnerState.ENDED


def test_a_zombie_process_has_ended():
    with subprocess.Popen(["sleep", "600"]) as child:
        started = process._started(child.pid)
        its = replace(this_process(), pid=child.pid, started=started)
        assert standing(its) is OwnerState.RUNNING
        os.kill(child.pid, 9)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert standing(its) is OwnerState.ENDED


@pytest.mark.parametrize("field", ["host", "namespace"])
def test_a_process_that_cannot_be_seen_from_here_is_not_judged(field):
    assert standing(replace(this_process(), **{field: "another"})) is OwnerState.ELSEWHERE


def test_machines_are_told_apart_by_machine_id_and_name(monkeypatch):
    texts = {"/etc/machine-id": "1"}
    monkeypatch.setattr(process, "_text", lambda path: texts.get(path, ""))
    first = process._host.__wrapped__()
    texts["/etc/machine-id"] = "2"
    assert process._host.__wrapped__() != first
    del texts["/etc/machine-id"]
    before = process._host.__wrapped__()
    texts["/proc/sys/kernel/random/boot_id"] = "next"
    assert process._host.__wrapped__() != before, "without a machine id, another boot may be another machine"
    assert first != "1" and len(first) == 32


@pytest.mark.parametrize("kernel", [True, False])
def test_a_lock_is_held_by_one_and_free_after_its_release(tmp_path, request, kernel):
    if not kernel:
        request.getfixturevalue("no_locks")
    path = tmp_path / "lock"
    lock = acquire(path)
    assert lock.by_kernel is kernel and acquire(path) is None
    lock.release()
    lock.release()
    again = acquire(path)
    assert again is not None
    again.remove()
    assert list(tmp_path.iterdir()) == []


def test_processes_that_look_at_a_free_lock_at_once_do_not_find_it_taken(tmp_path, monkeypatch):
    acquire(tmp_path / NAME).release()
    lock_file, meanwhile = locks.lock_file, []

    def looked_at(fd, **how):
        free = lock_file(fd, **how)
        if not meanwhile:
            meanwhile.append("looks")
            meanwhile.append(locks.held(tmp_path / NAME))
        return free

    monkeypatch.setattr(locks, "lock_file", looked_at)
    assert (locks.held(tmp_path / NAME), meanwhile) == (False, ["looks", False])


def test_a_lock_file_that_is_a_link_is_not_opened(tmp_path):
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        acquire(tmp_path / "lock")
    assert not (tmp_path / "elsewhere").exists()


def test_without_kernel_locks_a_dead_process_keeps_nothing_and_another_machines_does(tmp_path, no_locks):
    path = tmp_path / "lock"
    flag = tmp_path / f"lock.{'0' * 16}"
    flag.write_bytes(process_bytes(gone()))
    lock = acquire(path)
    assert lock is not None and not flag.exists()
    lock.release()
    flag.write_bytes(process_bytes(replace(this_process(), host="another")))
    assert acquire(path) is None and flag.exists()


def test_without_kernel_locks_an_old_mutex_of_another_machine_is_abandoned(tmp_path, no_locks):
    flag = tmp_path / f"lock.{'0' * 16}"
    flag.write_bytes(process_bytes(replace(this_process(), host="another")))
    os.utime(flag, (0, 0))
    acquire(tmp_path / "lock", wait=True).release()


def test_without_kernel_locks_a_store_lock_still_excludes_other_processes(tmp_path):
    code = (
        "import errno, fcntl, os, sys, time\nfrom pathlib import Path\n"
        "def flock(fd, operation): raise OSError(errno.ENOLCK, 'none')\n"
        "fcntl.flock = flock\n"
        "from kit.core.store import Store\n"
        "counter = Path(sys.argv[1]) / 'counter'\n"
        "for _ in range(20):\n"
        "    with Store(Path(sys.argv[1])).lock('one'):\n"
        "        seen = int(counter.read_text())\n"
        "        time.sleep(0.002)\n"
        "        counter.write_text(str(seen + 1))\n"
    )
    (tmp_path / "counter").write_text("0")
    each = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) for _ in range(3)]
    assert [p.wait() for p in each] == [0, 0, 0]
    assert (tmp_path / "counter").read_text() == "60"
    assert [p.name for p in (tmp_path / "locks").iterdir()] == ["one"]


def test_a_store_works_where_there_are_no_locks(tmp_path, no_locks):
    store = Store(tmp_path)
    assert store.blob(store.put(b"x")).read_bytes() == b"x"
    assert not locks.supported(tmp_path)


def test_a_folder_whose_owner_let_it_go_can_be_taken_over_and_only_by_one(owned):
    folder, lease = owned
    with claimed(folder, NAME, lease) as first:
        assert (first, claim(folder, lease)) == (Takeover.MINE, Takeover.RUNNING)
    assert claim(folder, lease) is Takeover.MINE


def test_a_folder_that_was_renamed_is_still_the_one_of_the_lease(owned):
    folder, lease = owned
    assert claim(folder.rename(folder.with_name("renamed")), lease) is Takeover.MINE


@pytest.mark.parametrize("linked", [False, True])
def test_a_copy_is_not_the_folder_of_the_lease(owned, linked):
    folder, lease = owned
    copy = shutil.copytree(folder, folder.with_name("copy"))
    if linked:
        (copy / NAME).unlink()
        os.link(folder / NAME, copy / NAME)
    assert claim(copy, lease) is Takeover.COPY


@pytest.mark.parametrize("how", ["gone", "new", "link", "folder"])
def test_a_lock_file_that_was_replaced_is_seen(owned, how):
    folder, lease = owned
    (folder / NAME).rename(folder / "kept")  # its inode stays in use, as under a process that holds it
    match how:
        case "new":
            (folder / NAME).touch()
        case "link":
            (folder / NAME).symlink_to("kept")
        case "folder":
            (folder / NAME).mkdir()
    assert claim(folder, lease) is Takeover.REPLACED


def test_a_folder_of_another_machine_is_left_alone_whoever_has_its_lock(owned):
    folder, lease = owned
    assert claim(folder, replace(lease, process=replace(lease.process, host="other"))) is Takeover.ELSEWHERE


def test_after_a_reboot_a_folder_may_have_another_device_number(owned):
    folder, lease = owned
    moved = replace(lease, device="1234567")
    assert claim(folder, moved) is Takeover.COPY
    assert claim(folder, replace(moved, process=replace(lease.process, boot="before"))) is Takeover.MINE


def test_without_kernel_locks_a_folder_is_taken_over_once_its_process_has_ended(owned, no_locks):
    folder, lease = owned
    assert claim(folder, lease) is Takeover.RUNNING
    assert claim(folder, replace(lease, process=gone())) is Takeover.MINE
    inside = replace(lease.process, namespace="pid:[1]")
    assert claim(folder, replace(lease, process=inside)) is Takeover.ELSEWHERE


def test_a_lock_file_names_its_owner_for_people(tmp_path, monkeypatch):
    path = tmp_path / NAME
    assert locks.standing_of(path) is OwnerState.ENDED
    lock = acquire(path)
    lock.note()
    assert locks.noted(path) == this_process() and locks.standing_of(path) is OwnerState.RUNNING
    lock.release()
    assert locks.noted(path) is None and locks.standing_of(path) is OwnerState.ENDED
    path.write_bytes(process_bytes(replace(this_process(), host="another")))
    assert locks.standing_of(path) is OwnerState.ELSEWHERE
    path.write_bytes(process_bytes(gone()))
    assert locks.standing_of(path) is OwnerState.ENDED


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', "\udcff"])
def test_invalid_bytes_in_a_lock_file_name_no_process(tmp_path, text):
    (tmp_path / NAME).write_bytes(text.encode("utf-8", "surrogateescape"))
    assert locks.noted(tmp_path / NAME) is None


def test_a_lock_is_taken_past_a_process_that_looks_at_it(tmp_path):
    (tmp_path / NAME).touch()
    looks = (tmp_path / NAME).open()
    fcntl.flock(looks, fcntl.LOCK_SH)
    threading.Timer(0.3, looks.close).start()
    lock = acquire(tmp_path / NAME)
    assert lock is not None
    assert acquire(tmp_path / NAME) is None
    lock.release()


def test_a_lock_that_a_process_keeps_looking_at_is_given_up_and_left_as_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "LOOKS_S", 0.05)
    with (tmp_path / NAME).open("w") as looks:
        fcntl.flock(looks, fcntl.LOCK_SH)
        assert acquire(tmp_path / NAME) is None
    lock = acquire(tmp_path / NAME)
    assert lock is not None
    lock.release()
