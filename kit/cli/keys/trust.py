"""`speedrun keys trust`: trust a public key."""

from __future__ import annotations

from pathlib import Path

import click

from kit.cli.options import keys_option
from kit.cli.terminal import note, say
from kit.result.keys import read_public, trusted
from kit.result.keys import trust as trust_key


@click.command("trust")
@click.argument("pem", type=click.Path(path_type=Path))
@click.option("--name", default=None, help="Name of the key.  [default: the file's name]")
@keys_option
def command(pem: Path, name: str | None, keys: Path) -> None:
    """Trust the public key in a PEM file.

    First compare its key id with the owner, over a channel that you trust.

    \b
    Examples:
      speedrun keys trust their-key.pem
      speedrun keys trust runs/<run_id>/signer.pem --name them
    """
    path = trust_key(keys, pem, name if name is not None else pem.stem)
    key_id = read_public(path).key_id
    revoked = trusted(keys).revocation(key_id)
    note(
        f"warning: still not trusted: the key is revoked ({revoked.describe()})"
        if revoked
        else f"trusted as {path}"
    )
    say(key_id)
