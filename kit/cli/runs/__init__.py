"""`speedrun runs`: list, compare and read the runs in a directory."""

from __future__ import annotations

import click

from kit.cli.lazy import LazyGroup

SUMMARIES = {
    "diff": "Compare two runs: files, settings, checks, times.",
    "list": "List the runs in a directory, oldest first.",
    "log": "Print what a run's script printed.",
}


@click.group("runs", cls=LazyGroup, package=__name__, summaries=SUMMARIES)
def command() -> None:
    """List, compare and read the runs in a directory.

    RUN is a run's directory, its id, the start of its id, or `latest`: the newest run in --out.

    \b
    Examples:
      speedrun runs list
      speedrun runs log latest
      speedrun runs diff r03-20260101T000000Z-00000001 latest
    """
