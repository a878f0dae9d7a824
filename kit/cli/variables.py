"""Warn of variables of the environment that look like an option of a command, and are none."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence

import click

from kit.cli.lazy import LazyGroup
from kit.cli.settings import leaves

PREFIX = "SPEEDRUN_"
NO_OPTIONS = frozenset({"SPEEDRUN_RUN_ID"})
"""Set by the kit itself, for processes of a run."""


def set_variables() -> list[str]:
    """Return the variables that look like options, sorted."""
    return sorted(name for name in os.environ if name.startswith(PREFIX) and name not in NO_OPTIONS)


def warnings(group: LazyGroup, argv: Sequence[str]) -> Iterator[str]:
    """
    Yield a line for each variable that has no effect on the command in `argv`, and on no other.

    Options of other commands are not looked up: that would import these commands.
    """
    names = set_variables()
    if not names or not argv or {"-h", "--help", "--version"}.intersection(argv):
        return
    if tuple(argv[:2]) == ("config", "show"):  # names all of them
        return
    commands = {_prefix(path): path for path in leaves(group)}
    running = next((path for path in commands.values() if tuple(argv[: len(path)]) == path), None)
    own = "" if running is None else _prefix(running)
    known = () if running is None else tuple(_variables(group, running))
    options = {variable.removeprefix(own): variable for variable in known}
    every = {variable.removeprefix(PREFIX): variable for variable in (*known, *commands)}
    for name in names:
        prefix = next((prefix for prefix in commands if name.startswith(prefix)), None)
        if prefix is None:  # SPEEDRUN_STORE means the option of the command that runs
            meant = _meant(name.removeprefix(PREFIX), every | options)
            yield f"{name} is set, but no command has an option of this variable{meant}"
        elif commands[prefix] == running and name not in known:
            meant = _meant(name.removeprefix(own), options)
            yield f"{name} is set, but `{' '.join(running)}` has no such option{meant}"


def _meant(word: str, variables: Mapping[str, str]) -> str:
    """
    Return which variable is meant, empty if none is near.

    The keys of `variables` lack the prefix that `word` lacks, too: in common, it would make all of them near.
    """
    near = difflib.get_close_matches(word, variables, 1, 0.8)
    if not near:
        return ""
    variable = variables[near[0]]
    return f"; did you mean {variable}{'<OPTION>' if variable.endswith('_') else ''}?"


def _prefix(path: Sequence[str]) -> str:
    """Return how the variables of a command begin: `SPEEDRUN_AGENT_RUN_`."""
    return f"{PREFIX}{'_'.join(path).replace('-', '_').upper()}_"


def _variables(group: LazyGroup, path: Sequence[str]) -> Iterator[str]:
    """Yield the variables of a command's options."""
    command: click.Command | None = group
    for name in path:
        assert isinstance(command, click.Group)  # noqa: S101 - the path of a command
        command = command.get_command(click.Context(command), name)
    for option in command.params if command is not None else ():
        if isinstance(option, click.Option) and isinstance(option.envvar, str):
            yield option.envvar
