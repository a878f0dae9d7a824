"""`--runtime podman`: Podman's own socket, checked before anything is prepared."""

from __future__ import annotations

import json
import os
import socket

import pytest

pytest.importorskip("docker")
from fake_engine import VERSION, FakeEngine

from kit.cli import machine, run
from kit.cli.machine import docker_socket, podman_socket
from kit.cli.runtime import find_podman, select_runtime
from kit.core.errors import PrerequisiteError, UsageError
from kit.core.extras import system_install
from kit.values.run_spec import RuntimeName

PODMAN = {**VERSION, "Components": [{"Name": "Podman Engine", "Version": "4.3.1"}]}
PLAN = ("eval", "--record", "3", "--profile", "smoke", "--runtime", "podman", "--plan", "--json")


@pytest.fixture(autouse=True)
def installed(program, monkeypatch):
    """The command podman is on the PATH; no variable names a socket."""
    for name in ("CONTAINER_HOST", "DOCKER_HOST", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    return program("podman", "exit 1")


@pytest.fixture
def fake(tmp_path, monkeypatch):
    engine = FakeEngine(tmp_path)
    engine.answers["GET /version"] = (200, PODMAN)
    monkeypatch.setenv("CONTAINER_HOST", engine.url)
    yield engine
    engine.stop()


def test_it_is_the_runtime_docker_at_podmans_socket(fake):
    chosen = select_runtime("podman")
    assert (chosen.name, chosen.engine()) == (RuntimeName.DOCKER, fake.url)
    assert select_runtime("auto").name is None and select_runtime("auto").engine is docker_socket
    assert select_runtime("docker").engine is docker_socket
    assert select_runtime("runc").name is RuntimeName.RUNC


def test_a_plan_for_podman_needs_its_service(fake, tmp_path, monkeypatch, capsys):
    places = ("--store", str(tmp_path / "store"), "--keys", str(tmp_path / "keys"))
    assert run([*PLAN, *places]) == 0
    assert json.loads(capsys.readouterr().out)["runtime"] == "docker"
    monkeypatch.setenv("CONTAINER_HOST", f"unix://{tmp_path}/none/podman.sock")
    assert run([*PLAN, *places]) == 3
    said = capsys.readouterr().err
    assert said.splitlines() == [
        f"error: Podman does not answer at unix://{tmp_path}/none/podman.sock",
        f"hint: start Podman's service: mkdir -p {tmp_path}/none && env -u CONTAINER_HOST"
        f" podman system service --time 0 unix://{tmp_path}/none/podman.sock &",
    ]


def test_docker_at_that_socket_is_named(fake):
    fake.answers["GET /version"] = (200, VERSION)
    with pytest.raises(PrerequisiteError, match=r"at unix:.* is docker 20\.10\.24, not Podman") as e:
        find_podman()
    assert e.value.hint.startswith("use --runtime docker")


def test_a_service_that_has_ended_is_started_again(tmp_path, monkeypatch):
    path = tmp_path / "podman.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    monkeypatch.setenv("CONTAINER_HOST", f"unix://{path}")
    with pytest.raises(PrerequisiteError, match="Podman does not answer at") as e:
        find_podman()
    assert e.value.hint.endswith(f"podman system service --time 0 unix://{path} &")
    assert "mkdir" not in e.value.hint


def test_an_engine_on_another_machine_is_a_usage_error(monkeypatch):
    monkeypatch.setenv("CONTAINER_HOST", "ssh://root@host/run/podman/podman.sock")
    with pytest.raises(UsageError, match=r"CONTAINER_HOST=ssh://root@host/.* is not a unix socket") as e:
        find_podman()
    assert "CONTAINER_HOST=unix://" in e.value.hint


def test_without_podman_the_hint_installs_it(installed, tmp_path, monkeypatch):
    monkeypatch.setenv("CONTAINER_HOST", f"unix://{tmp_path}/podman.sock")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PrerequisiteError) as e:
        find_podman()
    assert e.value.hint == system_install("podman")


def test_a_socket_that_this_user_may_not_open_is_named(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setenv("CONTAINER_HOST", f"unix://{tmp_path}/podman.sock")
    monkeypatch.setattr("kit.sandbox.engine.api.peer_pid", refuse)
    with pytest.raises(PrerequisiteError) as e:
        find_podman()
    assert e.value.hint.startswith(f"permission denied for {tmp_path}/podman.sock")


def test_an_engine_that_is_too_old_keeps_its_own_message(fake):
    fake.answers["GET /version"] = (200, {**PODMAN, "ApiVersion": "1.40"})
    with pytest.raises(PrerequisiteError, match=r"supports API 1\.40; speedrun needs 1\.41"):
        find_podman()


def test_where_no_socket_can_be_created_the_hint_names_the_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("CONTAINER_HOST", f"unix://{tmp_path}/closed/podman.sock")
    may, forbidden = os.access, os.W_OK
    monkeypatch.setattr(os, "access", lambda path, mode: mode != forbidden and may(path, mode))
    with pytest.raises(PrerequisiteError) as e:
        find_podman()
    assert "CONTAINER_HOST=unix://" in e.value.hint and "podman system service" not in e.value.hint


def test_an_ordinary_users_own_socket_comes_first_then_the_systems(tmp_path, monkeypatch):
    own = tmp_path / "podman" / "podman.sock"
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    sockets = {"/run/podman/podman.sock"}
    monkeypatch.setattr(machine, "_is_socket", lambda path: str(path) in sockets)
    assert podman_socket() == "unix:///run/podman/podman.sock"
    sockets.add(str(own))
    assert podman_socket() == f"unix://{own}"
    sockets.clear()
    assert podman_socket() == f"unix://{own}"
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert podman_socket() == "unix:///run/podman/podman.sock"


def test_a_closed_directory_is_no_socket(monkeypatch, tmp_path):
    def closed(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.is_socket", closed)
    assert not machine._is_socket(tmp_path)
