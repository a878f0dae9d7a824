from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from kit.sandbox import processes
from kit.sandbox.folder import new_run_id

DOUBLE_FORK = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(600)
    os._exit(0)
time.sleep(600)
"""


def _daemonized(run_id: str, parent: int) -> bool:
    """Two are marked and the one is no longer the other's descendant."""
    return len(processes.marked(run_id)) == 2 and processes.descendants([parent]) == [parent]


@pytest.fixture
def daemonizer():
    run_id = new_run_id(3)  # what another test killed may still be seen under its name
    env = {**os.environ, processes.MARKER: run_id}
    child = subprocess.Popen([sys.executable, "-c", DOUBLE_FORK], env=env)
    deadline = time.monotonic() + 120
    while not _daemonized(run_id, child.pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    yield run_id, child
    processes.kill_all(processes.marked(run_id))
    child.kill()
    child.wait()


def test_a_double_forked_daemon_is_found_by_the_marker(daemonizer):
    run_id, child = daemonizer
    found = processes.marked(run_id)
    assert len(found) == 2 and child.pid in found


def test_killing_the_marked_leaves_nothing(daemonizer):
    run_id, child = daemonizer
    processes.kill_all(processes.marked(run_id))
    child.wait()
    deadline = time.monotonic() + 120
    while processes.marked(run_id) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert processes.marked(run_id) == []


def test_the_caller_is_never_among_the_marked(monkeypatch):
    assert os.getpid() not in processes.marked("")


def test_descendants_include_grandchildren():
    code = "import subprocess, sys; subprocess.run(['sleep', '600'])"
    child = subprocess.Popen([sys.executable, "-c", code])
    try:
        deadline = time.monotonic() + 120
        while len(processes.descendants([child.pid])) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert len(processes.descendants([child.pid])) == 2
    finally:
        processes.kill_all(processes.descendants([child.pid]))
        child.wait()


def test_a_zombie_is_not_alive():
    child = subprocess.Popen([sys.executable, "-c", ""])
    deadline = time.monotonic() + 120
    while processes.is_alive(child.pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not processes.is_alive(child.pid)
    child.wait()


def test_killing_what_is_gone_is_no_error():
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    processes.kill_all([child.pid])


def test_the_namespace_of_this_process_is_never_ended():
    assert processes.namespace_of(os.getpid()) is not None
    assert processes.hold_namespace(os.getpid()) is None


def test_the_namespace_of_an_ended_process_cannot_be_held():
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert processes.hold_namespace(child.pid) is None
