"""`speedrun keys remove`: stop trusting a key on this machine."""

from __future__ import annotations

from pathlib import Path

import click

from kit.cli.confirm import confirm, yes_option
from kit.cli.keys.list import revocation_mark
from kit.cli.options import keys_option
from kit.cli.terminal import note, say_path, warn
from kit.core.errors import KitError, UsageError
from kit.result.key_removal import KeyRemoval, plan_removal, remove_keys
from kit.result.keys import OWN, trusted


@click.command("remove")
@click.argument("key", metavar="NAME|KEY_ID")
@click.option("--signing-key-too", is_flag=True, help="Allow removing your signing key. It cannot be undone.")
@yes_option("your signing key is removed")
@keys_option
def command(key: str, signing_key_too: bool, yes: bool, keys: Path) -> int:
    """Remove a key from the keys that you trust.

    NAME is the name in `speedrun keys list`. A key id, or at least 8 digits of it, removes every file with
    that key. Results signed by the key are then no longer trusted here; results that you already have stay as
    they are. Prints the removed files.

    Other keys than your signing key are removed without a question: `speedrun keys trust` undoes it.

    To tell others that a key was stolen, use `speedrun keys revoke`.

    Exit 1: not removed, because the answer was no.

    \b
    Examples:
      speedrun keys remove them
      speedrun keys remove them.pem --keys keys/
    """
    removal = plan_removal(keys, key)
    if removal.signing_key:
        if not signing_key_too:
            raise UsageError(
                f"{keys / OWN} is your signing key; it was not removed",
                "to stop its use: speedrun keys revoke; to delete it for good: add --signing-key-too",
            )
        warn("without this key you cannot sign as before, and interrupted runs of it cannot be closed")
        if not confirm(f"Delete {keys / OWN} for good?", yes):
            note("nothing was removed")
            return 1
    remove_keys(removal)
    for file in removal.files:
        note(f"removed {file.key_id or 'an invalid key'} ({file.path.name})")
        say_path(file.path)
    _explain(removal, keys)
    return 0


def _explain(removal: KeyRemoval, keys: Path) -> None:
    """Say what the removal means for results."""
    ids = sorted({file.key_id for file in removal.files if file.key_id is not None})
    for key_id in ids:
        same = [file for file in removal.staying if file.key_id == key_id]
        try:
            revocation = trusted(keys).revocation(key_id)
        except KitError as e:
            warn(e.message)
            revocation = None
        if revocation is not None:
            note(f"still revoked{revocation_mark(revocation)}")
        elif same:
            names = ", ".join(file.path.name for file in same)
            yours = " (your signing key)" if any(file.own for file in same) else ""
            warn(f"the key is still trusted: {names}{yours} has it, too")
        else:
            note(
                "results signed by this key are no longer trusted here: bundle verify exits with 1",
                "to trust it again: speedrun keys trust FILE",
            )
