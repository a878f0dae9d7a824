"""With --json, every command that has it answers an error with one object on stdout."""

from __future__ import annotations

import json

import click
import pytest

from kit.cli import run, speedrun
from kit.diagnose.cache.inventory import CacheEntry, CacheKind
from kit.diagnose.cache.removal import CacheRemoval


def commands(command=speedrun, path=()):
    if not isinstance(command, click.Group):
        yield path, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        yield from commands(command.get_command(context, name), (*path, name))


WITH_JSON = [path for path, command in commands() if any("--json" in p.opts for p in command.params)]


def test_most_commands_have_json():
    assert len(WITH_JSON) > 40


@pytest.mark.parametrize("path", WITH_JSON, ids=" ".join)
def test_an_unknown_option_is_one_object(path, capsys):
    code = run([*path, "--json", "--no-such-option"])
    said = capsys.readouterr()
    error = json.loads(said.out)["error"]
    assert code == error["exit_code"] == 2 and "no-such-option" in error["message"]
    assert error["hint"] == f"speedrun {' '.join(path)} --help"
    assert said.err.endswith(f"error: {error['message']}\nhint: {error['hint']}\n")


@pytest.mark.parametrize(
    ("argv", "command"),
    [
        (["eval"], "eval"),
        (["eval", "--record", "3", "--profile", "nope"], "eval"),
        (["bundle", "verify"], "bundle verify"),
        (["bundle", "show", "nope", "more"], "bundle show"),
        (["cache", "show", "--store", __file__], "cache show"),
        (["nope"], ""),
        (["cache", "nope"], "cache"),
    ],
)
def test_a_usage_error_has_the_hint_of_its_text(argv, command, capsys):
    assert run([*argv, "--json"]) in (2, 3)
    said = capsys.readouterr()
    assert json.loads(said.out)["error"]["hint"] == " ".join(f"speedrun {command} --help".split())
    assert f"hint: {json.loads(said.out)['error']['hint']}" in said.err


def test_a_value_from_the_environment_is_named_in_both_forms(capsys, monkeypatch):
    monkeypatch.setenv("SPEEDRUN_EVAL_PROFILE", "nope")
    assert run(["eval", "--record", "3", "--json"]) == 2
    said = capsys.readouterr()
    (origin,) = json.loads(said.out)["error"]["details"]
    assert origin == "from the environment variable SPEEDRUN_EVAL_PROFILE" and origin in said.err


def test_an_error_of_the_kit_has_its_hint_and_code(capsys, tmp_path):
    assert run(["bundle", "show", str(tmp_path), "--json"]) == 3
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["message"].startswith("bundle not found: ") and error["hint"] and error["exit_code"] == 3


def test_a_crash_is_one_object_too(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("kit.cli.bundle.show.command.callback", lambda **_: 1 / 0)
    assert run(["bundle", "show", str(tmp_path), "--json"]) == 5
    error = json.loads(capsys.readouterr().out)["error"]
    assert "ZeroDivisionError" in error["message"] and "traceback" in error["hint"]


@pytest.mark.parametrize("wrong", [["--no-such-option"], ["nope"]])
def test_json_by_a_variable_or_a_file_counts_for_errors(wrong, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPEEDRUN_BUNDLE_SHOW_JSON", "1")
    assert run(["bundle", "show", *wrong]) in (2, 3)
    assert "error" in json.loads(capsys.readouterr().out)
    monkeypatch.delenv("SPEEDRUN_BUNDLE_SHOW_JSON")
    (tmp_path / "speedrun.toml").write_text("[bundle.show]\njson = true\n")
    assert run(["bundle", "show", *wrong]) in (2, 3)
    assert "error" in json.loads(capsys.readouterr().out)


def test_no_to_a_question_is_one_object(capsys, monkeypatch, tmp_path):
    entry = CacheEntry(CacheKind.DOWNLOADS, "x", (tmp_path / "x",), 0.0)
    monkeypatch.setattr("kit.cli.cache.clean.plan_removal", lambda *_: CacheRemoval((entry,), (), 7))
    monkeypatch.setattr("kit.cli.cache.clean.confirm", lambda *_: False)
    assert run(["cache", "clean", "--json", "--store", str(tmp_path)]) == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["removed"], document["freed_bytes"]) == ([], 0)


def test_without_json_stdout_stays_empty(capsys, tmp_path):
    assert run(["bundle", "show", str(tmp_path)]) == 3
    assert capsys.readouterr().out == ""
