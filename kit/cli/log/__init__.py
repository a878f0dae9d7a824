"""`speedrun log`: read a log file of upstream's or of the kit's. Judges nothing."""

from __future__ import annotations

import click

from kit.cli.lazy import LazyGroup

SUMMARIES = {
    "parse": "Read FILE: points, environment block, embedded source.",
}


@click.group("log", cls=LazyGroup, package=__name__, summaries=SUMMARIES)
def command() -> None:
    """Read the logs of runs: validation points, environment, embedded source.

    \b
    Examples:
      speedrun log parse logs/0b1c.txt
      speedrun log parse runs/<run_id>/guest.log --json
    """
