"""Engines that are missing, old, silent, wrong or unwilling: each is told apart, and nothing stays behind."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import sys
import time
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest
from fake_engine import VERSION, FakeEngine
from fake_gpus import fake_files

from kit.core.digest import Sha256
from kit.core.errors import DigestMismatch, EngineSilent, PrerequisiteError, RunError, UsageError
from kit.gpu import driver
from kit.sandbox.engine import Engine, EngineName, answers
from kit.sandbox.runtime import dockerguest, lease
from kit.sandbox.runtime.docker import Docker
from kit.sandbox.runtime.dockerguest import DockerGuest
from kit.sandbox.runtime.lease import ContainerLease
from kit.values.run_result import Enforcement
from kit.values.run_spec import GpuDevice, ImageRef, RunSpec, RuntimeName

CONFIG, MANIFEST, OTHER = Sha256("c" * 64), Sha256("d" * 64), "sha256:" + "e" * 64
SPEC = RunSpec(
    run_id="r03-20261123T170000Z-00000000",
    image=ImageRef("cpu", CONFIG, MANIFEST),
    submission=Path("/s"),
    argv=("true",),
    env=(),
)
PODMAN = {**VERSION, "Components": [{"Name": "Podman Engine", "Version": "5.3.2"}]}


@pytest.fixture
def fake(tmp_path):
    engine = FakeEngine(tmp_path)
    engine.answers[f"GET /images/sha256:{CONFIG}/json"] = (200, {"Id": f"sha256:{CONFIG}"})
    yield engine
    engine.stop()


@pytest.fixture
def runtime(fake, tmp_path):
    return Docker(fake.url, tmp_path / "state" / "docker")


def connected(fake: FakeEngine):
    return contextlib.closing(Engine(fake.url, 60.0))


def falls_silent(fake: FakeEngine, engine: Engine) -> None:
    """Let the engine answer no more, and be given up soon."""
    fake.is_silent = True
    engine._api.timeout = 0.3


@pytest.mark.parametrize("url", ["tcp://10.0.0.1:2375", "ssh://root@host", "unix://relative", ""])
def test_an_engine_on_another_machine_is_a_usage_error(url):
    with pytest.raises(UsageError, match="not a unix socket"):
        Engine(url)
    assert not answers(url)


def test_a_socket_that_is_not_there_or_that_nobody_serves_is_a_missing_engine(tmp_path):
    with pytest.raises(PrerequisiteError, match="no engine answers") as missing:
        Engine(f"unix://{tmp_path}/none.sock")
    assert "start Docker" in missing.value.hint
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "dead.sock"))
    with pytest.raises(PrerequisiteError, match="no engine answers"):
        Engine(f"unix://{tmp_path}/dead.sock")


def test_an_engine_that_says_nothing_is_given_up_in_time(fake):
    fake.is_silent = True
    began = time.monotonic()
    assert not answers(fake.url, patience_s=0.3)
    assert time.monotonic() - began < 60


def test_an_old_api_is_named_with_what_is_needed(fake):
    fake.answers["GET /version"] = (200, {**VERSION, "ApiVersion": "1.40"})
    with pytest.raises(PrerequisiteError, match=r"supports API 1.40; speedrun needs 1.41 or newer"):
        Engine(fake.url)


def test_an_engine_that_takes_no_second_connection_is_asked_for_no_container(
    fake, runtime, monkeypatch, tmp_path
):
    connections = []

    class Once(Engine):
        def __init__(self, *arguments):
            connections.append(self)
            if len(connections) > 1:
                raise PrerequisiteError("no engine answers any more")
            super().__init__(*arguments)

    monkeypatch.setattr("kit.sandbox.runtime.docker.Engine", Once)
    fake.answers["POST /containers/create"] = (201, {"Id": "c" * 64})
    with pytest.raises(PrerequisiteError, match="any more"):
        runtime.start(SPEC, tmp_path)
    assert not [path for path in fake.asked if "create" in path]
    assert lease.runs(runtime.state) == []


def test_an_engine_that_stops_answering_raises_engine_silent(fake):
    with connected(fake) as engine:
        falls_silent(fake, engine)
        with pytest.raises(EngineSilent, match="did not respond to a ping: no answer"):
            engine.ping()


def test_an_image_is_asked_for_by_digest_alone(fake):
    with connected(fake) as engine:
        assert engine.image_id(CONFIG, MANIFEST) == f"sha256:{CONFIG}"
    assert not [path for path in fake.asked if "speedrun-kit" in path or "cpu" in path]


def test_a_containerd_store_names_the_image_by_its_manifest(fake):
    del fake.answers[f"GET /images/sha256:{CONFIG}/json"]
    fake.answers[f"GET /images/sha256:{MANIFEST}/json"] = (200, {"Id": f"sha256:{MANIFEST}"})
    with connected(fake) as engine:
        assert engine.image_id(CONFIG, MANIFEST) == f"sha256:{MANIFEST}"


def test_an_engine_that_answers_with_another_image_does_not_have_it(fake, runtime, tmp_path):
    fake.answers[f"GET /images/sha256:{CONFIG}/json"] = (200, {"Id": OTHER})
    with pytest.raises(PrerequisiteError, match=r"image cpu .* not found in the engine") as missing:
        runtime.start(SPEC, tmp_path)
    assert missing.value.hint == "speedrun image load cpu"
    assert not [path for path in fake.asked if "create" in path]


def test_a_container_of_another_image_is_refused_and_removed(fake, runtime, tmp_path):
    fake.answers["POST /containers/create"] = (201, {"Id": "c1", "Warnings": []})
    state = {"Status": "created", "Running": False, "Pid": 0, "ExitCode": 0}
    seen = {"Id": "c1", "Image": OTHER, "State": state, "Config": {"Labels": None}}
    fake.answers["GET /containers/c1/json"] = (200, seen)
    fake.answers["DELETE /containers/c1"] = (204, None)
    with pytest.raises(
        DigestMismatch, match="image mismatch: the engine created the container from sha256:eeee"
    ):
        runtime.start(SPEC, tmp_path)
    assert "DELETE /containers/c1" in fake.asked and "POST /containers/c1/start" not in fake.asked
    assert lease.runs(runtime.state) == []


def test_a_container_that_the_engine_lost_is_not_started(fake, runtime, tmp_path):
    fake.answers["POST /containers/create"] = (201, {"Id": "c1", "Warnings": []})
    fake.answers["DELETE /containers/c1"] = (404, {"message": "no such container"})
    with pytest.raises(RunError, match="not found right after the engine created it") as lost:
        runtime.start(SPEC, tmp_path)
    assert lost.value.hint == "restart the engine and run the command again"
    assert "POST /containers/c1/start" not in fake.asked and lease.runs(runtime.state) == []


@pytest.fixture
def guest(fake, tmp_path):
    """A guest that was made and not started."""
    (tmp_path / "state").mkdir()
    enforcement = Enforcement(RuntimeName.DOCKER, "20.10.24", True, "0" * 64, ())
    container_lease = ContainerLease(tmp_path / "state", SPEC.run_id, fake.url)
    return DockerGuest(Engine(fake.url, 60.0), "f" * 64, container_lease, enforcement)


def test_a_guest_whose_engine_fell_silent_is_lost_and_says_so_once(fake, guest, tmp_path):
    falls_silent(fake, guest._engine)
    guest.kill()
    with pytest.raises(EngineSilent, match="the container engine failed: the engine at unix:") as lost:
        guest.poll()
    assert lost.value.hint == "speedrun doctor --fix"
    guest.close()
    assert lease.runs(tmp_path / "state") == [SPEC.run_id], "the lease waits for the engine"


def test_an_engine_that_falls_silent_at_the_end_is_said_by_close(fake, guest):
    falls_silent(fake, guest._engine)
    with pytest.raises(EngineSilent, match="did not remove the container: no answer"):
        guest.close()


def test_a_process_that_is_not_the_guests_is_not_measured_where_the_kernel_gives_no_handle(
    fake, guest, monkeypatch
):
    state = {"Status": "running", "Running": True, "Pid": os.getpid(), "ExitCode": 0}
    seen = {"Id": "f" * 64, "Image": OTHER, "State": state, "Config": {"Labels": None}}
    fake.answers[f"GET /containers/{'f' * 64}/json"] = (200, seen)
    monkeypatch.setattr(os, "pidfd_open", Mock(side_effect=OSError(errno.EINVAL, "no first thread")))
    monkeypatch.setattr(dockerguest.cgroup, "cgroup_of", Mock(side_effect=AssertionError("a stranger's")))
    guest._learn_init()


def test_without_the_sdk_the_line_that_installs_it_is_named(fake, monkeypatch):
    monkeypatch.setitem(sys.modules, "docker", None)
    with pytest.raises(PrerequisiteError, match="the docker SDK is not installed") as missing:
        Engine(fake.url)
    assert missing.value.hint.endswith("-m pip install -e '.[docker]'")


def test_a_refused_container_leaves_no_lease_and_the_engines_own_words(fake, runtime, tmp_path):
    fake.answers["POST /containers/create"] = (400, {"message": "bind source path does not exist: /s"})
    with pytest.raises(RunError, match="refused to create the container: bind source path"):
        runtime.start(SPEC, tmp_path)
    assert lease.runs(runtime.state) == []


def test_this_machines_own_files_are_no_image_for_docker(runtime, tmp_path):
    with pytest.raises(UsageError, match="cannot run `--image host`, only container images") as refused:
        runtime.start(replace(SPEC, image=None), tmp_path)
    assert "runc" in refused.value.hint


@pytest.mark.parametrize("version", [VERSION, PODMAN], ids=["docker", "podman"])
def test_the_engine_is_asked_for_the_devices_and_files_that_are_on_this_machine(
    fake, runtime, tmp_path, monkeypatch, version
):
    monkeypatch.setattr(driver, "find_driver_files", fake_files)
    fake.answers["GET /version"] = (200, version)
    fake.answers["POST /containers/create"] = (400, {"message": "enough seen"})
    spec = replace(SPEC, gpus=1, gpu_devices=(GpuDevice("GPU-0", 5),))
    with pytest.raises(RunError, match="enough seen"):
        runtime.start(spec, tmp_path)
    host = json.loads(fake.bodies["POST /containers/create"])["HostConfig"]
    assert [device["PathOnHost"] for device in host["Devices"]] == [
        "/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/nvidia5",
    ]  # fmt: skip
    assert "/input/driver/bin/nvidia-smi" in {mount["Target"] for mount in host["Mounts"]}
    assert "DeviceRequests" not in host


def test_a_missing_driver_file_is_said_before_the_engine_is_asked(fake, runtime, tmp_path, monkeypatch):
    def missing(minors):
        raise PrerequisiteError("driver library libcuda.so.1 not found", "install it")

    monkeypatch.setattr(driver, "find_driver_files", missing)
    with pytest.raises(PrerequisiteError, match=r"libcuda\.so\.1 not found"):
        runtime.start(replace(SPEC, gpus=1, gpu_devices=(GpuDevice("GPU-0", 0),)), tmp_path)


def test_an_engine_that_does_not_answer_is_said_before_anything_is_fetched(fake, runtime, tmp_path):
    runtime.require_engine()
    with pytest.raises(PrerequisiteError, match="no engine answers at"):
        Docker(f"unix://{tmp_path}/none.sock", tmp_path / "state").require_engine()


def test_gpus_that_were_not_chosen_are_not_left_to_the_engine(runtime, tmp_path):
    with pytest.raises(RunError, match="wrong number of selected GPUs: 0, expected 2"):
        runtime.start(replace(SPEC, gpus=2), tmp_path)


def test_what_an_engine_says_of_itself(fake):
    fake.answers["GET /info"] = (
        200,
        {"PidsLimit": True, "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]},
    )
    with connected(fake) as engine:
        about = engine.about()
    assert (about.name, about.version) == (EngineName.DOCKER, "20.10.24")
    assert about.containerd_store and about.pids_limit and not about.memory_limit
    fake.answers["GET /version"] = (200, PODMAN)
    with connected(fake) as engine:
        assert engine.about().name is EngineName.PODMAN


@pytest.mark.parametrize(
    "text",
    [
        '{"auths": {"x": "no object"}}',
        '{"auths": {"x": {"auth": "!!"}}}',
        "[1]",
        '{"proxies": 5}',
        '{"proxies": {"default": 5}}',
    ],
)
def test_settings_of_docker_that_its_sdk_cannot_read_are_named(fake, tmp_path, monkeypatch, text):
    (tmp_path / "config.json").write_text(text)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with pytest.raises(UsageError, match=r"config\.json are invalid: ") as e:
        Engine(fake.url)
    assert str(tmp_path / "config.json") in e.value.hint
    assert not answers(fake.url)


@pytest.mark.parametrize(
    "text", ["no JSON", "{}", '{"credsStore": "missing", "credHelpers": {"x": "missing"}}', '{"auths": []}']
)
def test_a_missing_credential_helper_and_a_file_that_is_no_json_do_not_matter(
    fake, tmp_path, monkeypatch, text
):
    (tmp_path / "config.json").write_text(text)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    assert answers(fake.url)
