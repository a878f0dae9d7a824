"""The disk is full while a guest prints: the kit says so once, and the guest is gone by then."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from kit.core.errors import RunError
from kit.sandbox.folder import new_run_id
from kit.sandbox.runtime.host import Host
from kit.sandbox.stamp import LogWriter
from kit.sandbox.supervise import RunCallbacks, supervise
from kit.values.log import Grammar
from kit.values.run_result import OutputStream
from kit.values.run_spec import Limits, RunSpec

FULL = Path("/dev/full")
LIMITS = Limits(memory=1 << 30)


@pytest.mark.parametrize("which", ["log", "stamps"])
def test_a_full_disk_is_an_error_that_names_the_log(tmp_path, which):
    log, stamps = (FULL, tmp_path / "stamps") if which == "log" else (tmp_path / "guest.log", FULL)
    with pytest.raises(RunError, match="no space left"), LogWriter(log, stamps, LIMITS) as writer:
        writer.feed(OutputStream.STDOUT, b"x\n" * 100_000, 1)
        writer.flush()


def test_output_is_still_taken_after_a_full_disk_was_reported(tmp_path):
    with LogWriter(FULL, tmp_path / "stamps", LIMITS) as writer:
        with pytest.raises(RunError, match="no space left"):
            writer.feed(OutputStream.STDOUT, b"x\n" * 100_000, 1)
        writer.feed(OutputStream.STDOUT, b"x\n" * 100_000, 2)
        writer.finish(3)


def test_a_guest_that_fills_the_disk_is_ended_before_the_error_is_raised(tmp_path):
    """A limit on the size of files stands for the disk: the kernel refuses in the same place."""
    submission = tmp_path / "submission"
    submission.mkdir()
    spec = RunSpec(new_run_id(3), None, submission, ("yes",), (("PATH", "/usr/bin:/bin"),))
    guests = []
    (tmp_path / "scratch").mkdir()

    def start():
        guests.append(Host().start(spec, tmp_path / "scratch"))
        return guests[0]

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    log, stamps = tmp_path / "guest.log", tmp_path / "stamps"
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
        with pytest.raises((RunError, OSError), match=r"File too large|no space"):
            supervise(spec, start, log, stamps, Grammar.STEP, RunCallbacks())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert guests[0].remains() == () and guests[0].poll() is not None
    assert max(log.stat().st_size, stamps.stat().st_size) <= 1 << 20
