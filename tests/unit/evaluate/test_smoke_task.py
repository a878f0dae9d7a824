"""A task in the smoke profile is one that an agent's author can try on a laptop."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from kit.audit.needs import cuda_needs, start_code
from kit.audit.parsing import SourceFile, parse_files
from kit.benchmark.submission import load_submission
from kit.benchmark.tasks import load_tasks
from kit.cli import run, speedrun
from kit.core.facts import facts_root, guest_file
from kit.values.log import Grammar, parse_line


def export(tmp_path: Path, *more: str, number: str = "3") -> tuple[int, Path]:
    out = tmp_path / "task"
    argv = ["task", "export", number, "--profile", "smoke", "--out", str(out)]
    return run([*argv, "--store", str(tmp_path / "store"), *more]), out


def test_it_holds_the_smoke_start_script_and_its_arguments(tmp_path: Path) -> None:
    code, out = export(tmp_path)
    assert code == 0
    assert sorted(p.name for p in out.iterdir()) == [".speedrun-task", "TASK.md", "run.toml", "train_gpt2.py"]
    assert (out / "train_gpt2.py").read_bytes() == guest_file("train_reference.py").read_bytes()
    loaded = load_submission(out)
    assert loaded.args[:2] == ("--steps", "160")
    files = parse_files(SourceFile(f.name, f.data) for f in loaded.files)
    assert cuda_needs(start_code(files, loaded.entry)) == ()
    assert all(p.stat().st_mode & 0o200 for p in out.iterdir())


def test_its_text_states_the_terms_of_the_smoke_profile(tmp_path: Path) -> None:
    _, out = export(tmp_path)
    text = (out / "TASK.md").read_text()
    for term in ("3.57", "65,536 tokens", "2 training shards of 1,048,576", "300 seconds", "2.13.0", "4 GiB"):
        assert term in text
    assert "{" not in text and max(map(len, text.splitlines())) <= 110
    (line,) = re.findall(r"`(step:[^`]*)`", text)
    assert parse_line(line, Grammar.STEP) is not None


def test_its_text_advises_nothing_that_cannot_work_without_a_gpu(tmp_path: Path) -> None:
    _, out = export(tmp_path)
    text = (out / "TASK.md").read_text().lower()
    assert [w for w in ("cuda", "compile", "nccl", "h100", "nvidia", "triton", "bf16") if w in text] == []


def test_its_commands_are_commands(tmp_path: Path) -> None:
    _, out = export(tmp_path, number="20")
    lines = [x.strip() for x in (out / "TASK.md").read_text().splitlines() if x.startswith("    speedrun ")]
    assert len(lines) == 3
    for line in lines:
        name, *argv = shlex.split(line.replace("THIS_FOLDER", str(out)), comments=True)[1:]
        command = speedrun.get_command(None, name)  # type: ignore[arg-type]
        assert command is not None
        params = command.make_context(name, argv).params
        assert params["profile"] == "smoke" and params.get("record") in (None, 20)


@pytest.mark.parametrize("number", [str(t.number) for t in load_tasks(facts_root())][::6])
def test_every_task_has_one(tmp_path: Path, number: str) -> None:
    code, out = export(tmp_path, number=number)
    assert code == 0 and f"# Task {number}, smoke profile" in (out / "TASK.md").read_text()


@pytest.mark.parametrize(
    ("more", "number", "said"),
    [
        (("--hints", "1"), "3", "the hints are about record scripts"),
        ((), "6", "task 6 does not exist"),
        (("--profile", "fast"), "3", "'fast' is not one of"),
    ],
)
def test_what_does_not_exist_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], number: str, said: str
) -> None:
    code, out = export(tmp_path, *more, number=number)
    assert code == 2 and said in capsys.readouterr().err and not out.exists()


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "task").mkdir()
    (tmp_path / "task" / "mine.txt").write_text("keep")
    assert export(tmp_path)[0] == 2
    assert [p.name for p in (tmp_path / "task").iterdir()] == ["mine.txt"]
