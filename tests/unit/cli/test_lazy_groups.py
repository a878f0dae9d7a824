"""Groups of commands import a command when it is used, and say of each what its own help says."""

from __future__ import annotations

import json
import subprocess
import sys

import click
import pytest

from kit.cli import speedrun
from kit.cli.lazy import LazyGroup

LIMITS = (10, 45, 70, 200)


def groups(group=speedrun, path=()):
    yield path, group
    context = click.Context(group)
    for name in group.list_commands(context):
        below = group.get_command(context, name)
        if isinstance(below, click.Group):
            yield from groups(below, (*path, name))


GROUPS = dict(groups())


@pytest.fixture(params=GROUPS, ids=lambda path: " ".join(path) or "speedrun")
def group(request):
    return GROUPS[request.param]


def test_every_group_is_lazy(group):
    assert isinstance(group, LazyGroup) and not group.commands


def test_the_summary_of_a_command_is_its_short_help(group):
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        listed = click.Command(name, help=group.summaries[name])
        assert command.name == name and not command.hidden
        assert [listed.get_short_help_str(limit) for limit in LIMITS] == [
            command.get_short_help_str(limit) for limit in LIMITS
        ]


def test_a_name_that_is_no_command_is_none(group):
    assert group.get_command(click.Context(group), "options") is None


def test_commands_and_options_are_completed(group):
    context = click.Context(group)
    first = min(group.summaries)
    assert first in [item.value for item in group.shell_complete(context, first[:2])]
    assert [item.value for item in group.shell_complete(context, "")] == sorted(group.summaries)
    assert "--help" in [item.value for item in group.shell_complete(context, "--")]


def modules_after(*arguments):
    """The kit's modules that a command line imports."""
    code = (
        "import json, sys\nfrom kit.cli import run\nrun(sys.argv[1:])\n"
        "print(json.dumps(sorted(m for m in sys.modules if m.startswith('kit.'))), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    return json.loads(done.stderr.splitlines()[-1])


def test_help_imports_no_command():
    assert modules_after("--help") == [
        "kit.cli", "kit.cli.lazy", "kit.cli.meter", "kit.cli.settings", "kit.cli.stderr", "kit.cli.streams",
        "kit.cli.terminal",
        "kit.core", "kit.core.errors", "kit.core.search_path", "kit.core.text",
    ]  # fmt: skip


def test_help_of_a_group_imports_the_group_alone():
    assert [m for m in modules_after("image", "--help") if m.startswith("kit.cli.image")] == ["kit.cli.image"]


def test_verifying_a_bundle_imports_no_room_that_runs_or_builds(tmp_path):
    rooms = {m.split(".")[1] for m in modules_after("bundle", "verify", str(tmp_path))}
    assert rooms == {"audit", "cli", "core", "result", "values"}
