"""`speedrun cache`: show and clean the store of downloads, images and data."""

from __future__ import annotations

import click

from kit.cli.lazy import LazyGroup

SUMMARIES = {
    "clean": "Remove what no process uses from the store.",
    "show": "Show what the store holds, by kind.",
}


@click.group("cache", cls=LazyGroup, package=__name__, summaries=SUMMARIES)
def command() -> None:
    """Show and clean the store of downloads, images and data.

    Everything in the store can be downloaded or made again. Results are elsewhere: in runs/.

    \b
    Examples:
      speedrun cache show
      speedrun cache clean --older-than 30d --dry-run
    """
