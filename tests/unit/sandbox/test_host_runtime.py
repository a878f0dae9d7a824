"""The runtime that contains nothing still keeps clocks, ends what it started, and says what it is."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path, PurePosixPath

import pytest

from kit.sandbox import processes
from kit.sandbox.folder import new_run_id
from kit.sandbox.runtime.host import Host
from kit.sandbox.supervise import RunCallbacks, supervise
from kit.sandbox.watchdog import watchdog
from kit.values.deadlines import Deadlines
from kit.values.log import Grammar
from kit.values.run_result import RunStatus
from kit.values.run_spec import Limits, Mount, RunSpec


def run(tmp_path: Path, script: str, warmup_s: float = 300, **more):
    run_id = new_run_id(3)  # a guest is found by it, and ended: no other test may have the same
    submission = tmp_path / "submission"
    submission.mkdir()
    (submission / "train_gpt2.py").write_text(script)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    spec = RunSpec(
        run_id=run_id,
        image=None,
        submission=submission,
        argv=(sys.executable, "train_gpt2.py"),
        env=(("HOME", "/workspace"), ("PATH", "/usr/bin:/bin"), ("TMPDIR", "/tmp/x")),
        folders=("logs/final",),
        limits=Limits(memory=1),
        deadlines=Deadlines(start_s=300, warmup_s=warmup_s, total_s=500),
        **more,
    )
    runtime = Host()
    log = tmp_path / "log"
    with watchdog(runtime.reaper(run_id)):
        result = supervise(
            spec, lambda: runtime.start(spec, scratch), log, tmp_path / "stamps", Grammar.STEP, RunCallbacks()
        )
    return result, log.read_text(), scratch


def test_it_says_that_it_contains_nothing(tmp_path):
    assert Host.contains is False
    guest_scratch = tmp_path / "s"
    guest_scratch.mkdir()
    (tmp_path / "sub").mkdir()
    spec = RunSpec("h", None, tmp_path / "sub", ("true",), (("PATH", "/usr/bin:/bin"),))
    guest = Host().start(spec, guest_scratch)
    while guest.poll() is None:
        time.sleep(0.01)
    assert guest.enforcement.contains is False
    assert {"network", "memory", "seccomp"} <= set(guest.enforcement.not_enforced)
    guest.close()


def test_the_guest_finds_its_submission_its_folders_and_its_data(tmp_path):
    data = tmp_path / "shards"
    data.mkdir()
    (data / "a.bin").write_bytes(b"x")
    mount = Mount(data, PurePosixPath("/workspace/data/fineweb10B"))
    look = "[sorted(os.listdir('.')), os.listdir('data/fineweb10B'), os.listdir('logs')]"
    script = f"import os, json\nprint(json.dumps({look}))"
    result, said, _ = run(tmp_path, script, mounts=(mount,))
    assert result.status is RunStatus.COMPLETED
    assert json.loads(said) == [["data", "logs", "train_gpt2.py"], ["a.bin"], ["final"]]


def test_caches_and_home_are_the_runs_own_and_are_gone_afterwards(tmp_path):
    script = "import os\nprint(os.environ['HOME'], os.environ['TMPDIR'])\nopen('left', 'w').close()"
    _, said, scratch = run(tmp_path, script)
    home, tmp = said.split()
    assert home == str(scratch / "workspace") and tmp == str(scratch / "tmp" / "x")
    assert list(scratch.iterdir()) == []


def test_the_submission_itself_is_not_changed(tmp_path):
    script = "open('train_gpt2.py', 'w').write('gone')"
    run(tmp_path, script)
    assert (tmp_path / "submission" / "train_gpt2.py").read_text() == script


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a killed process the time of a busy machine to end."""
    monkeypatch.setattr("kit.sandbox.supervise.GONE_WITHIN_S", 120.0)


DAEMON = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(600)
    os._exit(0)
os.wait()
print("up", flush=True)
time.sleep(600)
"""


@pytest.mark.usefixtures("patient")
def test_a_deadline_ends_a_double_forked_daemon(tmp_path):
    result, _, _ = run(tmp_path, DAEMON, warmup_s=1)
    assert (result.status, result.clock) == (RunStatus.TIMED_OUT, "warmup")
    assert result.teardown.remains == () and result.teardown.kill_s < 300, "the daemon sleeps for 600 s"
    assert processes.marked(result.run_id) == []


@pytest.mark.usefixtures("patient")
def test_a_daemon_that_outlives_its_parent_is_ended_with_the_run(tmp_path):
    script = DAEMON.rpartition("time.sleep(600)")[0]
    result, _, _ = run(tmp_path, script)
    assert result.status is RunStatus.COMPLETED
    assert processes.marked(result.run_id) == []


@pytest.mark.parametrize("code", [1, 7])
def test_the_exit_code_is_the_guests(tmp_path, code):
    result, _, _ = run(tmp_path, f"raise SystemExit({code})")
    assert (result.status, result.exit_code) == (RunStatus.CRASHED, code)
