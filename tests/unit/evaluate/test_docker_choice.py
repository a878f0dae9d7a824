"""`--runtime auto`: docker if it answers, else runc; never host, nor docker for the machine's own files."""

from __future__ import annotations

from pathlib import Path

import pytest

from kit.core.errors import PrerequisiteError, UsageError
from kit.evaluate import runtimes as engines
from kit.evaluate.request import Request
from kit.values.profile import Profile
from kit.values.run_spec import RuntimeName

SOCKET = "unix:///somewhere/docker.sock"


def request(**more) -> Request:
    settings = {"engine": lambda: SOCKET, "python": Path("/usr/bin/python3"), **more}
    return Request(record=3, profile=Profile.SMOKE, **settings)


def unknown_socket() -> str:
    raise UsageError("the docker context 'gone' has no endpoint", "set DOCKER_HOST")


@pytest.fixture
def machine(monkeypatch):
    """What answers on this machine, set by the test."""

    def set_up(docker: bool, runc: bool) -> None:
        monkeypatch.setattr(engines.engine, "answers", lambda url: docker and url == SOCKET)
        monkeypatch.setattr(engines, "installed", lambda: runc)

    return set_up


def test_docker_is_taken_where_it_answers_at_the_given_socket(machine):
    machine(docker=True, runc=True)
    runtime = engines.choose(request())
    assert runtime.name is RuntimeName.DOCKER and runtime.engine == SOCKET


def test_runc_is_taken_where_docker_does_not_answer(machine):
    machine(docker=False, runc=True)
    assert engines.choose(request()).name is RuntimeName.RUNC


def test_host_is_never_taken_by_itself(machine):
    machine(docker=False, runc=False)
    with pytest.raises(PrerequisiteError, match="no container runtime found") as missing:
        engines.choose(request())
    assert "runc" in missing.value.hint


def test_the_machines_own_files_go_to_runc_even_where_docker_answers(machine):
    machine(docker=True, runc=True)
    assert engines.choose(request(image="host")).name is RuntimeName.RUNC


def test_docker_with_the_machines_own_files_is_a_usage_error(machine):
    machine(docker=True, runc=True)
    with pytest.raises(UsageError, match="docker runtime cannot run --image host"):
        engines.choose(request(runtime=RuntimeName.DOCKER, image="host"))


@pytest.mark.parametrize("name", list(RuntimeName))
def test_the_wanted_runtime_is_taken_without_asking_around(machine, name):
    machine(docker=False, runc=False)
    assert engines.choose(request(runtime=name)).name is name


@pytest.mark.parametrize("name", [RuntimeName.RUNC, RuntimeName.HOST, None], ids=str)
def test_settings_of_docker_that_lead_nowhere_do_not_stop_another_runtime(machine, name):
    machine(docker=True, runc=True)
    chosen = engines.choose(request(runtime=name, engine=unknown_socket))
    assert chosen.name is (name or RuntimeName.RUNC)


@pytest.mark.parametrize("name", [RuntimeName.DOCKER, None], ids=str)
def test_settings_of_docker_that_lead_nowhere_are_named_where_docker_is_needed(machine, name):
    machine(docker=True, runc=False)
    with pytest.raises(UsageError, match="'gone' has no endpoint"):
        engines.choose(request(runtime=name, engine=unknown_socket))


@pytest.mark.parametrize("more", [{"runtime": RuntimeName.RUNC}, {"image": "host"}], ids=str)
def test_a_run_in_runc_does_not_read_the_settings_of_docker(machine, more):
    machine(docker=False, runc=True)
    assert engines.choose(request(engine=lambda: pytest.fail("read"), **more)).name is RuntimeName.RUNC
