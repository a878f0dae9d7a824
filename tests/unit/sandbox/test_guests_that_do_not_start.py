"""A guest, a probe or a watchdog that does not come up is given up in time, and it is said which."""

from __future__ import annotations

import errno
import os
import sys
import time
from pathlib import Path

import pytest

from kit.core.errors import PrerequisiteError, RunError
from kit.sandbox import isolation_probe as probe
from kit.sandbox import processes
from kit.sandbox import watchdog as watchdog_module
from kit.sandbox.folder import new_run_id
from kit.sandbox.runtime import hostimage, runc
from kit.sandbox.runtime.host import Host
from kit.sandbox.watchdog import watchdog
from kit.values.run_spec import RunSpec

RUN = new_run_id(3)
"""Not the same in every worker: a guest is found by it, and ended."""


@pytest.fixture
def spec(tmp_path):
    (tmp_path / "submission").mkdir()
    return RunSpec(RUN, None, tmp_path / "submission", ("true",), (("PATH", "/usr/bin:/bin"),))


@pytest.fixture
def start(program, spec, tmp_path, monkeypatch):
    """Start a guest with another program under runc's name, on a machine whose groups can be written."""
    monkeypatch.setattr(runc.cgroup, "writable", lambda: True)

    def run(script):
        program("runc", f'[ "$1" = --version ] && echo runc version 1.1.5 && exit\n{script}')
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        return runc.Runc(Path(sys.executable), tmp_path / "state").start(spec, scratch)

    return run


def assert_gone():
    """What was killed ends once the machine has time for it."""
    deadline = time.monotonic() + 60
    while left := processes.marked(RUN):
        assert time.monotonic() < deadline, [processes.describe(pid) for pid in left]
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'cannot set up the mounts' >&2; exit 1", "cannot set up the mounts"),
        ("exit 7", "exit code 7"),
    ],
)
def test_a_runc_that_starts_no_guest_is_quoted(start, script, said):
    with pytest.raises(RunError, match=f"runc did not start the guest: {said}") as e:
        start(script)
    assert e.value.hint == runc.HINT


def test_a_runc_whose_child_outlives_it_is_quoted_at_once(start):
    began = time.monotonic()
    with pytest.raises(RunError, match="runc did not start the guest: the mounts are gone"):
        start("echo 'the mounts are gone' >&2; sleep 600 & exit 1")
    assert time.monotonic() - began < 300, "it did not wait for the child"
    assert_gone()


def test_a_runc_that_never_starts_the_guest_is_given_up_and_ended(start, monkeypatch):
    monkeypatch.setattr(runc, "STARTED_WITHIN_S", 0.3)
    with pytest.raises(RunError, match="timeout: runc did not start the guest within 0 s") as e:
        start("exec sleep 600")
    assert e.value.hint == runc.HINT
    assert_gone()


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user's guest has no groups of its own")
def test_root_without_control_groups_is_told_what_a_container_needs(start, monkeypatch):
    monkeypatch.setattr(runc.cgroup, "writable", lambda: False)
    with pytest.raises(PrerequisiteError, match="cannot write the memory and pids control groups") as e:
        start("exit 0")
    assert "--runtime host" in e.value.hint


def test_a_probe_that_fails_is_no_answer(spec, tmp_path):
    with pytest.raises(
        RunError, match="the isolation probe did not finish: the guest exited with code 1: "
    ) as e:
        probe.probe(Host(), spec, "/bin/false", tmp_path)
    assert e.value.hint == probe.HINT


def test_text_of_a_library_on_stderr_is_no_part_of_the_probes_answer(spec, tmp_path, program):
    answer = '{"checks": [{"id": "uid", "passed": true, "detail": "1"}]}'
    python = program("python", f"echo 'a warning' >&2; echo '{answer}'; echo 'another' >&2")
    assert probe.probe(Host(), spec, str(python), tmp_path).checks == (probe.ProbeCheck("uid", True, "1"),)


@pytest.mark.parametrize(
    ("answer", "said"),
    [(b"", "cannot parse"), (b'{"checks": [7]}', "cannot parse"), (b'{"checks": []}', "contains no checks")],
)
def test_an_answer_of_a_probe_that_says_nothing_is_no_passed_check(answer, said):
    with pytest.raises(RunError, match=f"(?=.*the output of the isolation probe).*{said}") as e:
        probe.read_checks(answer)
    assert e.value.hint == probe.HINT


def test_no_guest_is_started_without_a_watchdog(monkeypatch):
    monkeypatch.setattr(watchdog_module, "ENDS_WITHIN_S", 120.0)
    with (
        pytest.raises(
            RunError, match="the watchdog process did not start: ValueError: 'no-such-runtime' is not"
        ) as e,
        watchdog(("no-such-runtime", "-", RUN)),
    ):
        pytest.fail("the block was entered")
    assert "ulimit -u" in e.value.hint


@pytest.mark.parametrize(
    ("script", "said", "advice"),
    [
        ("echo 'No module named kit' >&2; exit 1", "No module named kit", "install"),
        ("exit 7", "exit code 7", "ulimit -u"),
        ("kill -9 $$", "killed by signal 9", "free -h"),
        ("exec >&-; echo 'it is late' >&2; exec sleep 0.2", "it is late", "ulimit -u"),
        ("exec sleep 600", "no answer within 1 s", "ulimit -u"),
    ],
)
def test_a_watchdog_that_does_not_start_says_why(program, monkeypatch, script, said, advice):
    monkeypatch.setattr(sys, "executable", str(program("python", script)))
    monkeypatch.setattr(watchdog_module, "READY_WITHIN_S", 1.0 if "600" in script else 60.0)
    monkeypatch.setattr(watchdog_module, "ENDS_WITHIN_S", 1.0 if "600" in script else 60.0)
    with (
        pytest.raises(RunError, match=f"the watchdog process did not start: {said}") as e,
        watchdog(("host", "-", RUN)),
    ):
        pytest.fail("the block was entered")
    assert advice in e.value.hint


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            OSError(errno.EAGAIN, "Resource temporarily unavailable"),
            "cannot start a process: Resource temporarily",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "/opt/python"), "/opt/python: Permission denied"),
    ],
)
def test_a_machine_without_a_process_for_the_watchdog_is_named(monkeypatch, error, said):
    def popen(*_, **__):
        raise error

    monkeypatch.setattr(watchdog_module.subprocess, "Popen", popen)
    with (
        pytest.raises(RunError, match=f"the watchdog process did not start: {said}"),
        watchdog(("host", "-", RUN)),
    ):
        pytest.fail("the block was entered")


def test_a_careful_umask_does_not_lock_the_guest_out_of_its_own_root(tmp_path):
    before = os.umask(0o077)
    try:
        root, _ = hostimage.build(tmp_path / "rootfs", Path(sys.executable))
    finally:
        os.umask(before)
    shut = [
        path
        for path in (root, *root.iterdir(), *(root / "etc").iterdir())
        if not path.is_symlink() and path.stat().st_mode & 0o004 == 0
    ]
    assert shut == []


@pytest.mark.parametrize("prefix", ["/home", "/"])
def test_an_interpreter_whose_folder_is_never_shown_is_refused(program, prefix):
    python = program("python", f'echo \'["/bin/sh", "/usr", "{prefix}"]\'')
    with pytest.raises(PrerequisiteError, match=f"its prefix {prefix} may not be mounted into a guest") as e:
        hostimage.interpreter(python)
    assert e.value.hint == "create a virtual environment in a new directory and use its interpreter"
