"""The doctor looks at everything else where one setting of the machine is broken."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fake_engine import FakeEngine

from kit.core.errors import PrerequisiteError, RunError, UsageError
from kit.core.store import Store
from kit.diagnose import doctor
from kit.diagnose.doctor import Diagnosis, DoctorConfig, Health
from kit.values.run_spec import RuntimeName


def stale() -> str:
    raise UsageError("the docker context 'gone' has no endpoint", "run `docker context use default`")


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor.docker, "state_folder", lambda: tmp_path / "none")  # not the machine's
    return DoctorConfig(
        Store(tmp_path / "store"), tmp_path, tmp_path / "runs", tmp_path, Path("python3"), stale
    )


def test_a_stale_docker_context_is_one_failed_check_of_many(config, monkeypatch):
    monkeypatch.setattr(doctor, "_try_runtime", lambda *_: "works")
    by_id = {d.id: d for d in doctor.examine(config, fix=False)}
    docker = by_id[f"runtime-{RuntimeName.DOCKER}"]
    assert (docker.health, docker.detail) == (Health.BROKEN, "the docker context 'gone' has no endpoint")
    assert docker.fix == "run `docker context use default`"
    assert by_id[f"runtime-{RuntimeName.RUNC}"].health is Health.OK
    assert by_id["containers"].health is Health.OK and "lost-runs" in by_id


def test_a_stale_docker_context_beside_a_working_runtime_is_no_reason_against_the_machine(
    config, monkeypatch
):
    monkeypatch.setattr(doctor, "_try_runtime", lambda *_: "works")
    monkeypatch.setattr(doctor, "_disk", lambda *_: doctor.Diagnosis("store", Health.OK, ""))
    assert doctor.usable(list(doctor.examine(config, fix=False)))

    def fails(*_):
        raise PrerequisiteError("runc is not installed")

    monkeypatch.setattr(doctor, "_try_runtime", fails)
    assert not doctor.usable(list(doctor.examine(config, fix=False)))


def test_an_engine_that_answers_and_fails_counts(config, monkeypatch):
    def fails(*_):
        raise RunError("isolation failed: network")

    monkeypatch.setattr(doctor, "_try_runtime", lambda *_: "works")
    monkeypatch.setattr(doctor, "_try_engine", fails)
    assert not doctor.usable(list(doctor.examine(config, fix=False)))


def test_a_stale_docker_context_does_not_stop_the_repair(config, monkeypatch):
    monkeypatch.setattr(doctor, "_try_runtime", lambda *_: "works")
    by_id = {d.id: d for d in doctor.examine(config, fix=True)}
    assert by_id["containers"].detail == "removed 0 containers of interrupted runs"


def test_podman_is_a_runtime_of_its_own(config, tmp_path):
    def silent() -> str:
        raise PrerequisiteError("Podman does not answer at unix:///p.sock", "start Podman's service: x &")

    by_id = {d.id: d for d in doctor.examine(replace(config, podman=silent), fix=False)}
    podman = by_id["runtime-podman"]
    assert (podman.health, podman.fix) == (Health.MISSING, "start Podman's service: x &")


def test_podman_without_the_image_is_told_how_to_load_it(config, tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "_built_image", lambda _: None)
    fake = FakeEngine(tmp_path)
    try:
        by_id = {d.id: d for d in doctor.examine(replace(config, podman=lambda: fake.url), fix=True)}
    finally:
        fake.stop()
    assert by_id["runtime-podman"].fix == "speedrun image load cpu --engine podman"
    assert by_id["containers"].health is Health.OK
    assert "GET /containers/json" in fake.asked


@pytest.mark.parametrize("name", ["runc", "docker", "podman"])
def test_one_runtime_that_isolates_is_enough(name):
    works = Diagnosis(f"runtime-{name}", Health.OK, "works")
    missing = Diagnosis("runtime-x", Health.MISSING, "not there")
    assert doctor.usable([missing, works]) and not doctor.usable([missing])
    assert not doctor.usable([Diagnosis("runtime-host", Health.OK, "works")])


def test_a_read_only_store_is_no_reason_against_the_machine(config, monkeypatch):
    config.store.room("blobs")
    monkeypatch.setattr(doctor.os, "access", lambda *_: False)
    found = doctor._disk(config.store, fix=False)
    assert found.health is Health.MISSING and "is read-only" in found.detail


def test_the_container_toolkit_is_checked_only_if_that_is_asked_for(config, monkeypatch):
    monkeypatch.setattr(doctor, "_try_runtime", lambda *_: "works")
    assert "container-toolkit" not in {d.id for d in doctor.examine(config, fix=False)}
    asked = replace(config, toolkit=lambda: (1, 17, 7))
    by_id = {d.id: d for d in doctor.examine(asked, fix=False)}
    assert by_id["container-toolkit"].health is Health.BROKEN
