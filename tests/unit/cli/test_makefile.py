"""The Makefile's targets say what they need, instead of passing nothing to a command."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
NEEDS = re.findall(r"^([a-z]+): ((?:need-[A-Z]+ )+)", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="no make is here")


def test_the_targets_that_take_something_are_known():
    assert {t for t, _ in NEEDS} == {
        "eval", "plan", "image", "verify", "reproduce", "pack", "submit", "report", "agent"
    }  # fmt: skip


def test_the_plan_is_that_of_the_run_that_is_asked_for():
    asked = ("RECORD=3", "PROFILE=smoke", "SUBMISSION=s", "RUNTIME=runc", "IMAGE=cpu", "GPUS=2", "OUT=o")
    said = {}
    for target in ("eval", "plan"):
        done = subprocess.run(
            ["make", "--no-print-directory", "-n", "-o", "setup", target, *asked, "EVALFLAGS=--quiet"],
            cwd=REPOSITORY, capture_output=True, text=True, check=True,
        )  # fmt: skip
        said[target] = (
            done.stdout.partition("speedrun' eval")[2].partition(" ||")[0].replace("\\\n", " ").split()
        )
    assert said["plan"] == [*said["eval"], "--plan"]


@pytest.mark.parametrize(("target", "needs"), NEEDS, ids=[t for t, _ in NEEDS])
def test_a_target_without_what_it_needs_names_it_and_does_nothing(target, needs):
    done = subprocess.run(
        ["make", "--no-print-directory", target], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    (first, *_) = needs.replace("need-", "").split()
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith(f"error: {first}=... is missing\nhint: make help\n")
    shown = subprocess.run(["make", "help"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    line = next(text for text in shown.stdout.splitlines() if f"make {target} " in text)
    assert all(f"{name}=" in line for name in needs.replace("need-", "").split())


ODD = 'First Last\'s  (old) & "new"; rm'
VALUES = {
    "eval": ("RECORD", "PROFILE", "SUBMISSION", "RUNTIME", "IMAGE", "GPUS", "OUT"),
    "plan": ("RECORD", "PROFILE", "SUBMISSION", "RUNTIME", "IMAGE", "GPUS", "OUT"),
    "image": ("ERA",),
    "verify": ("BUNDLE",),
    "reproduce": ("BUNDLE", "RUNTIME", "OUT"),
    "pack": ("BUNDLE", "FILE"),
    "submit": ("BUNDLE", "AGENT", "TO"),
    "report": ("BOARD", "SITE"),
    "agent": ("TASK", "MODEL", "SCAFFOLD", "NODES", "HINTS", "BUDGET", "RUNTIME", "OUT"),
    "hostile": ("RUNTIME",),
    "crash": ("RUNTIME",),
    "bench": ("ERA",),
}


@pytest.mark.parametrize("target", VALUES)
def test_a_value_with_blanks_and_quotes_is_one_argument(target):
    given = {name: f"{name.lower()} {ODD}" for name in VALUES[target]}
    done = subprocess.run(
        ["make", "--no-print-directory", "-n", "-o", "setup", "-o", "runtime", target, "VENV=my env",
         *(f"{name}={value}" for name, value in given.items())],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    )  # fmt: skip
    words = shlex.split(done.stdout.replace("\\\n", " "))
    assert set(given.values()) <= set(words)
    assert any(word.startswith("my env/bin/") for word in words)


def test_every_variable_that_a_target_names_is_tried_with_blanks():
    shown = subprocess.run(["make", "help"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    for target, names in VALUES.items():
        line = next(text for text in shown.stdout.splitlines() if f"make {target} " in text)
        assert set(re.findall(r"\b([A-Z]+)=", line)) - {"EVALUATIONS", "IMAGES"} <= set(names)


@pytest.fixture
def stub(tmp_path):
    """A virtual environment, below a folder with blanks, whose `speedrun` prints its arguments."""
    venv = tmp_path / "my folder" / "env"
    (venv / "bin").mkdir(parents=True)
    program = venv / "bin" / "speedrun"
    program.write_text('#!/bin/sh\nprintf "<%s>" "$@"\nexit "${STUB_CODE:-0}"\n')
    program.chmod(0o755)
    return venv


def make(stub, *words, **env):
    return subprocess.run(
        ["make", "--no-print-directory", "-o", "setup", "-o", "runtime", f"VENV={stub}", *words],
        cwd=REPOSITORY, env=os.environ | env, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_plan_of_a_submission_below_a_name_with_blanks(stub):
    done = make(
        stub, "plan", "RECORD=3", "SUBMISSION=a b/c", "EVALFLAGS=--audit canary", "OUT=~/my runs", HOME="/h h"
    )
    assert done.returncode == 0 and done.stderr == ""
    assert "<--submission><a b/c>" in done.stdout and "<--out></h h/my runs>" in done.stdout
    assert done.stdout.endswith("<--audit><canary><--plan>")


@pytest.mark.parametrize(
    "target", ["eval", "plan", "verify", "reproduce", "pack", "submit", "report", "doctor", "image", "agent"]
)
@pytest.mark.parametrize("code", ["1", "4"])
def test_make_prints_the_exit_code_of_speedrun(target, code, stub):
    every = ("RECORD=3", "BUNDLE=b", "AGENT=a", "TO=t", "BOARD=b", "ERA=cpu", "TASK=smoke-1")
    done = make(stub, target, *every, STUB_CODE=code)
    assert done.returncode == 2
    assert f"speedrun exited with code {code} (docs/reference/exit-codes.md)\n" in done.stderr


def test_setup_installs_into_its_environment_whatever_pip_is_told(tmp_path):
    programs = tmp_path / "venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "python").write_text('#!/bin/sh\nenv > "$0.env"; echo "$@" > "$0.arguments"\n')
    (programs / "python").chmod(0o755)
    told = {"PIP_USER": "1", "PIP_TARGET": "/t", "PIP_REQUIRE_HASHES": "1", "PIP_PREFIX": "/p"}
    subprocess.run(
        ["make", "setup", f"VENV={tmp_path}/venv", "PYTHON=true"],
        cwd=REPOSITORY,
        env={**os.environ, **told, "PIP_INDEX_URL": "https://index.example"},
        check=True,
        capture_output=True,
    )
    seen = (programs / "python.env").read_text()
    assert not [name for name in told if f"{name}=" in seen]
    assert "PIP_INDEX_URL=https://index.example" in seen
    assert "--no-user" in (programs / "python.arguments").read_text()
