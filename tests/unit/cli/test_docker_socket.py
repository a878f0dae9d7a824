"""Where Docker and Podman would answer: as their own commands find it."""

from __future__ import annotations

import hashlib
import json

import pytest

from kit.cli.machine import docker_socket, podman_socket
from kit.core.errors import UsageError
from kit.sandbox.engine import DEFAULT_ENGINE


@pytest.fixture(autouse=True)
def settings(monkeypatch, tmp_path):
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "CONTAINER_HOST", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    return tmp_path


def context(settings, name: str, host: str) -> None:
    folder = settings / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest()
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text(json.dumps({"Name": name, "Endpoints": {"docker": {"Host": host}}}))


def test_without_settings_it_is_the_systems_socket():
    assert docker_socket() == DEFAULT_ENGINE


def test_docker_host_wins_over_every_context(settings, monkeypatch):
    context(settings, "rootless", "unix:///run/user/1000/docker.sock")
    monkeypatch.setenv("DOCKER_CONTEXT", "rootless")
    assert docker_socket() == "unix:///run/user/1000/docker.sock"
    monkeypatch.setenv("DOCKER_HOST", "unix:///elsewhere.sock")
    assert docker_socket() == "unix:///elsewhere.sock"


def test_the_current_context_is_followed(settings):
    context(settings, "rootless", "unix:///run/user/1000/docker.sock")
    (settings / "config.json").write_text('{"currentContext": "rootless"}')
    assert docker_socket() == "unix:///run/user/1000/docker.sock"


def test_the_default_context_and_unreadable_settings_mean_the_systems_socket(settings):
    (settings / "config.json").write_text('{"currentContext": "default"}')
    assert docker_socket() == DEFAULT_ENGINE
    (settings / "config.json").write_text("not JSON")
    assert docker_socket() == DEFAULT_ENGINE


def test_a_context_that_is_not_there_is_named(settings, monkeypatch):
    monkeypatch.setenv("DOCKER_CONTEXT", "gone")
    with pytest.raises(UsageError, match="'gone' has no endpoint"):
        docker_socket()


@pytest.mark.parametrize("name", ["x" * 70_000, "\ud800"], ids=["long", "no text"])
def test_a_context_of_any_name_is_a_usage_error_of_a_line(settings, name):
    (settings / "config.json").write_text(json.dumps({"currentContext": name}))
    with pytest.raises(UsageError, match=r"the docker context '.+' has no endpoint") as e:
        docker_socket()
    assert len(e.value.message) < 200 and e.value.message.isprintable()


def test_podman_is_asked_where_its_own_variable_says(monkeypatch):
    assert podman_socket().endswith("/podman/podman.sock")
    monkeypatch.setenv("CONTAINER_HOST", "unix:///p.sock")
    assert podman_socket() == "unix:///p.sock"
