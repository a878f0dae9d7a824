"""The engine dies or hangs under a guest: the guest goes, the record says lost, and the remains are swept."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from conftest import PATIENT, SPEEDRUN, Evaluated, left_of, verify, wait_until

pytestmark = [pytest.mark.container, pytest.mark.network]

SLEEPER = "import time\nprint('up', flush=True)\ntime.sleep(600)\n"


@pytest.fixture
def daemon(dockerd):
    """The session's daemon; it runs again afterwards, whatever was done to it."""
    yield dockerd
    if dockerd.process.poll() is None:
        dockerd.signal(signal.SIGCONT)
    else:
        dockerd.start()


def unshared(tmp_path: Path, *command: str) -> list[str]:
    """Return a command with leases of its own: any `eval` of the machine removes what a dead engine kept."""
    leases, state = tmp_path / "leases", Path("/run/speedrun-kit")
    for folder in (leases, state):
        folder.mkdir(mode=0o700, exist_ok=True)
    script = f'mount --bind "$0" {state} && exec "$@"'
    return ["unshare", "--mount", "sh", "-c", script, str(leases), *command]


@pytest.fixture
def started(daemon, tmp_path):
    """Start an evaluation, and give it with its folder once both ranks have printed a line."""
    submission, runs = tmp_path / "submission", tmp_path / "runs"
    submission.mkdir()
    (submission / "train_gpt2.py").write_text(SLEEPER)
    processes = []

    def start(*more: str) -> tuple[subprocess.Popen[str], Path]:
        command = [
            *SPEEDRUN, "eval", "--record", "3", "--profile", "smoke", "--runtime", "docker",
            "--out", str(runs), "--keys", str(tmp_path / "keys"), "--submission", str(submission),
            *PATIENT, *more,
        ]  # fmt: skip
        env = {**os.environ, "DOCKER_HOST": daemon.url}
        process = subprocess.Popen(
            unshared(tmp_path, *command),
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        processes.append(process)

        def folder() -> Path | None:
            found = sorted(runs.glob("r03-*")) if runs.is_dir() else []
            return found[0] if found and (found[0] / "guest.log").read_bytes().count(b"up\n") == 2 else None

        assert wait_until(folder, 300), process.stderr.read() if process.poll() is not None else "no line"
        return process, folder()

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def doctor(daemon, tmp_path: Path, *more: str) -> str:
    places = ["--out", str(tmp_path / "runs"), "--keys", str(tmp_path / "keys")]
    done = subprocess.run(
        unshared(tmp_path, *SPEEDRUN, "doctor", *places, *more),
        env={**os.environ, "DOCKER_HOST": daemon.url}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout


def recorded(folder: Path, keys: Path) -> str:
    """Return why the run's record, which verifies, says that it is lost."""
    done = verify(folder, keys)
    assert done.returncode == 0, done.stderr
    run = Evaluated(5, {"bundle": folder / "result.json"}, "").predicate["run"]
    assert run["status"] == "lost"
    return run["reason"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
def test_a_daemon_that_dies_loses_the_run_and_leaves_no_process(daemon, started, tmp_path, number):
    process, folder = started()
    daemon.signal(number)
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 5, stderr
    assert "the container engine failed" in stderr
    assert daemon.guests() == []
    assert "no answer" in recorded(folder, tmp_path / "keys")
    assert wait_until(lambda: daemon.helpers() == [], 120)


def test_what_a_dead_daemon_kept_is_swept_once_it_is_back(daemon, started, tmp_path):
    process, folder = started()
    daemon.signal(signal.SIGKILL)
    process.communicate(timeout=300)  # while it lives, its container is not reported
    assert (folder / "result.json").exists()
    daemon.start()
    assert folder.name in daemon.containers()
    # a container is not reported while a process of its run lives, and its watchdog may outlive the command
    said = []
    assert wait_until(lambda: said.append(doctor(daemon, tmp_path)) or folder.name in said[-1], 300), said[-1]
    doctor(daemon, tmp_path, "--fix")
    assert left_of(folder.name) == [] and folder.name not in daemon.containers()
    assert list((tmp_path / "leases").glob(f"*/{folder.name}")) == []


def test_a_daemon_that_hangs_does_not_keep_the_guest_alive(daemon, started, tmp_path):
    # it hangs by then; after three pings without an answer, some 40 s, the deadline would not be needed
    process, folder = started("--warmup-deadline", "30")
    daemon.signal(signal.SIGSTOP)
    assert wait_until(lambda: daemon.guests() == [], 300), "the deadline holds without the engine"
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 5, stderr
    assert "no answer" in recorded(folder, tmp_path / "keys")


def test_kit_and_daemon_killed_together_leave_nothing(daemon, started, tmp_path):
    process, folder = started()
    daemon.signal(signal.SIGKILL)
    process.kill()
    process.communicate()
    assert wait_until(lambda: daemon.guests() == [] and daemon.helpers() == [], 120)
    daemon.start()
    assert "closed 1 record in " in doctor(daemon, tmp_path, "--fix")
    assert left_of(folder.name) == [] and folder.name not in daemon.containers()
    assert list((tmp_path / "leases").glob(f"*/{folder.name}")) == []
    assert "speedrun exited" in recorded(folder, tmp_path / "keys")


def test_a_container_of_a_living_kit_is_not_swept_by_another(daemon, started, tmp_path):
    process, folder = started()
    assert "removed 0 containers of interrupted runs" in doctor(daemon, tmp_path, "--fix")
    assert folder.name in daemon.containers() and process.poll() is None


def test_without_a_daemon_the_run_is_refused_before_it_is_reserved(tmp_path):
    command = [*SPEEDRUN, "eval", "--record", "3", "--profile", "smoke", "--runtime", "docker"]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "runs"), "--keys", str(tmp_path / "keys")],
        env={**os.environ, "DOCKER_HOST": f"unix://{tmp_path}/none.sock"},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 3 and "no engine answers" in done.stderr
    assert not list((tmp_path / "runs").glob("r03-*"))
