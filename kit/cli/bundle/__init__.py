"""`speedrun bundle`: verify signed results and read them. Takes no part in making them."""

from __future__ import annotations

import click

from kit.cli.lazy import LazyGroup

SUMMARIES = {
    "schema": "Print a JSON Schema (2020-12); by default that of a bundle's payload.",
    "show": "Verify a bundle, then print how far it can be trusted and what it says.",
    "verify": "Verify bundles, given as files or as run folders; offline.",
}


@click.group("bundle", cls=LazyGroup, package=__name__, summaries=SUMMARIES)
def command() -> None:
    """Verify signed results and read them.

    \b
    Examples:
      speedrun bundle verify runs/<run_id>
      speedrun bundle show runs/<run_id>/result.json
    """
