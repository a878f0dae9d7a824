"""A user id without a passwd entry and without HOME, as in `docker run -u 12345`."""

from __future__ import annotations

import pwd

import pytest

from kit.cli import run
from kit.cli.machine import docker_socket
from kit.core.home import default_keys, default_store, home_directory
from kit.sandbox.engine import DEFAULT_ENGINE


@pytest.fixture(autouse=True)
def homeless(monkeypatch):
    def unknown(uid):
        raise KeyError(uid)

    for name in (
        "HOME",
        "XDG_CACHE_HOME",
        "XDG_CONFIG_HOME",
        "DOCKER_CONFIG",
        "DOCKER_HOST",
        "DOCKER_CONTEXT",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)


@pytest.mark.parametrize(
    ("argv", "option"),
    [
        (["image", "list"], "--store"),
        (["doctor"], "--store"),
        (["keys", "list"], "--keys"),
        (["bundle", "verify", "/"], "--keys"),
        (["eval", "--record", "3", "--profile", "smoke", "--plan"], "--store"),
    ],
    ids=lambda v: " ".join(v[:2]) if isinstance(v, list) else v,
)
def test_a_command_that_needs_a_directory_says_what_to_set(argv, option, capsys):
    assert run(argv) == 3
    error, hint = capsys.readouterr().err.splitlines()
    assert error.startswith("error: no home directory: HOME is not set, and user id ")
    assert hint.startswith("hint: set HOME") and option in hint


@pytest.mark.parametrize(
    "argv",
    [["record", "list"], ["task", "show", "3"], ["doctor", "--help"], ["eval", "--help"]],
    ids=" ".join,
)
def test_a_command_that_needs_none_works(argv, capsys):
    assert run(argv) == 0
    assert capsys.readouterr().err == ""


def test_an_option_or_a_variable_replaces_the_home_directory(tmp_path, monkeypatch, capsys):
    assert run(["image", "list", "--store", str(tmp_path)]) == 0
    assert run(["keys", "list", "--keys", str(tmp_path / "keys")]) == 0
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", "/some/where")
    assert default_store() == tmp_path / "speedrun-kit"
    assert str(default_keys()) == "/some/where/.config/speedrun-kit/keys"


def test_docker_is_asked_without_settings():
    assert docker_socket() == DEFAULT_ENGINE


def test_an_empty_home_is_none(monkeypatch):
    monkeypatch.setenv("HOME", "")
    assert home_directory() is None
