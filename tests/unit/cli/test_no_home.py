"""A user id without a passwd entry and without HOME, as in `docker run -u 12345`."""

from __future__ import annotations

import json
import pwd

import pytest

from kit.cli import run
from kit.cli.machine import docker_socket
from kit.core.home import default_keys, default_store, home_directory
from kit.diagnose import doctor
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


def test_the_doctor_reports_all_other_checks(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor, "_try_runtime", lambda *_: "works")
    assert run(["doctor", "--json"]) == 3
    checks = {check["id"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert {"runtime-runc", "runtime-host", "gpus", "store", "containers", "lost-runs"} <= set(checks)
    assert checks["store"]["health"] == "broken" and "HOME is not set" in checks["store"]["detail"]
    assert checks["store"]["fix"].endswith("or pass --store DIR")
    assert checks["runtime-runc"]["health"] == "ok"
    assert run(["doctor", "--fix", "--json", "--store", str(tmp_path / "store")]) == 3
    checks = {check["id"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert checks["store"]["health"] == "ok" and checks["lost-runs"]["fix"].endswith("or pass --keys DIR")
    places = [f"--{name}={tmp_path / name}" for name in ("store", "keys")]
    assert run(["doctor", *places]) == 0


def test_the_values_of_all_other_options_are_shown(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["config", "show", "--json"]) == 0
    said = capsys.readouterr()
    values = {(v["command"], v["option"]): v for v in json.loads(said.out)["values"]}
    assert values["eval", "out"]["value"] == "runs" and values["eval", "out"]["problem"] is None
    assert values["eval", "store"]["value"] is None
    assert values["eval", "store"]["problem"].startswith("no home directory: HOME is not set")
    warning = "warning: no home directory, so these options have no default: --keys, --store; set HOME\n"
    assert said.err == warning
    assert run(["config", "show", "record", "list"]) == 0
    assert "warning" not in capsys.readouterr().err


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
