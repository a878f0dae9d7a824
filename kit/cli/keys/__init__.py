"""`speedrun keys`: make the own signing key, show it, and say whose results to trust."""

from __future__ import annotations

import click

from kit.cli.lazy import LazyGroup

SUMMARIES = {
    "generate": "Make the own key; `speedrun eval` does this by itself on first use.",
    "list": "List the trusted keys, the own one included, and those that were revoked.",
    "revoke": "Revoke a key: add it to the list revoked.json of the key folder, which the own key signs.",
    "show": "Print the own public key as PEM, for those who are to trust it.",
    "trust": "Trust the public key in the file PEM from now on.",
}


@click.group("keys", cls=LazyGroup, package=__name__, summaries=SUMMARIES)
def command() -> None:
    """Make a signing key and choose whose results to trust.

    \b
    Examples:
      speedrun keys show > my-key.pem
      speedrun keys trust their-key.pem --name them
    """
