"""A runtime is believed by what its guest could do: what does not contain runs nothing, and is told apart."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from fake_engine import FakeEngine

from kit.cli import run as speedrun
from kit.core.errors import PrerequisiteError, RunError
from kit.core.facts import facts_root
from kit.core.store import Store
from kit.diagnose import doctor
from kit.diagnose.doctor import DoctorConfig, Health
from kit.evaluate.plan import draft
from kit.evaluate.prepare import prepared
from kit.evaluate.request import Places, Request
from kit.evaluate.run import Listener, run_prepared
from kit.result.keys import Trusted
from kit.result.verify import open_bundle
from kit.sandbox.engine import EngineName
from kit.sandbox.runtime.host import Host
from kit.values.profile import Profile
from kit.values.run_result import RunStatus
from kit.values.run_spec import RuntimeName
from kit.values.software import Kit

PYTHON = Path(sys.executable)


class Leaky(Host):
    """The runtime that contains nothing, under a false flag."""

    contains = True

    def start(self, spec, scratch):
        where = {str(mount.target): str(mount.source) for mount in spec.mounts}
        return super().start(replace(spec, argv=tuple(where.get(a, a) for a in spec.argv)), scratch)


class Idle(Host):
    """Starts something else than it was told."""

    def start(self, spec, scratch):
        return super().start(replace(spec, argv=("true",)), scratch)


@pytest.fixture
def places(tmp_path):
    root = facts_root()
    return Places(
        root / "records", root / "images", Store(tmp_path / "store"), tmp_path / "runs", tmp_path / "keys",
        fetchers=(), kit=Kit("0", None),
    )  # fmt: skip


def test_nothing_is_run_where_the_probe_finds_a_way_out_and_the_record_says_so(places, tmp_path):
    request = Request(3, Profile.SMOKE, runtime=RuntimeName.HOST, python=PYTHON)
    plan = replace(draft(request, places), runtime=Leaky())
    said = r"isolation checks failed in the host runtime: .*inputs-read-only: "
    with prepared(plan, places) as ready, pytest.raises(RunError, match=said) as e:
        run_prepared(ready, places, Listener())
    assert e.value.hint == "see: speedrun doctor"
    (made,) = places.out.iterdir()
    run = open_bundle(made, Trusted(())).predicate.run
    assert run.status is RunStatus.LOST and run.reason.startswith(
        "isolation checks failed in the host runtime: "
    )
    assert (made / "guest.log").read_bytes() == b""


def test_audits_by_further_runs_are_refused_where_nothing_is_contained(places, tmp_path, capsys):
    argv = ["eval", "--record", "3", "--profile", "smoke", "--runtime", "host", "--audit", "canary"]
    argv += ["--python", str(PYTHON), "--out", str(places.out), "--store", str(places.store.root)]
    assert speedrun([*argv, "--keys", str(places.keys)]) == 2
    said = capsys.readouterr().err
    assert "--audit needs a runtime that isolates the guest" in said and "or omit --audit" in said
    assert not places.out.exists() or list(places.out.iterdir()) == []


def test_the_machines_own_files_need_to_be_told_which_python(places):
    request = Request(3, Profile.SMOKE, runtime=RuntimeName.HOST)
    with pytest.raises(
        PrerequisiteError, match="--image host needs a Python interpreter that has torch"
    ) as e:
        draft(request, places)
    assert e.value.hint == "pass it as --python PATH"


def test_doctor_calls_a_runtime_broken_that_starts_guests_and_does_not_contain_them():
    found = doctor._diagnosis(RuntimeName.HOST, lambda: doctor._try_runtime(Leaky(), PYTHON))
    assert found.health is Health.BROKEN
    assert found.detail.startswith("isolation failed: ")
    assert "inputs-read-only" in found.detail and found.fix == "pass --runtime runc to: speedrun eval"


def test_doctor_calls_a_runtime_broken_whose_guest_does_something_else():
    found = doctor._diagnosis(RuntimeName.HOST, lambda: doctor._try_runtime(Idle(), PYTHON))
    assert found.health is Health.BROKEN
    assert found.detail.startswith("the test program failed: ")
    assert found.fix == "pass --runtime runc to: speedrun eval"


def test_doctor_says_that_an_engine_without_an_image_was_not_tried(places, tmp_path):
    fake = FakeEngine(tmp_path)
    try:
        patient = DoctorConfig(places.store, places.images, places.out, places.keys, PYTHON, lambda: fake.url)
        found = next(doctor.examine(patient, fix=False))
    finally:
        fake.stop()
    assert (found.id, found.health) == ("runtime-docker", Health.MISSING)
    assert found.detail == f"{EngineName.DOCKER} 20.10.24 answers, but does not have the image cpu"
    assert found.fix == "speedrun image load cpu"
