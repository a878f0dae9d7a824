"""`speedrun hint`: show the hints and check their style."""

from __future__ import annotations

import click

from kit.cli.lazy import LazyGroup

SUMMARIES = {
    "lint": "Check hints against the style rules.",
    "show": "Print one hint of a task as Markdown.",
}


@click.group("hint", cls=LazyGroup, package=__name__, summaries=SUMMARIES)
def command() -> None:
    """Show and check the hints for the tasks.

    \b
    Examples:
      speedrun hint show 4 --level 2
      speedrun hint lint
    """
