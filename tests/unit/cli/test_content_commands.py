"""The commands about records, tasks and logs: what they print, and with which code they end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kit.cli import run
from kit.cli.hint_levels import hint_numbers

VAL = b"step:10/10 val_loss:3.2755 train_time:700ms step_avg:70.00ms\n"


def out(capsys: pytest.CaptureFixture[str], *argv: str, code: int = 0) -> str:
    assert run(list(argv)) == code
    return capsys.readouterr().out


def test_record_list_has_a_line_for_each_record(capsys: pytest.CaptureFixture[str]) -> None:
    lines = out(capsys, "record", "list").splitlines()
    names = [*map(str, range(1, 22)), "21c", *map(str, range(22, 90))]
    assert [line.split()[0] for line in lines[1:]] == names
    assert len(json.loads(out(capsys, "record", "list", "--json"))["records"]) == 90


def test_record_show_tells_of_edits_and_folders(capsys: pytest.CaptureFixture[str]) -> None:
    text = out(capsys, "record", "show", "17")
    assert "uncommented" in text
    assert "folders      logs" in text
    document = json.loads(out(capsys, "record", "show", "17", "--json"))
    assert (document["number"], document["world_size"], document["target_val_loss"]) == (
        17,
        "accumulates",
        3.28,
    )


def test_record_21_has_two_files_for_two_sets_of_tasks(capsys: pytest.CaptureFixture[str]) -> None:
    again = json.loads(out(capsys, "task", "show", "21c", "--json"))
    assert (again["task"], again["target"], again["set"]) == ("21c", 22, "later-1")
    for argv in (["record", "show"], ["task", "show"], ["data", "fetch", "--record"], ["eval", "--record"]):
        assert run([*argv, "21C"]) == 2
        assert "'21C' is not the name of a record: did you mean 21c?" in capsys.readouterr().err
        assert run([*argv, "four"]) == 2
        assert "use a name such as 3, 21c or smoke-1" in capsys.readouterr().err
    assert run(["data", "verify", "--record", "21c", "--store", "/dev/null/store"]) == 3
    assert run(["data", "verify", "--record", "smoke-1"]) == 2
    assert "record smoke-1 reads no data set" in capsys.readouterr().err
    assert "hints    none" in out(capsys, "task", "show", "21c")
    assert run(["task", "show", "21"]) == 2
    assert "later tasks begin with 21c" in capsys.readouterr().err


def test_an_unknown_record_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["record", "show", "21b"]) == 2
    assert "known: 1, 2" in capsys.readouterr().err


def test_task_list_has_19_lines_and_tells_why_6_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    text = out(capsys, "task", "list")
    assert text.endswith(": speedrun task list --set later\n")
    assert "There is no task 6" in text
    tasks = json.loads(out(capsys, "task", "list", "--json"))["tasks"]
    assert [t["task"] for t in tasks] == [1, 2, 3, 4, 5, *range(7, 21), "smoke-1", "smoke-2", "smoke-3"]
    assert json.loads(out(capsys, "task", "show", "15", "--json")) == tasks[13]
    assert "noise    0.84" in out(capsys, "task", "show", "15")


@pytest.mark.parametrize("levels", ["4", "0,1", "one", "1,,2", "-1"])
def test_a_wrong_list_of_hints_is_a_usage_error_with_a_right_one(
    levels: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["task", "export", "4", "--hints", levels, "--out", str(tmp_path / "o")]) == 2
    assert "hint: for example: --hints 0, " in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("levels", "numbers"), [("0", ()), ("2", (2,)), ("3,1", (1, 3)), ("1,1", (1,)), ("2,3,2,1", (1, 2, 3))]
)
def test_hints_are_levels_in_order_and_once_each(levels: str, numbers: tuple[int, ...]) -> None:
    assert hint_numbers(levels) == numbers


def test_an_export_without_a_source_ends_with_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = [
        "task",
        "export",
        "4",
        "--out",
        str(tmp_path / "o"),
        "--upstream",
        str(tmp_path),
        "--store",
        str(tmp_path / "s"),
    ]
    assert run(argv) == 3
    assert "hint:" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_log_parse_prints_points_and_writes_the_source(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bar = b"=" * 100 + b"\n"
    log = tmp_path / "log.txt"
    log.write_bytes(b"import os\n" + bar + b"Running PyTorch 2.4.1 compiled for CUDA 12.1\n" + bar + VAL)
    text = out(capsys, "log", "parse", str(log), "--source", str(tmp_path / "src"))
    assert "10/10    3.2755       700" in text
    assert (tmp_path / "src" / "train_gpt2.py").read_bytes() == b"import os\n"
    document = json.loads(out(capsys, "log", "parse", str(log), "--json"))
    assert document["points"] == [
        {"step": 10, "total_steps": 10, "val_loss": 3.2755, "train_time_ms": 700, "host_ns": None}
    ]
    assert document["environment"]["torch"] == "2.4.1"


def test_log_parse_reads_a_run_by_its_stamps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "guest.log").write_bytes(VAL + VAL)
    (tmp_path / "stamps").write_text(f'[5,"e",{len(VAL)},1]\n[2000000000,"o",{len(VAL)},1]\n')
    document = json.loads(out(capsys, "log", "parse", str(tmp_path / "guest.log"), "--json"))
    assert [p["host_ns"] for p in document["points"]] == [2_000_000_000]
    assert document["other_lines"] == 1


def test_log_parse_of_a_log_without_claims_ends_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_bytes(b"hello \x1b[31m\n")
    assert "none" in out(capsys, "log", "parse", str(tmp_path / "a.txt"), code=1)
    assert run(["log", "parse", str(tmp_path / "absent.txt")]) == 3


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_log_parse_says_why_lines_are_no_claims(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...]
) -> None:
    (tmp_path / "a.txt").write_bytes(VAL.replace(b"70.00ms", b"70ms") * 161)
    assert run(["log", "parse", str(tmp_path / "a.txt"), *flags]) == 1
    assert capsys.readouterr().err == (
        "warning: 161 lines look like claims but are not: step_avg needs a decimal point\n"
        "hint: print lines such as 'step:125/5100 val_loss:4.5156 train_time:17750ms step_avg:142.00ms'\n"
    )


def test_a_loss_of_nan_is_json_all_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.txt").write_bytes(VAL.replace(b"3.2755", b"nan"))
    document = json.loads(
        out(capsys, "log", "parse", str(tmp_path / "a.txt"), "--json"), parse_constant=pytest.fail
    )
    assert document["points"][0]["val_loss"] == "nan"


def test_a_fetched_script_can_be_copied_for_editing(tmp_path, monkeypatch, capsys):
    stored = tmp_path / "stored"
    stored.mkdir()
    for name in ("run.toml", "train_gpt2.py"):
        (stored / name).write_text("x = 1\n")
        (stored / name).chmod(0o444)
    monkeypatch.setattr("kit.cli.record.fetch.fetch_script", lambda *arguments: stored)
    out = tmp_path / "mine"
    argv = ["record", "fetch", "11", "--store", str(tmp_path / "store"), "--out", str(out)]
    assert run(argv) == 0
    assert capsys.readouterr().out.strip() == str(out)
    assert [(p.name, p.stat().st_mode & 0o600) for p in sorted(out.iterdir())] == [
        ("run.toml", 0o600), ("train_gpt2.py", 0o600),
    ]  # fmt: skip
    assert run(argv) == 2
    assert "is not an empty directory" in capsys.readouterr().err


def test_a_plan_lists_what_is_left_out(tmp_path, capsys):
    agent = tmp_path / "agent"
    (agent / ".git").mkdir(parents=True)
    (agent / "train_gpt2.py").write_text("print(1)\n")
    argv = ["eval", "--record", "3", "--profile", "smoke", "--runtime", "runc", "--plan"]
    argv += ["--submission", str(agent), "--store", str(tmp_path / "store"), "--keys", str(tmp_path / "keys")]
    assert run(argv) == 0
    assert "  submission left out: .git/" in capsys.readouterr().out.splitlines()
    assert run([*argv, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["left_out"] == [".git/"]
