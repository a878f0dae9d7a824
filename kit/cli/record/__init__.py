"""`speedrun record`: what the upstream records are, and their scripts. Runs none of them."""

from __future__ import annotations

import click

from kit.cli.lazy import LazyGroup

SUMMARIES = {
    "fetch": "Fetch a record's script, check it, and print the folder that holds it.",
    "list": "List the records: official minutes, the paper's re-timed minutes, steps, shards, era.",
    "show": "Show one record: times, script, environment, data, deadlines.",
}


@click.group("record", cls=LazyGroup, package=__name__, summaries=SUMMARIES)
def command() -> None:
    """Show the 21 upstream records and fetch their scripts.

    \b
    Examples:
      speedrun record list
      speedrun record show 12
      speedrun record fetch 12
    """
