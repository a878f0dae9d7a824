"""`speedrun cache`: show and clean the store of downloads, images and data; make compile caches."""

from __future__ import annotations

import click

from kit.cli.lazy import LazyGroup

SUMMARIES = {
    "clean": "Remove what no process uses from the store.",
    "list": "List the compile caches in the store.",
    "make": "Make a compile cache from a record's own script.",
    "remove": "Remove a compile cache from the store.",
    "show": "Show what the store holds, by kind.",
}


@click.group("cache", cls=LazyGroup, package=__name__, summaries=SUMMARIES)
def command() -> None:
    """Show and clean the store of downloads, images and data; make compile caches.

    Everything in the store can be downloaded or made again. Results are elsewhere: in runs/. A compile cache
    is what the compilers of a record's script left; `speedrun eval --compile-cache warm` starts with it.

    \b
    Examples:
      speedrun cache show
      speedrun cache clean --older-than 30d --dry-run
      speedrun cache make --record 21
    """
