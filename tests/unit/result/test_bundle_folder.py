"""The files beside a bundle."""

import subprocess
from pathlib import Path

import pytest

from kit.core.errors import DigestMismatch, PrerequisiteError
from kit.result import folder
from kit.sandbox.folder import RunFolder


def test_the_names_are_those_of_a_runs_folder(tmp_path):
    run = RunFolder(tmp_path)
    assert run.result.name == folder.BUNDLE
    assert run.log.name == folder.LOG
    assert run.stamps.name == folder.STAMPS
    assert run.submission.name == folder.SUBMISSION


def test_coreutils_compute_the_submissions_digest(run_folder):
    submission = run_folder / "submission"
    (submission / "lib").mkdir()
    (submission / "lib" / "kernel.cu").write_text("x")
    (submission / "Zeta.py").write_text("y")
    command = "find . -type f -printf '%P\\0' | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum"
    shown = subprocess.run(
        ["bash", "-c", command], cwd=submission, capture_output=True, text=True, check=True
    )
    assert folder.subjects(run_folder).submission == shown.stdout.split()[0]


@pytest.mark.parametrize("name", ["a\nb", "a\\b", "a\x1bb", b"a\xff".decode("utf-8", "surrogateescape")])
def test_a_file_name_that_would_not_be_printed_as_it_is_is_refused(run_folder, name):
    (run_folder / "submission" / name).write_text("")
    with pytest.raises(DigestMismatch, match="the file name has"):
        folder.submission_files(run_folder)


def test_more_files_than_a_bundle_can_name_are_refused(run_folder):
    for number in range(folder.MAX_FILES + 1):
        (run_folder / "submission" / f"{number}.py").touch()
    with pytest.raises(DigestMismatch, match="more than"):
        folder.submission_files(run_folder)


def test_more_files_in_many_folders_are_refused_too(run_folder):
    for number in range(folder.MAX_FILES + 1):
        path = run_folder / "submission" / str(number % 3) / f"{number}.py"
        path.parent.mkdir(exist_ok=True)
        path.touch()
    with pytest.raises(DigestMismatch, match="more than"):
        folder.submission_files(run_folder)


def test_files_that_are_large_only_together_are_refused_unread(run_folder, monkeypatch):
    monkeypatch.setattr(folder, "sha256_file", lambda path: "0" * 64)
    for number in range(3):
        with (run_folder / "submission" / f"{number}.bin").open("wb") as f:
            f.truncate(folder.MAX_BOUND // 2)
    with pytest.raises(DigestMismatch, match="has more than 1073741824 bytes"):
        folder.submission_files(run_folder)


def test_folders_within_folders_without_end_are_refused(run_folder, monkeypatch):
    monkeypatch.setattr(folder, "MAX_FILES", 50)  # Python itself could not remove a deeper tree
    (run_folder / "submission" / Path(*"a" * 60)).mkdir(parents=True)
    with pytest.raises(DigestMismatch, match="more than"):
        folder.submission_files(run_folder)


def test_an_absent_bundle_says_what_to_give(tmp_path):
    with pytest.raises(PrerequisiteError) as caught:
        folder.locate(tmp_path)
    assert "directory of a run" in caught.value.hint


def test_the_key_that_is_left_beside_a_bundle_is_found_by_its_id_only(tmp_path, make):
    folder.leave_key(tmp_path, make.SIGNER)
    bundle = tmp_path / "result.json"
    assert folder.signer_beside(bundle, make.SIGNER.key_id) == make.SIGNER.public
    assert folder.signer_beside(bundle, make.STRANGER.key_id) is None
    (tmp_path / "signer.pem").unlink()
    assert folder.signer_beside(bundle, make.SIGNER.key_id) is None
