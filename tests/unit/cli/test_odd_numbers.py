"""What is no number, or none that can be meant, is refused by the option that it was given to."""

from __future__ import annotations

import pytest

from kit.cli import run


@pytest.mark.parametrize("phase", ["start", "warmup", "stall", "teardown", "total"])
@pytest.mark.parametrize("value", ["nan", "inf", "0", "-1"])
def test_a_deadline_that_never_comes_is_refused(phase, value, tmp_path, capsys):
    argv = ["eval", "--record", "3", "--profile", "smoke", "--runtime", "host", "--store", str(tmp_path)]
    assert run([*argv, "--plan", f"--{phase}-deadline", value]) == 2
    assert f"'--{phase}-deadline'" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--sd", "--margin"])
@pytest.mark.parametrize("value", ["nan", "inf", "0", "-1"])
def test_no_number_of_runs_is_named_for_what_cannot_be_measured(option, value, capsys):
    pytest.importorskip("scipy")
    assert run(["score", "--power", option, value]) == 2
    captured = capsys.readouterr()
    assert f"'{option}'" in captured.err and captured.out == ""


def test_a_seed_that_cannot_be_drawn_from_is_refused(tmp_path, capsys):
    (tmp_path / "runs.csv").write_text("task,run,fsr\n3,1,0.5\n")
    assert run(["score", "--table", str(tmp_path / "runs.csv"), "--seed", "-1"]) == 2
    assert "'--seed'" in capsys.readouterr().err


def test_a_table_of_which_the_papers_rules_count_nothing_is_named_with_what_they_count(tmp_path, capsys):
    pytest.importorskip("scipy")
    (tmp_path / "runs.csv").write_text("task,run,fsr\n20,1,0.5\n")
    assert run(["score", "--table", str(tmp_path / "runs.csv"), "--paper-rules"]) == 2
    said = capsys.readouterr().err
    assert "no run counts under the paper's rules" in said and "other than 20" in said
