"""`speedrun bundle`: verify and show signed results."""

from __future__ import annotations

import click

from kit.cli.lazy import LazyGroup

SUMMARIES = {
    "schema": "Print the JSON Schema of a signed document.",
    "show": "Verify a bundle and print its trust tier and contents.",
    "verify": "Verify the signature and files of bundles and capsules; offline.",
}


@click.group("bundle", cls=LazyGroup, package=__name__, summaries=SUMMARIES)
def command() -> None:
    """Verify and show signed results.

    A bundle is the signed result of a run, the file result.json in its directory.

    \b
    Examples:
      speedrun bundle verify runs/<run_id>
      speedrun bundle show runs/<run_id>/result.json
    """
