"""Every command has a help text with examples, and every example runs, or at least is understood."""

from __future__ import annotations

import glob
import json
import shlex
import shutil

import click
import pytest
from desk import AGENT_RUN, RUN_ID, SERIES_ID, lay, work_at

pytest.importorskip("scipy")

from kit.cli import run, speedrun

PARSED = {
    ("agent", "cumulative"): "starts guests and calls endpoints",
    ("agent", "probe"): "calls endpoints, and needs upstream's repository",
    ("agent", "run"): "starts guests and calls endpoints",
    ("agent", "resume"): "starts guests",
    ("session", "brief"): "needs the task's start script and a runtime",
    ("session", "budget"): "needs a runtime",
    ("session", "check"): "needs a runtime",
    ("session", "end"): "starts guests",
    ("session", "evaluate"): "starts guests",
    ("session", "history"): "needs a runtime",
    ("session", "new"): "needs a runtime",
    ("session", "serve"): "starts guests",
    ("session", "try"): "starts guests",
    ("sweep", "cell"): "runs an agent",
    ("sweep", "run"): "runs agents",
    ("cache", "make"): "starts guests",
    ("cache", "remove"): "needs a compile cache",
    ("doctor",): "starts guests",
    ("reproduce",): "starts guests",
    ("image", "test"): "starts guests",
    ("image", "build"): "fetches and builds an image",
    ("image", "diff"): "builds two images",
    ("image", "export"): "builds an image",
    ("image", "fetch"): "fetches an image",
    ("image", "load"): "asks an engine",
    ("image", "lock"): "resolves an image",
    ("image", "push"): "builds an image, and sends it to a registry",
    ("image", "rm"): "needs a built image",
    ("image", "verify"): "builds an image",
    ("data", "fetch"): "fetches",
    ("data", "lock"): "asks the Hub",
    ("data", "synth"): "takes seconds; the integration tests make these data",
    ("data", "verify"): "needs a record's shards",
    ("pack",): "needs an image",
    ("unpack",): "needs a capsule of an image",
    ("record", "draft"): "needs upstream's repository, or a log of it",
    ("distance",): "needs upstream's repository",
    ("judge",): "needs upstream's repository",
    ("record", "fetch"): "needs upstream's repository",
    ("task", "export"): "needs upstream's repository",
}
"""Commands whose examples are parsed with all their options and paths, and not run; and why not."""


def commands(command=speedrun, path=()):
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            yield from commands(command.get_command(context, name), (*path, name))


def examples(command):
    """The lines below `Examples:`, each the first command of its pipe."""
    _, _, below = (command.help or "").partition("Examples:")
    lines = [line.strip() for line in below.splitlines()]
    assert all(line.startswith("speedrun ") for line in lines if line), lines
    return [line for line in lines if line]


EVERY = dict(commands())
LINES = sorted({line for command in EVERY.values() for line in examples(command)})


def resolved(argv):
    """The command that a command line names: the longest path that is one."""
    path = tuple(part for n, part in enumerate(argv) if tuple(argv[: n + 1]) in EVERY)
    return path


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    return lay(tmp_path_factory.mktemp("examples"))


@pytest.fixture
def at_desk(desk, monkeypatch):
    return work_at(desk, monkeypatch)


def arguments(line):
    """The arguments of an example, its placeholders filled in and its stars expanded."""
    for mark in (" | ", " > ", " && "):
        line = line.partition(mark)[0]
    for placeholder, value in (
        ("<run_id>", RUN_ID), ("<id>", AGENT_RUN), ("<series_id>", SERIES_ID),
        ("r03-….capsule.tar", "result.capsule.tar"),
        ("/data/fineweb10B", "../wheels"), ("/mnt/wheels", "../wheels"),
        ("~/modded-nanogpt", "../modded-nanogpt/.git"),
    ):  # fmt: skip
        line = line.replace(placeholder, value)
    found = []
    for part in shlex.split(line)[1:]:
        found += sorted(glob.glob(part)) if "*" in part else [part]
    return found


@pytest.mark.parametrize("path", EVERY, ids=lambda path: " ".join(path) or "speedrun")
def test_every_command_has_a_help_text_with_an_example_of_itself(path, capsys):
    assert run([*path, "--help"]) == 0
    text = capsys.readouterr().out
    assert "Usage:" in text and "Examples:" in text
    own = [line for line in examples(EVERY[path]) if tuple(shlex.split(line)[1:])[: len(path)] == path]
    if path == ("submit", "send"):
        own = examples(EVERY[path])  # `submit` alone means `submit send`
    assert own, f"no example of {' '.join(path)} in its help text"


@pytest.mark.parametrize("line", LINES)
def test_every_example_is_understood(line, at_desk):
    argv = arguments(line)
    assert resolved(argv), f"{line}: there is no such command"
    context = speedrun.make_context("speedrun", list(argv))
    command = speedrun
    while isinstance(command, click.Group):
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(name, rest, parent=context)
    assert not context.args


@pytest.mark.parametrize("line", [line for line in LINES if resolved(shlex.split(line)[1:]) not in PARSED])
def test_every_example_that_needs_no_guest_and_no_network_runs(line, at_desk, capsys):
    argv = arguments(line)
    if argv[0] == "eval" and "--plan" not in argv:
        argv.append("--plan")
    if (
        argv[:2] in (["hint", "lint"], ["rubric", "lint"]) and "--upstream" in argv
    ) or "--judgements" in argv:
        pytest.skip("needs upstream's repository")
    if any(part.startswith("hf://") for part in argv):
        pytest.skip("asks the Hub")
    shutil.rmtree(at_desk.parent / "leaderboard" / "submissions" / "03" / "my-agent", ignore_errors=True)
    code = run(argv)
    captured = capsys.readouterr()
    assert code in (0, 1), captured.err
    assert captured.out or captured.err


def has_json(line):
    path = resolved(shlex.split(line)[1:])
    return path not in PARSED and any(p.name == "as_json" for p in EVERY[path].params)


@pytest.mark.parametrize("line", [line for line in LINES if has_json(line) and "hf://" not in line])
def test_every_example_prints_one_document_with_json(line, at_desk, capfd):
    argv = arguments(line)
    if argv[0] == "eval" and "--plan" not in argv:
        argv.append("--plan")
    if argv[:2] == ["hint", "lint"]:
        pytest.skip("needs upstream's repository")
    shutil.rmtree(at_desk.parent / "leaderboard" / "submissions" / "03" / "my-agent", ignore_errors=True)
    run([*argv, "--json"])
    json.loads(capfd.readouterr().out)


def test_what_is_only_parsed_is_a_command():
    assert set(PARSED) <= set(EVERY)
