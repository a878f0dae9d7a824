"""`speedrun data`: the shards that records train on: fetch, verify, lock, synth. Trains nothing."""

from __future__ import annotations

import click

from kit.cli.lazy import LazyGroup

SUMMARIES = {
    "fetch": "Bring the shards of a record into the store, and print the folder that holds them.",
    "lock": "Write down which sha256 the Hub states for every shard at one revision.",
    "synth": "Make the smoke profile's shards from their seed, and print the folder that holds them.",
    "verify": (
        "Check the shards of a record: header, token count, size, sha256; exit 4 if one is not as stated."
    ),
}


@click.group("data", cls=LazyGroup, package=__name__, summaries=SUMMARIES)
def command() -> None:
    """Fetch, verify and lock the data of the records.

    \b
    Examples:
      speedrun data fetch --record 11
      speedrun data verify --record 11
      speedrun data synth
    """
