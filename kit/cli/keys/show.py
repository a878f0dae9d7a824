"""`speedrun keys show`: print your public key."""

from __future__ import annotations

from pathlib import Path

import click

from kit.cli.options import keys_option
from kit.cli.terminal import note, say_document
from kit.result.keys import load


@click.command("show")
@keys_option
def command(keys: Path) -> None:
    """Print your public key as PEM.

    Give it to the people who should trust your results.

    \b
    Examples:
      speedrun keys show
      speedrun keys show | openssl pkey -pubin -outform DER | sha256sum
    """
    public = load(keys).public
    note(f"key id {public.key_id}")
    say_document(public.pem.decode("ascii"))
