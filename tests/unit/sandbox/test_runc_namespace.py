"""A guest that has ended is not looked for under a name that is a later guest's by now."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kit.sandbox import processes
from kit.sandbox.folder import new_run_id
from kit.sandbox.runtime import runc
from kit.values.run_spec import RunSpec

RUN = new_run_id(3)
APART = ("unshare", "--pid", "--fork", "--kill-child", "--")
GUEST = (
    "read -r pid rest < /proc/self/stat; echo $pid > $FILE-; mv $FILE- $FILE; "
    "until [ -e $FILE.end ]; do sleep 0.02; done"
)
"""It ends when it is told to, so that its start has been noticed by then."""
RUNC = f"""
[ "$1" = --version ] && echo runc version 1.1.5 && exit
while [ "$1" != --pid-file ]; do shift; done
export FILE="$2"
{" ".join(APART)} sh -c '{GUEST}'
"""


def _may_unshare() -> bool:
    try:
        return subprocess.run([*APART, "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not _may_unshare(), reason="only root may make a PID namespace"
)


@pytest.fixture
def ended(program, tmp_path, monkeypatch):
    """A guest in a namespace of its own that has ended by itself."""
    monkeypatch.setattr(runc.cgroup, "writable", lambda: True)
    program("runc", RUNC)
    (tmp_path / "submission").mkdir()
    spec = RunSpec(RUN, None, tmp_path / "submission", ("true",), (("PATH", "/usr/bin:/bin"),))
    (tmp_path / "scratch").mkdir()
    guest = runc.Runc(Path(sys.executable), tmp_path / "state").start(spec, tmp_path / "scratch")
    (tmp_path / "scratch" / "oci" / "pid.end").touch()
    deadline = time.monotonic() + 120
    while guest.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    yield guest
    guest.close()


@pytest.fixture
def strangers():
    """Guests that start when the first one has ended: the kernel gives freed names away again."""
    started = []

    def start():
        started.extend(subprocess.Popen([*APART, "sleep", "600"]) for _ in range(8))
        deadline = time.monotonic() + 120
        while not all(len(processes.descendants([p.pid])) == 2 for p in started):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return started

    yield start
    for process in started:
        processes.kill_all(processes.descendants([process.pid]))
        process.wait()


def test_an_ended_guest_kills_no_later_one(ended, strangers):
    others = strangers()
    assert ended.remains() == ()
    ended.kill()
    time.sleep(0.1)
    assert [p.poll() for p in others] == [None] * len(others)


def test_a_closed_guest_holds_no_file(ended):
    held = ended._namespace.fd
    ended.close()
    assert not os.path.lexists(f"/proc/self/fd/{held}")
