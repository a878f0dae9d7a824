"""`speedrun config`: show the settings of this user and working directory."""

from __future__ import annotations

import click

from kit.cli.lazy import LazyGroup

SUMMARIES = {
    "show": "Print the value of every option, and where it comes from.",
}


@click.group("config", cls=LazyGroup, package=__name__, summaries=SUMMARIES)
def command() -> None:
    """Show the defaults from speedrun.toml and the environment.

    \b
    Examples:
      speedrun config show eval
    """
