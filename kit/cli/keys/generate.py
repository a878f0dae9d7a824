"""`speedrun keys generate`: create your signing key."""

from __future__ import annotations

from pathlib import Path

import click

from kit.cli.options import keys_option
from kit.cli.terminal import note, say
from kit.result.keys import OWN, load_or_create


@click.command("generate")
@keys_option
def command(keys: Path) -> None:
    """Create your signing key.

    `speedrun eval` creates one on first use. An existing key is kept. Prints the key id.

    \b
    Examples:
      speedrun keys generate
      speedrun keys generate --keys ./keys
    """
    existed = (keys / OWN).exists()
    signer = load_or_create(keys)
    note(f"{'key exists' if existed else 'created key'}: {keys / OWN}")
    say(signer.key_id)
