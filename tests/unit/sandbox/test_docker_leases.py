"""Ending a container without its engine, by lease and by kernel; and the engine's framed output."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
import subprocess
import sys
import threading

import pytest
from fake_engine import FakeEngine
from system_errors import failing

from kit.core.errors import RunError
from kit.sandbox import processes
from kit.sandbox.engine import frames
from kit.sandbox.runtime import docker, lease
from kit.sandbox.runtime.lease import ContainerLease, LeaseRecord

RUN = "r03-20261123T170000Z-00000000"
CONTAINER = "f" * 64


def test_a_lease_is_held_by_its_kit_and_says_where_the_container_is(tmp_path):
    container_lease = ContainerLease(tmp_path, RUN, "unix:///e.sock")
    assert lease.read(tmp_path, RUN) == LeaseRecord("unix:///e.sock", ())
    container_lease.add(CONTAINER)
    assert lease.read(tmp_path, RUN) == LeaseRecord("unix:///e.sock", (CONTAINER,))
    assert lease.held(tmp_path, RUN) and lease.runs(tmp_path) == [RUN]
    container_lease.leave()
    assert not lease.held(tmp_path, RUN) and lease.runs(tmp_path) == [RUN]


def test_a_released_lease_is_gone(tmp_path):
    container_lease = ContainerLease(tmp_path, RUN, "unix:///e.sock")
    container_lease.release()
    container_lease.release()
    assert lease.read(tmp_path, RUN) is None and list(tmp_path.iterdir()) == []


def test_the_kernel_drops_the_hold_of_a_killed_kit(tmp_path):
    code = (
        "import sys, os, signal; from pathlib import Path\n"
        "from kit.sandbox.runtime.lease import ContainerLease\n"
        "ContainerLease(Path(sys.argv[1]), sys.argv[2], 'unix:///e.sock').add('c1')\n"
        "print('held', flush=True); signal.pause()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path), RUN], stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        assert lease.held(tmp_path, RUN)
        process.kill()
        process.wait()
    assert not lease.held(tmp_path, RUN)
    assert lease.read(tmp_path, RUN) == LeaseRecord("unix:///e.sock", ("c1",))


def test_a_lease_of_version_0_1_is_read(tmp_path):
    (tmp_path / RUN).write_text(f"unix:///e.sock\n{CONTAINER}\n")
    assert lease.read(tmp_path, RUN) == LeaseRecord("unix:///e.sock", (CONTAINER,))
    assert not lease.held(tmp_path, RUN)


def test_where_there_are_no_locks_a_lease_is_held_as_long_as_its_process_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", failing(errno.ENOLCK))
    ContainerLease(tmp_path, RUN, "unix:///e.sock").leave()
    assert lease.held(tmp_path, RUN)
    monkeypatch.setattr("kit.core.process._boot", lambda: "the next one")
    assert not lease.held(tmp_path, RUN)


def test_a_run_is_at_work_as_long_as_its_block(tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "folder", lambda name: tmp_path / "state" / name)
    assert not lease.is_at_work(RUN)
    with lease.at_work(RUN), lease.at_work(RUN):
        assert lease.is_at_work(RUN) and not lease.is_at_work(RUN[:-1] + "1")
    assert not lease.is_at_work(RUN)
    assert (tmp_path / "state" / "runs").stat().st_mode & 0o777 == 0o700
    assert list((tmp_path / "state" / "runs").iterdir()) == []


@pytest.mark.parametrize("other", [False, True])
def test_what_a_killed_process_was_at_is_forgotten(tmp_path, monkeypatch, other):
    monkeypatch.setattr(lease, "folder", lambda name: tmp_path / "state" / name)
    code = (
        "import sys, os; from pathlib import Path\n"
        "from kit.sandbox.runtime import lease\n"
        "lease.folder = lambda name: Path(sys.argv[1]) / name\n"
        "with lease.at_work(sys.argv[2]): os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "state"), RUN], check=False)
    assert len(list((tmp_path / "state" / "runs").iterdir())) == 1
    if other:  # the next run cleans up, too
        with lease.at_work(RUN[:-1] + "1"):
            assert len(list((tmp_path / "state" / "runs").iterdir())) == 1
    assert not lease.is_at_work(RUN)
    assert list((tmp_path / "state" / "runs").iterdir()) == []


def test_a_run_is_recorded_although_another_process_looks_at_the_new_file(tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "folder", lambda name: tmp_path / "state" / name)
    monkeypatch.setattr(lease.secrets, "token_hex", lambda size: "0" * 16)
    (tmp_path / "state" / "runs").mkdir(parents=True, mode=0o700)
    look = os.open(tmp_path / "state" / "runs" / f"{RUN}.{'0' * 16}", os.O_RDWR | os.O_CREAT)
    fcntl.flock(look, fcntl.LOCK_SH)
    looking = threading.Timer(0.2, os.close, (look,))
    looking.start()
    with lease.at_work(RUN):
        looking.join()
        assert lease.is_at_work(RUN)


def test_a_state_folder_that_cannot_be_made_keeps_nobody_from_work(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(lease, "folder", lambda name: tmp_path / "file" / "state" / name)
    with lease.at_work(RUN):
        assert not lease.is_at_work(RUN)


def test_a_line_that_was_cut_off_is_no_container(tmp_path):
    (tmp_path / RUN).write_bytes(b"unix:///e.sock\nabc\ndef")
    assert lease.read(tmp_path, RUN) == LeaseRecord("unix:///e.sock", ("abc",))


@pytest.mark.parametrize(
    ("group", "belongs"),
    [
        (f"/docker/{CONTAINER}", True),
        (f"/docker/{CONTAINER}/inner", True),
        (f"/system.slice/docker-{CONTAINER}.scope", True),
        (f"/machine.slice/libpod-{CONTAINER}.scope/container", True),
        (f"/libpod_parent/libpod-{CONTAINER}", True),
        (f"/machine.slice/libpod-conmon-{CONTAINER}.scope", False),
        (f"/docker/{CONTAINER[:-1]}", False),
        ("/", False),
    ],
)
def test_the_control_group_says_whose_a_process_is(tmp_path, monkeypatch, group, belongs):
    (tmp_path / "77").mkdir()
    (tmp_path / "77" / "cgroup").write_text(f"5:memory:{group}\n0::/\n")
    monkeypatch.setattr(processes, "PROC", tmp_path)
    assert processes.is_in_container(CONTAINER, 77) is belongs


def test_only_containerds_own_process_of_that_container_is_its_shim(tmp_path, monkeypatch):
    for pid, argv in {
        "1": ["/usr/bin/containerd-shim-runc-v2", "-namespace", "moby", "-id", CONTAINER],
        "2": ["/usr/bin/containerd-shim-runc-v2", "-namespace", "moby", "-id", "e" * 64],
        "3": ["/bin/cat", CONTAINER],
    }.items():
        (tmp_path / pid).mkdir()
        (tmp_path / pid / "cmdline").write_bytes("\0".join([*argv, ""]).encode())
    monkeypatch.setattr(processes, "PROC", tmp_path)
    assert processes.shim_pids(CONTAINER) == [1]


def test_without_a_lease_there_is_nothing_to_reap(tmp_path):
    assert docker.reap(tmp_path, RUN)


def test_a_dead_engine_does_not_keep_a_run_open_but_its_lease_stays_for_later(tmp_path):
    ContainerLease(tmp_path, RUN, f"unix://{tmp_path}/gone.sock").leave()
    (tmp_path / RUN).write_text(f"unix://{tmp_path}/gone.sock\n{CONTAINER}\n")
    assert docker.reap(tmp_path, RUN)
    assert docker.tidy(tmp_path) == () and lease.runs(tmp_path) == [RUN]


def test_an_engine_that_has_nothing_left_lets_the_lease_go(tmp_path):
    fake = FakeEngine(tmp_path)
    try:
        fake.answers["GET /containers/json"] = (200, [])
        state = tmp_path / "state"
        state.mkdir()
        (state / RUN).write_text(f"{fake.url}\n{CONTAINER}\n")
        assert docker.reap(state, RUN) and lease.runs(state) == []
        (state / RUN).write_text(f"{fake.url}\n")
        assert docker.reap(state, RUN)
        assert lease.runs(state) == [RUN], "the engine may still be making the container"
        assert docker.tidy(state) == (RUN,) and lease.runs(state) == []
    finally:
        fake.stop()


def test_a_container_that_the_engine_keeps_leaves_its_run_open_and_its_lease(tmp_path):
    fake = FakeEngine(tmp_path)
    try:
        state = {"Status": "exited", "Running": False, "Pid": 0, "ExitCode": 0}
        kept = {"Id": CONTAINER, "Image": "sha256:" + "e" * 64, "State": state, "Config": {"Labels": None}}
        fake.answers["GET /containers/json"] = (200, [{"Id": CONTAINER}])
        fake.answers[f"GET /containers/{CONTAINER}/json"] = (200, kept)
        fake.answers[f"DELETE /containers/{CONTAINER}"] = (409, {"message": "removal is in progress"})
        record = LeaseRecord(fake.url, (CONTAINER,))
        with pytest.raises(RunError, match=f"the engine did not remove the container of {RUN}") as e:
            docker._end(record, RUN)
        assert e.value.hint == "speedrun doctor --fix"
        states = tmp_path / "state"
        states.mkdir()
        (states / RUN).write_text(f"{fake.url}\n{CONTAINER}\n")
        assert not docker.reap(states, RUN) and docker.tidy(states) == ()
        assert lease.runs(states) == [RUN]
    finally:
        fake.stop()


def test_a_lease_that_is_held_is_not_tidied(tmp_path):
    container_lease = ContainerLease(tmp_path, RUN, f"unix://{tmp_path}/gone.sock")
    assert docker.tidy(tmp_path) == () and docker.orphans("unix:///nonexistent", tmp_path) == ()
    container_lease.leave()


def test_only_what_an_engine_that_answers_could_remove_is_called_left_behind(tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    (state / RUN).write_text(f"unix://{tmp_path}/gone.sock\n{CONTAINER}\n")
    assert docker.orphans("unix:///nonexistent", state) == (), "nobody could remove it now"
    fake = FakeEngine(tmp_path)
    try:
        (state / RUN).write_text(f"{fake.url}\n{CONTAINER}\n")
        assert docker.orphans("unix:///nonexistent", state) == (RUN,)
    finally:
        fake.stop()


def test_frames_are_taken_apart_wherever_they_are_cut():
    def frame(kind: int, data: bytes) -> bytes:
        return struct.pack(">BxxxL", kind, len(data)) + data

    sent = frame(1, b"out\n") + frame(2, b"") + frame(2, b"\x01\0\0\0err") + frame(1, b"x" * 200_000)
    here, there = socket.socketpair()
    with here, there:

        def send() -> None:
            for at in range(0, len(sent), 1111):
                there.sendall(sent[at : at + 1111])
            there.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        got = {1: b"", 2: b""}
        for kind, data in frames(here):
            got[kind] += data
        sender.join()
    assert got == {1: b"out\n" + b"x" * 200_000, 2: b"\x01\0\0\0err"}


def test_a_stream_that_breaks_off_ends_without_an_error():
    here, there = socket.socketpair()
    with here:
        there.sendall(struct.pack(">BxxxL", 1, 100) + b"half")
        there.close()
        assert [data for _, data in frames(here)] == [b"half"]
