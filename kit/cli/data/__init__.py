"""`speedrun data`: download, verify and lock the training data."""

from __future__ import annotations

import click

from kit.cli.lazy import LazyGroup

SUMMARIES = {
    "fetch": "Download the data of a record into the store.",
    "lock": "Write a lock file with the sha256 of every shard.",
    "synth": "Generate the synthetic data of the smoke profile.",
    "verify": "Verify the downloaded data of a record.",
}


@click.group("data", cls=LazyGroup, package=__name__, summaries=SUMMARIES)
def command() -> None:
    """Download, verify and lock the training data.

    \b
    Examples:
      speedrun data fetch --record 11
      speedrun data verify --record 11
      speedrun data synth
    """
