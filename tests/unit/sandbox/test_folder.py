from __future__ import annotations

import os
import subprocess
import sys

import pytest

from kit.core.errors import PrerequisiteError
from kit.core.files import staged
from kit.sandbox.folder import (
    BALLAST,
    RESERVING,
    RUN_ID,
    RunFolder,
    adopt,
    new_run_id,
    reserve,
    tidy,
    unfinished,
)

ID = "r03-20261123T170000Z-00000001"


@pytest.fixture
def submission(tmp_path):
    folder = tmp_path / "mine"
    (folder / "pkg").mkdir(parents=True)
    (folder / "train_gpt2.py").write_text("print(1)\n")
    (folder / "pkg" / "x.py").write_text("")
    (folder / "train_gpt2.py").chmod(0o600)
    return folder


def test_run_ids_sort_by_time_and_are_unique():
    ids = {new_run_id(3) for _ in range(50)}
    assert len(ids) == 50
    assert all(RUN_ID.fullmatch(i) for i in ids)


def test_a_reserved_folder_appears_whole_and_readable_by_any_uid(tmp_path, submission):
    with reserve(
        tmp_path / "runs", "r03-20261123T170000Z-00000001", lambda lease: b"{}", submission
    ) as folder:
        assert folder.intent.read_bytes() == b"{}"
        assert folder.log.read_bytes() == b""
        assert (folder.submission / "train_gpt2.py").stat().st_mode & 0o777 == 0o444
        assert (folder.submission / "pkg").stat().st_mode & 0o777 == 0o755
        assert folder.path.stat().st_mode & 0o777 == 0o755
    assert not [p for p in (tmp_path / "runs").iterdir() if p.name.startswith(".reserving")]


def test_a_run_of_a_living_kit_cannot_be_adopted(tmp_path, submission):
    out = tmp_path / "runs"
    with reserve(out, "r03-20261123T170000Z-00000001", lambda lease: b"{}", submission) as folder:
        assert unfinished(out) == [folder]
        with adopt(folder) as mine:
            assert mine is False
    with adopt(folder) as mine:
        assert mine is True


def test_a_finished_run_is_neither_lost_nor_adoptable(tmp_path, submission):
    out = tmp_path / "runs"
    with reserve(out, "r03-20261123T170000Z-00000001", lambda lease: b"{}", submission) as folder:
        folder.finish(b"bundle")
    assert folder.result.read_bytes() == b"bundle"
    assert not folder.intent.exists() and not folder.scratch.exists()
    assert unfinished(out) == []
    with adopt(folder) as mine:
        assert mine is False


def test_a_killed_kit_leaves_a_run_that_can_be_adopted(tmp_path, submission):
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom kit.sandbox.folder import reserve\n"
        "out, submission = map(Path, sys.argv[1:])\n"
        "with reserve(out, 'r03-20261123T170000Z-00000009', lambda lease: b'{}', submission):\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "runs"), str(submission)], check=False)
    assert done.returncode == -9
    [folder] = unfinished(tmp_path / "runs")
    with adopt(folder) as mine:
        assert mine is True


def test_an_out_that_is_a_file_is_refused(tmp_path, submission):
    (tmp_path / "runs").write_text("")
    with (
        pytest.raises(PrerequisiteError),
        reserve(tmp_path / "runs", new_run_id(3), lambda lease: b"{}", submission),
    ):
        pass


def test_other_folders_below_out_are_left_alone(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "intent.json").write_text("{}")
    assert unfinished(tmp_path) == []
    assert unfinished(tmp_path / "absent") == []


def test_every_path_lies_in_the_run_folder(tmp_path):
    folder = RunFolder(tmp_path / "r")
    for name in ("intent", "result", "submission", "log", "stamps", "scratch", "alive"):
        assert getattr(folder, name).parent == folder.path
    assert os.sep not in folder.run_id


def test_what_a_kit_left_that_died_while_it_reserved_is_removed_by_the_next(tmp_path, submission):
    dead = tmp_path / "runs" / ".reserving-dead"
    (dead / "submission").mkdir(parents=True)
    with reserve(tmp_path / "runs", ID, lambda lease: b"{}", submission):
        assert not dead.exists()


def test_what_a_living_kit_reserves_is_left_alone(tmp_path, submission):
    runs = tmp_path / "runs"
    runs.mkdir()
    with staged(runs, RESERVING) as living:
        tidy(runs)
        assert living.is_dir()
    assert not living.exists()


def test_what_is_left_of_a_run_that_was_signed_but_not_tidied_is_removed(tmp_path, submission):
    with reserve(tmp_path / "runs", ID, lambda lease: b"{}", submission) as folder:
        folder.result.write_bytes(b"signed")
        tidy(tmp_path / "runs")
        assert folder.intent.exists(), "its kit lives"
    tidy(tmp_path / "runs")
    assert sorted(p.name for p in folder.path.iterdir()) == [
        "guest.log",
        "result.json",
        "stamps",
        "submission",
    ]


def test_an_error_of_the_owner_is_not_taken_for_a_lock_that_another_holds(tmp_path, submission):
    with reserve(tmp_path / "runs", ID, lambda lease: b"{}", submission) as folder:
        pass
    with pytest.raises(BlockingIOError, match="of the block"), adopt(folder) as mine:
        assert mine
        raise BlockingIOError("of the block")


def test_a_reserved_run_keeps_room_on_the_disk_for_its_record(tmp_path, submission):
    with reserve(tmp_path / "runs", ID, lambda lease: b"{}", submission) as folder:
        assert folder.ballast.stat().st_blocks * 512 >= BALLAST > 100_000
        folder.finish(b"signed")
        assert not folder.ballast.exists() and not folder.alive.exists()
