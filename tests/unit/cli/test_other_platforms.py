"""What works on other systems than Linux on x86-64, and what the other commands say there."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from desk import AGENT_RUN, lay

from kit.cli import SUMMARIES, run
from kit.cli.platforms import EVERYWHERE

ASSETS = Path(__file__).parents[2] / "assets"
GOLDEN = ASSETS / "golden"
ROOT = Path(__file__).parents[3]


def answers_elsewhere(commands, tmp_path, cwd=ROOT):
    """Return the exit code and the lines on stderr of each command, on an imitation of Windows."""
    home = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(ASSETS / "elsewhere.py"), json.dumps(commands)],
        capture_output=True, text=True, env=home, cwd=cwd, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [(answer["exit"], answer["err"]) for answer in json.loads(done.stdout)]


def test_verifying_scoring_and_reporting_import_no_linux_only_module(tmp_path):
    keys = ["--keys", str(GOLDEN / "keys")]
    result = str(next((GOLDEN / "run").iterdir()))
    ranked = sorted(str(p) for p in (GOLDEN / "ranked").glob("r*"))
    commands = {
        "bundle verify": (["bundle", "verify", result, *keys], 0),
        "bundle verify a capsule": (["bundle", "verify", str(GOLDEN / "tiny.tar"), *keys], 0),
        "bundle show": (["bundle", "show", result, *keys], 0),
        "unpack": (["unpack", str(GOLDEN / "tiny.tar"), "--to", str(tmp_path / "unpacked"), *keys], 0),
        "score": (["score", *ranked, *keys], 0),
        "report": (["report", str(GOLDEN / "board"), "--out", str(tmp_path / "site"), *keys], 0),
        "submit check": (["submit", "check", str(GOLDEN / "board"), *keys], 0),
        "log parse": (["log", "parse", str(ASSETS / "guest_logs" / "two-ranks-marked.log")], 0),
        "task list": (["task", "list"], 0),
        "keys generate": (["keys", "generate", "--keys", str(tmp_path / "keys")], 0),
        "config show": (["config", "show"], 0),
    }
    answers = answers_elsewhere([argv for argv, _ in commands.values()], tmp_path)
    for (name, (_, code)), answer in zip(commands.items(), answers, strict=True):
        assert answer[0] == code, (name, answer)


def test_commands_of_plans_agents_and_sessions_work_or_say_what_they_need(tmp_path):
    here = lay(tmp_path)
    works = {
        "check my-agent": 0,
        "sweep plan sweep.toml": 0,
        "sweep status sweeps/NAME": 1,
        f"agent show agent-runs/{AGENT_RUN}": 0,
        f"agent verify agent-runs/{AGENT_RUN} --keys ../config/speedrun-kit/keys": 0,
        f"agent probe --task smoke-1 --model scripted --answers {ASSETS / 'agent_answers.toml'}": 0,
        "session show my-session": 0,
        "runs log latest": 0,
        "cache show": 0,
    }
    needs_linux = {
        "agent run --task smoke-1 --model scripted --plan": "agent run",
        "agent cumulative --from smoke-1 --to smoke-2 --model scripted --plan": "agent cumulative",
        "agent resume my-session": "agent resume",
        "session new --task smoke-1 --budget gpu-hours=1 --out x": "session new",
        "session brief my-session": "session",
        "session serve my-session --stdio": "session serve",
        "sweep run sweep.toml": "sweep run",
        "image test cpu": "image test",
        "eval --record 3 --plan": "eval",
        "doctor": "doctor",
    }
    lines = [*works, *needs_linux]
    answers = dict(
        zip(lines, answers_elsewhere([line.split() for line in lines], tmp_path, here), strict=True)
    )
    assert {line: answers[line][0] for line in works} == works
    for line, command in needs_linux.items():
        code, said = answers[line]
        assert (code, said.splitlines()[0]) == (
            3, f"error: `{command}` needs Linux on x86-64; this is Windows on AMD64"
        )  # fmt: skip


@pytest.fixture(
    params=[("Darwin", "arm64", "macOS"), ("Windows", "AMD64", "Windows"), ("Linux", "aarch64", "Linux")]
)
def elsewhere(request, monkeypatch):
    system, machine, word = request.param
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    return f"{word} on {machine}"


@pytest.mark.parametrize(
    "argv", [["doctor"], ["eval", "--record", "3", "--profile", "smoke"], ["reproduce", "result.json"]]
)
def test_a_command_that_needs_linux_says_what_works_instead(elsewhere, argv, tmp_path, capsys):
    places = [f"--{name}={tmp_path / name}" for name in ("store", "keys", "out")]
    assert run([*argv, *places]) == 3
    error, hint = capsys.readouterr().err.splitlines()
    assert error == f"error: `{argv[0]}` needs Linux on x86-64; this is {elsewhere}"
    named = hint.removeprefix("hint: these commands work here: ").split(", ")
    assert {"bundle verify", "score", "report", "log parse", "task export", "submit check"} <= set(named)
    assert {name.split()[0] for name in named} <= set(SUMMARIES), "no command that this version lacks"
    assert set(named) <= set(EVERYWHERE)
    assert list(tmp_path.iterdir()) == []


def test_linux_on_x86_64_is_not_refused(capsys):
    assert platform.system() == "Linux"
    assert run(["eval", "--record", "999", "--profile", "smoke", "--plan"]) != 3
    assert "needs Linux" not in capsys.readouterr().err
