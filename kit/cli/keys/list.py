"""`speedrun keys list`: list trusted and revoked keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from kit.cli.options import keys_option
from kit.cli.terminal import emit_json, note, say
from kit.core.codec import encode
from kit.core.text import in_shell
from kit.result.keys import OWN, entries, trusted
from kit.result.revocations import Revocation


@click.command("list")
@keys_option
@click.option("--json", "as_json", is_flag=True, help="Print the keys as JSON.")
def command(keys: Path, as_json: bool) -> None:
    """List trusted and revoked keys.

    Your own key is trusted, too.

    \b
    Examples:
      speedrun keys list
      speedrun keys list --json
    """
    known = trusted(keys)
    files = [(path, key.key_id, path.name == OWN) for path, key in entries(keys)]
    here = {key_id for _, key_id, _ in files}
    others = [entry for entry in known.revoked if entry.key_id not in here]
    if as_json:
        listed = [
            {"file": str(p), "key_id": k, "own": own, "revoked": _document(known.revocation(k))}
            for p, k, own in files
        ]
        emit_json({"keys": listed, "revoked": [_document(entry) for entry in known.revoked]})
        return
    for path, key_id, own in files:
        say(
            f"{key_id}  {path.stem}{'  (your key)' if own else ''}{revocation_mark(known.revocation(key_id))}"
        )
    for entry in others:
        say(f"{entry.key_id}  (no file){revocation_mark(entry)}")
    if not files and not others:
        note(f"no keys in {keys}", f"hint: speedrun keys generate --keys {in_shell(keys)}")


def revocation_mark(revocation: Revocation | None) -> str:
    """Return what follows a key id in a list: nothing, or that the key is revoked and why."""
    return f"  REVOKED: {revocation.describe()}" if revocation else ""


def _document(revocation: Revocation | None) -> Any:
    return encode(Revocation, revocation)
