"""Each option answers to the environment variable that its name promises."""

from __future__ import annotations

import json

import click
import pytest

from kit.cli import run, speedrun


def leaves(group=speedrun, path=()):
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from leaves(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(leaves())
OPTIONS = [
    (path, option)
    for path, command in COMMANDS.items()
    for option in command.params
    if isinstance(option, click.Option)
]


def promised(path, option):
    (long,) = (name for name in option.opts if name.startswith("--"))
    return "_".join(("SPEEDRUN", *path, long[2:])).upper().replace("-", "_")


@pytest.mark.parametrize(
    ("path", "option"), OPTIONS, ids=lambda x: x.opts[-1] if hasattr(x, "opts") else "-".join(x)
)
def test_an_option_reads_the_variable_of_its_long_name(path, option, monkeypatch):
    name = promised(path, option)
    assert option.envvar == name
    monkeypatch.setenv(name, "1")
    context = click.Context(COMMANDS[path], info_name=path[-1])
    assert option.resolve_envvar_value(context) == "1"


def test_no_two_options_share_a_variable():
    names = [promised(path, option) for path, option in OPTIONS]
    assert len(names) > 150 and len(names) == len(set(names))


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_the_help_of_a_command_names_one_of_its_variables(path, capsys):
    mine = [promised(at, option) for at, option in OPTIONS if at == path]
    assert run([*path, "--help"]) == 0
    text = capsys.readouterr().out
    assert any(f"such as {name} " in " ".join(text.split()) for name in mine) or not mine


@pytest.mark.parametrize("value", ["1", "true", "yes"])
def test_a_flag_in_the_environment_plans_and_runs_nothing(value, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPEEDRUN_EVAL_PLAN", value)
    monkeypatch.setenv("SPEEDRUN_EVAL_JSON", value)
    monkeypatch.setenv("SPEEDRUN_EVAL_TOTAL_DEADLINE", "900")
    arguments = ["eval", "--record", "3", "--profile", "smoke", "--runtime", "host", "--image", "host"]
    assert run(arguments) == 0
    assert json.loads(capsys.readouterr().out)["deadlines"]["total_s"] == 900
    assert not (tmp_path / "runs").exists()


def test_the_names_of_python_parameters_are_no_variables(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("SPEEDRUN_SUBMIT_SEND_TARGET", str(tmp_path))
    assert run(["submit", "send", "runs/x", "--agent", "a"]) == 2
    monkeypatch.setenv("SPEEDRUN_SUBMIT_SEND_TO", str(tmp_path / "board"))
    capsys.readouterr()
    assert run(["submit", "send", str(tmp_path / "none"), "--agent", "a"]) == 3
    assert "not found" in capsys.readouterr().err
