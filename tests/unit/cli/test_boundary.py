from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kit.cli import EXIT_CODES, SUMMARIES, run, speedrun
from kit.cli.terminal import emit_json
from kit.core import errors

EXPECTED = {
    errors.UsageError: 2,
    errors.PrerequisiteError: 3,
    errors.IntegrityError: 4,
    errors.DigestMismatch: 4,
    errors.StaleLock: 4,
    errors.SchemaError: 4,
    errors.SignatureError: 4,
    errors.RunError: 5,
    errors.NetworkError: 5,
    errors.EngineSilent: 5,
}


def every_error():
    found, queue = [], [errors.KitError]
    while queue:
        kind = queue.pop()
        queue += kind.__subclasses__()
        found.append(kind)
    return [kind for kind in found if kind is not errors.KitError and kind.__module__ == "kit.core.errors"]


def test_every_kind_of_error_has_an_exit_code():
    assert set(every_error()) == set(EXPECTED)


@pytest.mark.parametrize(("kind", "code"), EXPECTED.items(), ids=lambda v: getattr(v, "__name__", v))
def test_an_error_becomes_its_exit_code_a_message_and_a_hint(monkeypatch, capsys, kind, code):
    def fail(**_):
        raise kind("what went wrong", "what to do")

    monkeypatch.setattr(speedrun, "main", fail)
    assert run(["anything"]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "error: what went wrong" in captured.err and "hint: what to do" in captured.err


@pytest.mark.parametrize(
    ("argv", "hint", "shown"),
    [
        (["doctor", "--json"], "see: speedrun doctor", False),
        (["doctor", "--fix"], "speedrun doctor --fix", False),
        (["doctor"], "speedrun doctor --fix", True),
        (["eval"], "see: speedrun doctor", True),
        (["image", "lock", "cpu", "--check"], "speedrun image lock cpu", True),
    ],
)
def test_a_hint_never_names_the_command_that_prints_it(monkeypatch, capsys, argv, hint, shown):
    def fail(**_):
        raise errors.RunError("what went wrong", hint)

    monkeypatch.setattr(speedrun, "main", fail)
    run(argv)
    assert (f"hint: {hint}\n" in capsys.readouterr().err) is shown


@pytest.mark.parametrize("argv", [["eval"], ["eval", "--record", "x"], ["no-such-command"]])
def test_a_usage_error_looks_like_every_other_error(capsys, argv):
    assert run(argv) == 2
    *usage, error, hint = capsys.readouterr().err.splitlines()
    assert usage[0].startswith("Usage: speedrun") and error.startswith("error: ")
    assert hint in ("hint: speedrun eval --help", "hint: speedrun --help")


def test_an_interrupt_is_130(monkeypatch):
    def fail(**_):
        raise KeyboardInterrupt

    monkeypatch.setattr(speedrun, "main", fail)
    assert run([]) == 130


def test_control_characters_of_a_message_do_not_reach_the_terminal(monkeypatch, capsys):
    def fail(**_):
        raise errors.RunError("\x1b[2Jgone\x07")

    monkeypatch.setattr(speedrun, "main", fail)
    run([])
    assert "\x1b[2J" not in capsys.readouterr().err


def test_control_characters_in_json_are_escaped_and_mean_the_same(capsys):
    value = {"said": "\x1b[2J \x9b2J \x7f \u202e \U000e0001 Grüße · 日本"}
    emit_json(value)
    out = capsys.readouterr().out
    assert json.loads(out) == value
    assert all(c.isprintable() or c == "\n" for c in out)
    assert "Grüße · 日本" in out


def test_an_unknown_command_is_a_usage_error():
    assert run(["no-such-command"]) == 2


@pytest.mark.parametrize("name", SUMMARIES)
def test_every_command_has_help_with_an_example(name, capsys):
    assert run([name, "--help"]) == 0
    assert "Examples:" in capsys.readouterr().out


def test_the_command_line_loads_nothing_heavy():
    heavy = ("torch", "numpy", "openai", "docker", "jsonschema", "huggingface_hub")
    code = f"import sys, kit.cli; print([m for m in {heavy} if m in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"


def test_exit_codes_are_listed_from_special_to_general():
    for earlier, (kind, _) in enumerate(EXIT_CODES):
        assert not any(issubclass(kind, before) for before, _ in EXIT_CODES[:earlier])


def test_a_full_run_without_gpus_says_the_exact_smoke_command(capsys, tmp_path):
    if Path("/proc/driver/nvidia/gpus").is_dir():
        pytest.skip("this machine has GPUs")
    assert run(["eval", "--record", "3", "--out", str(tmp_path)]) == 3
    assert "speedrun eval --record 3 --profile smoke" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_record_is_a_usage_error_that_lists_the_known_ones(capsys):
    assert run(["eval", "--record", "99", "--profile", "smoke"]) == 2
    assert "known" in capsys.readouterr().err


def test_the_host_runtime_refuses_an_image(capsys):
    arguments = ["eval", "--record", "3", "--profile", "smoke", "--runtime", "host", "--image", "cpu"]
    assert run(arguments) == 2
    assert "--image host" in capsys.readouterr().err


def test_a_submission_without_its_script_is_refused(tmp_path, capsys):
    (tmp_path / "readme.txt").write_text("hi")
    arguments = [
        "eval",
        "--record",
        "3",
        "--profile",
        "smoke",
        "--submission",
        str(tmp_path),
        "--runtime",
        "runc",
    ]
    assert run(arguments) in (2, 3, 4)
    assert "train_gpt2.py" in capsys.readouterr().err


def test_the_plan_is_one_json_object_and_starts_nothing(tmp_path, capsys):
    out = tmp_path / "runs"
    arguments = ["eval", "--record", "3", "--profile", "smoke", "--runtime", "runc", "--plan", "--json"]
    assert run([*arguments, "--out", str(out), "--store", str(tmp_path / "store")]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["image"] == "cpu" and plan["world_size"] == 2
    assert plan["download_bytes"] == sum(a["size"] for a in plan["artifacts"]) > 100_000_000
    assert plan["deadlines"]["total_s"] > 0 and plan["limits"]["memory"] > 0
    assert not out.exists()


def test_deadline_flags_reach_the_plan(tmp_path, capsys):
    arguments = ["eval", "--record", "3", "--profile", "smoke", "--runtime", "runc", "--plan", "--json"]
    assert run([*arguments, "--stall-deadline", "7.5", "--store", str(tmp_path)]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["deadlines"]["stall_s"] == 7.5
