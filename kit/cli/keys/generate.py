"""`speedrun keys generate`: make the own key."""

from __future__ import annotations

from pathlib import Path

import click

from kit.cli.options import keys_option
from kit.cli.terminal import note, say
from kit.result.keys import OWN, load_or_create


@click.command("generate")
@keys_option
def command(keys: Path) -> None:
    """Make the own key; `speedrun eval` does this by itself on first use. An existing key stays.

    \b
    Examples:
      speedrun keys generate
      speedrun keys generate --keys ./keys
    """
    existed = (keys / OWN).exists()
    signer = load_or_create(keys)
    note(f"{'there is a key already' if existed else 'made a key'}: {keys / OWN}")
    say(signer.key_id)
