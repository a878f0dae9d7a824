"""What the kit made before stays valid: old results verify, score and report, and answers keep their keys."""

from __future__ import annotations

import hashlib
import shutil

import pytest
from golden_replay import GOLDEN, Recorded, ask, differ, recorded, speedrun

SUMS = GOLDEN / "SHA256SUMS"


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A copy of the assets to work in."""
    folder = tmp_path_factory.mktemp("golden") / "copy"
    shutil.copytree(GOLDEN, folder)
    return folder


def test_the_assets_are_those_that_were_recorded():
    listed = dict(reversed(line.split("  ", 1)) for line in SUMS.read_text().splitlines())
    files = {p.relative_to(GOLDEN).as_posix(): p for p in GOLDEN.rglob("*") if p.is_file() and p != SUMS}
    assert {name: hashlib.sha256(p.read_bytes()).hexdigest() for name, p in files.items()} == listed


@pytest.mark.parametrize("command", recorded("unit"), ids=str)
def test_a_command_answers_as_it_did(here, command: Recorded):
    ask(here, command)


def test_a_run_left_unfinished_by_an_old_kit_is_closed_by_this_one(tmp_path):
    runs = tmp_path / "runs"
    shutil.copytree(GOLDEN / "unfinished", runs)
    (run,) = runs.iterdir()
    speedrun(tmp_path, "doctor", "--fix", "--out", "runs", "--keys", "keys", "--store", "store")
    assert not (run / "intent.json").exists()
    shown = speedrun(tmp_path, "bundle", "show", str(run), "--json", "--keys", "keys")
    assert shown.returncode == 0, shown.stderr
    assert '"status": "lost"' in shown.stdout and run.name in shown.stdout


def test_a_key_that_is_gone_or_of_another_type_is_seen():
    assert differ({"a": 1, "b": [1, 2]}, {"a": 1.0, "b": [1, 2], "c": 3}, "values") == []
    assert differ({"a": 1}, {}, "shape") == ["$.a is gone"]
    assert differ({"a": 1}, {"a": "x"}, "shape") == ["$.a was 1 and is 'x'"]
    assert differ([1], [1, 2], "values") == ["$ had 1 elements and has 2"]
    assert differ([1], [2, 1], "listed") == [] and differ([3], [2, 1], "listed")
