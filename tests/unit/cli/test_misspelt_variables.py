"""A variable that looks like an option of a command, and is none, is named with the one that it may mean."""

from __future__ import annotations

import subprocess
import sys

import pytest

from kit.cli import run

NO_OPTION = "is set, but no command has an option of this variable"
NOT_OF_IT = "is set, but `record list` has no such option"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("SPEEDRUN_RECORD_LIST_JSN", f"{NOT_OF_IT}; did you mean SPEEDRUN_RECORD_LIST_JSON?"),
        ("SPEEDRUN_RECORD_LSIT_JSON", f"{NO_OPTION}; did you mean SPEEDRUN_RECORD_LIST_JSON?"),
        ("SPEEDRUN_EVLA_", f"{NO_OPTION}; did you mean SPEEDRUN_EVAL_<OPTION>?"),
        ("SPEEDRUN_HOME", NO_OPTION),
        ("SPEEDRUN_STOR", NO_OPTION),
        ("SPEEDRUN_JSN", f"{NO_OPTION}; did you mean SPEEDRUN_RECORD_LIST_JSON?"),
        ("SPEEDRUN_RECORD_LIST_SORT", NOT_OF_IT),
        ("SPEEDRUN_RECORD_LIST_ZZZZZZZZ", NOT_OF_IT),
    ],
)  # fmt: skip
def test_a_variable_without_effect_is_named(name, said, monkeypatch, capsys):
    monkeypatch.setenv(name, "1")
    assert run(["record", "list"]) == 0
    assert capsys.readouterr().err == f"warning: {name} {said}\n"


@pytest.mark.parametrize("name", ["SPEEDRUN_STOR", "SPEEDRUN_STORE", "SPEEDRUN_CACHE_SHO_STORE"])
def test_an_option_without_its_command_is_that_of_the_running_one(name, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv(name, str(tmp_path))
    assert run(["cache", "show", "--store", str(tmp_path)]) == 0
    (warning,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert warning == f"warning: {name} {NO_OPTION}; did you mean SPEEDRUN_CACHE_SHOW_STORE?"


@pytest.mark.parametrize(
    "name", ["SPEEDRUN_RUN_ID", "SPEEDRUN_EVAL_RUNTIME", "SPEEDRUN_EVAL_OF_ANOTHER_COMMAND"]
)
@pytest.mark.parametrize("argv", [["record", "list"], ["--help"], ["record", "list", "--help"]])
def test_a_variable_of_another_command_is_no_reason_to_warn(name, argv, monkeypatch, capsys):
    monkeypatch.setenv(name, "1")
    assert run(argv) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("argv", [["--help"], ["record", "list", "--help"]])
def test_help_does_not_warn(argv, monkeypatch, capsys):
    monkeypatch.setenv("SPEEDRUN_HOME", "1")
    assert run(argv) == 0
    assert capsys.readouterr().err == ""


def test_a_right_variable_has_its_effect_without_a_warning(monkeypatch, capsys):
    monkeypatch.setenv("SPEEDRUN_RECORD_LIST_JSON", "1")
    assert run(["record", "list"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("[") or said.out.startswith("{")
    assert said.err == ""


def test_a_warning_imports_no_other_command(monkeypatch):
    monkeypatch.setenv("SPEEDRUN_EVAL_RUNTMIE", "runc")
    code = (
        "import sys; from kit.cli import run; run(['record', 'list']); print('kit.cli.eval' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
