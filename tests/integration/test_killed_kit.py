"""The kit itself dies or is told to stop: the guest goes with it, and the run ends in a record."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from conftest import SPEEDRUN, left_of, verify, wait_until

pytestmark = [pytest.mark.container, pytest.mark.network]

SLEEPER = "import time\nprint('up', flush=True)\ntime.sleep(600)\n"


@pytest.fixture
def running(contained, arguments, tmp_path):
    """An evaluation whose guest has printed its first line."""
    submission = tmp_path / "submission"
    submission.mkdir()
    (submission / "train_gpt2.py").write_text(SLEEPER)
    command = [*SPEEDRUN, "eval", "--record", "3", *arguments, "--submission", str(submission)]
    process = subprocess.Popen(
        command, env=contained.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    runs = tmp_path / "runs"

    def folder() -> Path | None:
        found = sorted(runs.glob("r03-*")) if runs.is_dir() else []
        return found[0] if found and (found[0] / "guest.log").read_bytes().count(b"up\n") == 2 else None

    try:
        assert wait_until(folder, 300), process.stderr.read() if process.poll() is not None else "no line"
        yield process, folder()
    finally:
        process.kill()
        process.communicate()


def doctor_fix(tmp_path, contained) -> subprocess.CompletedProcess[str]:
    """Close the lost runs of the test with `speedrun doctor --fix`."""
    command = [*SPEEDRUN, "doctor", "--fix", "--json", "--out", str(tmp_path / "runs")]
    command += ["--keys", str(tmp_path / "keys")]
    return subprocess.run(command, env=contained.env, capture_output=True, text=True, check=False)


def test_killing_the_kit_leaves_nothing_of_the_guest_and_the_record_says_lost(running, tmp_path, contained):
    process, folder = running
    assert any("python3" in name for name in left_of(folder.name))
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert wait_until(lambda: left_of(folder.name) == [], 120), "the watchdog ended nothing"
    assert not (folder / "result.json").exists()
    done = doctor_fix(tmp_path, contained)
    assert "closed 1 record in " in done.stdout
    shown = verify(folder, tmp_path / "keys")
    assert shown.returncode == 0, shown.stderr
    assert not (folder / "intent.json").exists() and not (folder / ".scratch").exists()


def test_an_interrupt_ends_the_guest_before_the_command_returns(running, tmp_path):
    process, folder = running
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == 130, stderr
    assert left_of(folder.name) == []
    assert Path(stdout.decode().strip()) == folder / "result.json"
    assert verify(folder, tmp_path / "keys").returncode == 0


def test_a_run_of_a_living_kit_is_not_closed_by_another(running, tmp_path, contained):
    process, folder = running
    done = doctor_fix(tmp_path, contained)
    assert "closed 0 records in " in json.loads(done.stdout)["checks"][-1]["detail"]
    assert process.poll() is None and not (folder / "result.json").exists()
    os.kill(process.pid, 0)


def test_the_next_evaluation_closes_the_lost_run(running, evaluate):
    process, folder = running
    process.send_signal(signal.SIGKILL)
    process.wait()
    run = evaluate("")
    assert run.code == 1
    assert folder.name in run.stderr
    assert (folder / "result.json").exists()
