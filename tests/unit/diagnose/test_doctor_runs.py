"""The doctor calls a run lost only if its kit is gone: one that is running is no fault of the machine."""

import pytest

from kit.diagnose import doctor
from kit.sandbox.folder import reserve

ID = "r03-20261123T170000Z-0000000{}"


@pytest.fixture
def submission(tmp_path):
    (tmp_path / "submission").mkdir()
    return tmp_path / "submission"


def test_a_run_whose_kit_lives_is_not_lost(tmp_path, submission):
    out, keys = tmp_path / "runs", tmp_path / "keys"
    with reserve(out, ID.format(1), lambda lease: b"{}", submission) as folder:
        found = doctor._interrupted(out, keys, fix=False)
        assert (found.health, found.detail) == (doctor.Health.OK, f"none in {out}; 1 running")
        folder.finish(b"signed")
    assert doctor._interrupted(out, keys, fix=False).detail == f"none in {out}"


def test_a_run_that_cannot_be_closed_is_a_diagnosis_like_the_others(tmp_path, submission):
    out, keys = tmp_path / "runs", tmp_path / "keys"
    with reserve(out, ID.format(1), lambda lease: b"{", submission) as folder:
        pass
    found = doctor._interrupted(out, keys, fix=True)
    assert found.health is doctor.Health.BROKEN and "intent.json: reservation: not valid JSON" in found.detail
    assert str(folder.path) in found.fix


def test_a_run_whose_kit_is_gone_is_counted_beside_one_that_is_running(tmp_path, submission):
    out, keys = tmp_path / "runs", tmp_path / "keys"
    with reserve(out, ID.format(1), lambda lease: b"{}", submission):
        pass
    with reserve(out, ID.format(2), lambda lease: b"{}", submission):
        found = doctor._interrupted(out, keys, fix=False)
    assert (found.health, found.fix) == (doctor.Health.BROKEN, f"speedrun doctor --fix --out {out}")
    assert found.detail == f"1 interrupted run in {out} without a result"
