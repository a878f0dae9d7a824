"""Podman: the same image id, and a contained run through its Docker-compatible socket."""

from __future__ import annotations

import json
import os
import signal
import subprocess

import pytest
from conftest import PATIENT, REPOSITORY, SPEEDRUN, Evaluated, verify, wait_until
from own_podman import BINARY, guests, own_podman
from stand_in_driver import seen_inside, stand_in

from kit.gpu import driver
from kit.sandbox.engine import answers
from kit.sandbox.runtime.docker import Docker

pytestmark = [pytest.mark.container, pytest.mark.network]

SLEEPER = "import time\nprint('up', flush=True)\ntime.sleep(600)\n"


@pytest.fixture(scope="module")
def podman(cpu_image):
    """An environment in which Podman keeps everything in a folder of its own, and its service's address."""
    if BINARY is None or os.geteuid() != 0:
        pytest.skip("needs podman, as root")
    with own_podman() as env:
        yield env


def load(env: dict[str, str]) -> dict:
    command = [*SPEEDRUN, "image", "load", "cpu", "--engine", "podman", "--json"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def loaded(podman) -> dict:
    """The image, given to Podman while no service runs: through `podman load`."""
    if answers("unix:///run/podman/podman.sock"):
        pytest.skip("a service of the machine's own Podman would get the image")
    return load(podman)


@pytest.fixture(scope="module")
def service(podman, loaded):
    process = subprocess.Popen(
        [BINARY, "system", "service", "--time", "0", podman["DOCKER_HOST"]],
        env=podman, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        assert wait_until(lambda: answers(podman["DOCKER_HOST"], 30), 120)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=120)


@pytest.fixture
def evaluated(podman, service, tmp_path):
    def run(script: str | None, *more: str) -> Evaluated:
        command = [
            *SPEEDRUN, "eval", "--record", "3", "--profile", "smoke", "--json", "--runtime", "podman",
            "--out", str(tmp_path / "runs"), "--keys", str(tmp_path / "keys"), *PATIENT, *more,
        ]  # fmt: skip
        if script is not None:
            (tmp_path / "submission").mkdir()
            (tmp_path / "submission" / "train_gpt2.py").write_text(script)
            command += ["--submission", str(tmp_path / "submission")]
        env = {**podman, "CONTAINER_HOST": podman["DOCKER_HOST"], "DOCKER_HOST": "unix:///nonexistent"}
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=1500)
        assert done.stdout.strip(), done.stderr
        return Evaluated(done.returncode, json.loads(done.stdout), done.stderr)

    return run


def test_podmans_image_id_is_the_committed_digest(loaded):
    assert f"config    {loaded['id']}\n" in (REPOSITORY / "images" / "cpu" / "digest").read_text()
    assert loaded["engine"].startswith("podman ") and loaded["sent_bytes"] > 1_000_000_000


def test_through_the_socket_it_is_the_same_image(podman, service, loaded):
    again = load({**podman, "CONTAINER_HOST": podman["DOCKER_HOST"]})
    assert again["id"] == loaded["id"] and again["sent_bytes"] == 0


def test_a_smoke_run_through_podmans_socket_is_contained_and_reaches_the_target(evaluated, tmp_path):
    run = evaluated(None)
    assert (run.code, run.report["verdict"]) == (0, "reached"), run.stderr
    environment = run.predicate["environment"]
    assert environment["runtime"]["name"] == "docker"
    assert environment["runtime"]["version"].endswith("(podman)")
    assert environment["runtime"]["not_enforced"] == []
    assert environment["isolation"]["level"] == "contained"
    assert verify(run.folder, tmp_path / "keys").returncode == 0


def test_a_deadline_ends_podmans_guest(podman, evaluated):
    run = evaluated(SLEEPER, "--warmup-deadline", "1")
    assert run.report["status"] == "timed_out"
    teardown = run.predicate["observations"]["teardown"]
    assert teardown["remains"] == [] and teardown["kill_s"] < 120
    base = podman["DOCKER_HOST"].removeprefix("unix://").rpartition("/")[0]
    assert guests(base) == set()


def test_podmans_guest_gets_the_devices_and_driver_files_of_a_gpu(podman, service, tmp_path, monkeypatch):
    with stand_in() as files:
        monkeypatch.setattr(driver, "find_driver_files", lambda minors: files)
        seen = seen_inside(Docker(podman["DOCKER_HOST"], tmp_path / "state"), tmp_path)
    assert set(seen["devices"]) == {"nvidiactl", "nvidia0"} and seen["nvidia-smi"] == 0
    assert set(seen["mounts"]) == {str(target) for _, target in files.mounts()}
    assert all(read_only for read_only, _ in seen["mounts"].values())
    assert seen["env"]["LD_LIBRARY_PATH"] == "/input/driver/lib"
