"""The Makefile's targets say what they need, instead of passing nothing to a command."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
NEEDS = re.findall(r"^([a-z]+): ((?:need-[A-Z]+ )+)", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="no make is here")


def test_the_targets_that_take_something_are_known():
    assert {t for t, _ in NEEDS} == {
        "eval", "plan", "image", "verify", "reproduce", "pack", "submit", "report"
    }  # fmt: skip


def test_the_plan_is_that_of_the_run_that_is_asked_for():
    asked = ("RECORD=3", "PROFILE=smoke", "SUBMISSION=s", "RUNTIME=runc", "IMAGE=cpu", "GPUS=2", "OUT=o")
    said = {}
    for target in ("eval", "plan"):
        done = subprocess.run(
            ["make", "--no-print-directory", "-n", "-o", "setup", target, *asked, "EVALFLAGS=--quiet"],
            cwd=REPOSITORY, capture_output=True, text=True, check=True,
        )  # fmt: skip
        said[target] = done.stdout.partition("speedrun eval")[2].replace("\\\n", " ").split()
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
