"""`speedrun hint`: show the hints and check them against the house style."""

from __future__ import annotations

import click

from kit.cli.lazy import LazyGroup

SUMMARIES = {
    "lint": "Check the hints of TASKS (all 19 when none is named); exit 1 if a rule is broken.",
    "show": "Print one hint of TASK (its start record) as Markdown.",
}


@click.group("hint", cls=LazyGroup, package=__name__, summaries=SUMMARIES)
def command() -> None:
    """Show and check the hints of the 19 tasks.

    \b
    Examples:
      speedrun hint show 4 --level 2
      speedrun hint lint
    """
