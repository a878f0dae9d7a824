"""`speedrun keys`: manage your signing key and the keys you trust."""

from __future__ import annotations

import click

from kit.cli.lazy import LazyGroup

SUMMARIES = {
    "generate": "Create your signing key.",
    "list": "List trusted and revoked keys.",
    "remove": "Remove a key from the keys that you trust.",
    "revoke": "Revoke a key: no result signed by it is trusted.",
    "show": "Print your public key as PEM.",
    "trust": "Trust the public key in a PEM file.",
}


@click.group("keys", cls=LazyGroup, package=__name__, summaries=SUMMARIES)
def command() -> None:
    """Manage your signing key and the keys you trust.

    \b
    Examples:
      speedrun keys show > my-key.pem
      speedrun keys trust their-key.pem --name them
    """
