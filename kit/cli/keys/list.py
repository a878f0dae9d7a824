"""`speedrun keys list`: list the trusted keys."""

from __future__ import annotations

from pathlib import Path

import click

from kit.cli.options import keys_option
from kit.cli.terminal import emit_json, note, printable
from kit.result.keys import OWN, entries


@click.command("list")
@keys_option
@click.option("--json", "as_json", is_flag=True, help="Keys as JSON on stdout.")
def command(keys: Path, as_json: bool) -> None:
    """List the trusted keys, the own one included.

    \b
    Examples:
      speedrun keys list
      speedrun keys list --json
    """
    trusted_keys = [(path, key, path.name == OWN) for path, key in entries(keys)]
    if as_json:
        emit_json({"keys": [{"file": str(p), "key_id": k.key_id, "own": own} for p, k, own in trusted_keys]})
        return
    for path, key, own in trusted_keys:
        click.echo(f"{key.key_id}  {printable(path.stem)}{'  (own)' if own else ''}")
    if not trusted_keys:
        note(f"no keys in {keys}; make one with: speedrun keys generate")
