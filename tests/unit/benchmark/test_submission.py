"""A submission is read once, into memory, and everything that is not plain code is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kit.benchmark.submission import load_submission, read_submission
from kit.benchmark.workspace import MAX_BYTES, MAX_DEPTH, MAX_FILES
from kit.core.digest import files_under, sha256_bytes, tree_digest
from kit.core.errors import KitError, PrerequisiteError, SchemaError, UsageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "submission"
    made.mkdir()
    (made / "train_gpt2.py").write_text("print('hello')\n")
    return made


def test_files_arguments_and_digest_are_those_of_the_folder(folder: Path, tmp_path: Path) -> None:
    (folder / "run.toml").write_text('args = ["--lr", "0.1"]\n')
    (folder / "kernels").mkdir()
    (folder / "kernels" / "fast.py").write_text("x = 1\n")
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "x.pyc").write_bytes(b"cache")
    submission = load_submission(folder)
    assert [f.name for f in submission.files] == ["kernels/fast.py", "run.toml", "train_gpt2.py"]
    assert (submission.entry, submission.args) == ("train_gpt2.py", ("--lr", "0.1"))
    out = tmp_path / "out"
    out.mkdir()
    submission.write(out)
    assert tree_digest(files_under(out)) == submission.digest
    assert load_submission(out).digest == submission.digest


def test_without_run_toml_there_are_no_arguments(folder: Path) -> None:
    assert load_submission(folder).args == ()


WORKSPACE = {
    ".git/config": "[core]",
    ".venv/lib/train_gpt2.py": "hidden = 1",
    "venv/bin/python": "",
    "env311/pyvenv.cfg": "home = /usr/bin",
    "__pycache__/train_gpt2.cpython-311.pyc": "x",
    "kernels/__pycache__/fast.cpython-311.pyc": "x",
    "kernels/.DS_Store": "x",
    ".DS_Store": "x",
    "._train_gpt2.py": "x",
    ".env": "KEY=secret",
    ".gitignore": "*.pyc",
    ".idea/a/b/c/d/e/f.xml": "deeper than a submission may be",
    "old.pyc": "x",
    "fast.pyd": "x",
    "train_gpt2.py~": "x",
    "#train_gpt2.py#": "x",
    ".train_gpt2.py.swp": "x",
    "node_modules/a b/index.js": "x",
    "Thumbs.db": "x",
}


def add(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def test_a_workspace_is_the_submission_that_it_holds(folder: Path, tmp_path: Path) -> None:
    add(folder, {"kernels/fast.py": "x = 1\n", "run.toml": "args = []\n"})
    clean = load_submission(folder)
    add(folder, WORKSPACE)
    (folder / ".cache").symlink_to("/etc")
    crowd = {f".git/objects/{n:02x}/{n}": "x" for n in range(2 * MAX_FILES)}
    add(folder, crowd)
    loaded = load_submission(folder)
    assert (loaded.digest, loaded.files) == (clean.digest, clean.files)
    assert clean.left_out == ()
    assert loaded.left_out == (
        "#train_gpt2.py#", ".DS_Store", "._train_gpt2.py", ".cache", ".env", ".git/", ".gitignore", ".idea/",
        ".train_gpt2.py.swp", ".venv/", "Thumbs.db", "__pycache__/", "env311/", "fast.pyd",
        "kernels/.DS_Store", "kernels/__pycache__/", "node_modules/", "old.pyc", "train_gpt2.py~", "venv/",
    )  # fmt: skip
    out = tmp_path / "out"
    out.mkdir()
    loaded.write(out)
    assert set(files_under(out)) == {"kernels/fast.py", "run.toml", "train_gpt2.py"}


def test_a_repository_of_another_place_may_be_a_file_or_a_link(folder: Path) -> None:
    (folder / ".git").write_text("gitdir: ../main/.git/worktrees/a\n")
    (folder / "venv").symlink_to("/usr")
    assert load_submission(folder).left_out == (".git", "venv")


@pytest.mark.parametrize("name", ["venv.py", "venv", "git/a.py", "notes.pycx", "desktop.ini.py"])
def test_a_file_of_a_similar_name_is_part_of_the_submission(folder: Path, name: str) -> None:
    add(folder, {name: "x"})
    loaded = load_submission(folder)
    assert name in [f.name for f in loaded.files] and loaded.left_out == ()


def test_every_broken_rule_is_read_at_once(folder: Path) -> None:
    add(folder, {"a b.py": "x", "run.toml": "args = 3\n", ".git/config": "x"})
    (folder / "data.py").symlink_to("/etc/passwd")
    (folder / "train_gpt2.py").unlink()
    read = read_submission(folder)
    assert [f.name for f in read.faults] == ["a b.py", "data.py", "train_gpt2.py", "run.toml"]
    assert all(f.hint for f in read.faults)
    assert (read.left_out, [f.name for f in read.files]) == ((".git/",), ["run.toml"])


def link(folder: Path) -> None:
    (folder / "data.py").symlink_to("/etc/passwd")


def linked_folder(folder: Path) -> None:
    (folder / "package").symlink_to("/etc")


def linked_entry(folder: Path) -> None:
    (folder / "train_gpt2.py").rename(folder / "real.py")
    (folder / "train_gpt2.py").symlink_to("real.py")


def pipe(folder: Path) -> None:
    os.mkfifo(folder / "pipe.py")


def odd_name(folder: Path) -> None:
    (folder / "a b.py").write_text("x")


def control_character(folder: Path) -> None:
    (folder / "a\x1b[2J.py").write_text("x")


def many_files(folder: Path) -> None:
    for n in range(MAX_FILES):
        (folder / f"f{n}.py").write_text("")


def many_folders(folder: Path) -> None:
    for n in range(MAX_FILES + 1):
        (folder / f"d{n}").mkdir()


def many_bytes(folder: Path) -> None:
    (folder / "blob.bin").write_bytes(bytes(MAX_BYTES))


def deep(folder: Path) -> None:
    (folder / "/".join("d" * MAX_DEPTH)).mkdir(parents=True)


@pytest.mark.parametrize(
    "spoil",
    [
        link,
        linked_folder,
        linked_entry,
        pipe,
        odd_name,
        control_character,
        many_files,
        many_folders,
        many_bytes,
        deep,
    ],
)
def test_what_is_not_plain_code_is_refused_with_a_way_out(folder: Path, spoil: object) -> None:
    assert callable(spoil)
    spoil(folder)
    with pytest.raises(UsageError) as refusal:
        load_submission(folder)
    assert refusal.value.hint


@pytest.mark.parametrize(
    "text",
    ["args = 3\n", 'args = ["a\\u0000b"]\n', "nproc = 1\n", "args = [\n", f"args = [{'[' * 5000}", "\udcff"],
)
def test_a_run_toml_of_another_form_is_refused(folder: Path, text: str) -> None:
    (folder / "run.toml").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(SchemaError) as refusal:
        load_submission(folder)
    assert "args =" in refusal.value.hint


def test_a_run_toml_that_would_take_hours_to_parse_is_refused_for_its_size(folder: Path) -> None:
    (folder / "run.toml").write_text(".".join(["a"] * 250_000) + " = 1\n")
    with pytest.raises(SchemaError, match="larger than 16 KiB"):
        load_submission(folder)


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_a_folder_without_the_entry_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(PrerequisiteError, match=name):
        load_submission(tmp_path / name)


def test_a_later_records_script_keeps_upstreams_name(folder: Path) -> None:
    (folder / "train_gpt2.py").rename(folder / "train_gpt.py")
    assert load_submission(folder).entry == load_submission(folder, "train_gpt.py").entry == "train_gpt.py"
    with pytest.raises(PrerequisiteError, match=r"train_gpt2\.py not found") as e:
        load_submission(folder, "train_gpt2.py")
    assert e.value.hint.startswith("check the task and the profile, or rename train_gpt.py; ")


def test_of_both_names_the_tasks_own_is_the_script(folder: Path) -> None:
    (folder / "train_gpt.py").write_text("print('later')\n")
    assert load_submission(folder, "train_gpt.py").entry == "train_gpt.py"
    assert load_submission(folder).entry == load_submission(folder, "train_gpt2.py").entry == "train_gpt2.py"


def test_a_written_submission_never_overwrites(folder: Path) -> None:
    submission = load_submission(folder)
    with pytest.raises((FileExistsError, KitError)):
        submission.write(folder)


@pytest.mark.parametrize(
    ("put", "said"),
    [
        (lambda path: path.symlink_to("/etc/passwd"), "cannot read .*train_gpt2.py: Too many levels"),
        (lambda path: None, "cannot read .*train_gpt2.py: No such file"),
        (os.mkfifo, "train_gpt2.py is not a regular file"),
    ],
    ids=["a link", "nothing", "a pipe"],
)
def test_a_file_that_becomes_another_thing_after_it_was_listed_is_refused(folder, monkeypatch, put, said):
    (folder / "a.py").write_text("x = 1\n")
    script = folder / "train_gpt2.py"

    def swapped(data):
        if script.is_file() and not script.is_symlink():
            script.unlink()
            put(script)
        return sha256_bytes(data)

    monkeypatch.setattr("kit.benchmark.submission.sha256_bytes", swapped)
    with pytest.raises(UsageError, match=said) as e:
        load_submission(folder)
    assert e.value.hint.startswith("a submission has its training script")
