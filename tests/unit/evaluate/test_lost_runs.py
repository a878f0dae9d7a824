"""Runs whose kit died are closed by the next one: each gets a record that verifies."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kit.core.errors import IntegrityError, PrerequisiteError, SchemaError
from kit.evaluate.recovery import close_lost, mark_lost, sign
from kit.result.keys import trusted
from kit.result.verify import open_bundle
from kit.sandbox.folder import reserve
from kit.values.run_result import RunStatus


def test_a_lost_run_gets_a_record_that_binds_the_output_that_there_was(lost, tmp_path):
    folder = lost()
    folder.log.write_bytes(b"half a li")
    folder.stamps.write_bytes(b'[1,"o",9,0]\n')
    assert close_lost(tmp_path / "runs", tmp_path / "keys") == [folder]
    p = open_bundle(folder.path, trusted(tmp_path / "keys")).predicate
    assert p.run.status is RunStatus.LOST and p.observations.output_bytes == 9
    assert sorted(f.name for f in folder.path.iterdir() if f.name.startswith(".")) == []
    assert close_lost(tmp_path / "runs", tmp_path / "keys") == []


def test_several_are_closed_at_once_and_two_kits_do_not_close_one_twice(lost, tmp_path):
    runs = [lost(n) for n in range(5)]
    code = (
        "import sys\nfrom pathlib import Path\nfrom kit.evaluate.recovery import close_lost\n"
        "print(len(close_lost(Path(sys.argv[1]), Path(sys.argv[2]))))\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "runs"), str(tmp_path / "keys")]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert sum(int(p.communicate()[0]) for p in both) == 5
    for folder in runs:
        open_bundle(folder.path, trusted(tmp_path / "keys"))


def test_an_intent_that_was_changed_is_named_with_what_to_do_and_keeps_no_other_run_open(lost, tmp_path):
    folder, other = lost(0), lost(1)
    folder.intent.write_bytes(b"{")
    with pytest.raises(
        SchemaError, match=r"cannot close run r03-.*: .*intent\.json: reservation: not valid JSON"
    ) as e:
        close_lost(tmp_path / "runs", tmp_path / "keys")
    assert str(folder.path) in e.value.hint and not folder.result.exists()
    assert other.result.exists()


@pytest.mark.parametrize("name", ["guest.log", "stamps"])
def test_output_that_is_gone_is_named_and_keeps_no_other_run_open(lost, tmp_path, name):
    folder, other = lost(0), lost(1)
    (folder.path / name).unlink()
    with pytest.raises(PrerequisiteError, match=rf"cannot close run r03-.*: .*/{name}: No such file") as e:
        close_lost(tmp_path / "runs", tmp_path / "keys")
    assert str(folder.path) in e.value.hint and not folder.result.exists()
    assert other.result.exists()


def test_a_reason_of_any_text_can_be_recorded(lost, planned, make):
    folder = lost()
    mark_lost(folder, make.SIGNER, *planned(folder.run_id), "the kit failed: \x1b[2J\ud800\n" + "x" * 100_000)
    assert len(open_bundle(folder.path, trusted(folder.path)).predicate.run.reason) <= 2000


@pytest.fixture
def running(tmp_path):
    """Reserve a run for a block."""
    return lambda: reserve(tmp_path / "runs", RUN, lambda lease: b"{}", ASSETS / "bundles" / "submission")


ASSETS = Path(__file__).parents[2] / "assets"
RUN = "r03-20261123T170000Z-00000001"


@pytest.mark.parametrize("by", ["directory", "link", "nothing"])
def test_a_directory_in_the_place_of_a_runs_gets_no_result(running, make, tmp_path, by):
    """Whoever may rename directories exchanges one while its run is in it."""
    away, other = tmp_path / "away", tmp_path / "other"
    other.mkdir()
    with running() as folder:
        folder.path.rename(away)
        if by == "directory":
            other.rename(folder.path)
        elif by == "link":
            folder.path.symlink_to(other)
        with pytest.raises(IntegrityError, match=f"{RUN} was replaced while its run was in it") as caught:
            sign(folder, make.SIGNER, b"{}")
    assert caught.value.hint == f"the result of run {RUN} is in {away}"
    assert {p.name for p in away.iterdir()} == {
        "result.json",
        "signer.pem",
        "submission",
        "guest.log",
        "stamps",
    }
    assert not list((folder.path if by == "directory" else other).iterdir())


def test_a_run_that_fails_while_its_directory_is_away_has_its_record_there(running, make, planned, tmp_path):
    with running() as folder:
        folder.path.rename(tmp_path / "away")
        with pytest.raises(IntegrityError, match="was replaced while its run was in it"):
            mark_lost(folder, make.SIGNER, *planned(RUN), "the guest's log is gone")
    assert open_bundle(tmp_path / "away", trusted(tmp_path)).predicate.run.status is RunStatus.LOST


def test_a_runs_directory_that_was_removed_is_not_made_again(running, make):
    with running() as folder:
        shutil.rmtree(folder.path)
        with pytest.raises(IntegrityError, match="was removed while its run was in it"):
            sign(folder, make.SIGNER, b"{}")
    assert not folder.path.exists()
