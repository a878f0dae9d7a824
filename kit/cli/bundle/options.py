"""What the commands of `speedrun bundle` share: whose keys, and which files."""

from __future__ import annotations

from pathlib import Path

import click

from kit.result.keys import Trusted, read_public, trusted
from kit.result.revocations import FILE

key_option = click.option(
    "--key",
    "key_files",
    type=click.Path(dir_okay=False, path_type=Path),
    multiple=True,
    help="Trust this PEM public key, and none of the key folder, unless it is revoked there. Repeatable.",
)


bundle_only_option = click.option(
    "--bundle-only",
    is_flag=True,
    help="Leave out the files beside the bundle (step 6, and the log in step 7).",
)


def trusted_keys(keys: Path, key_files: tuple[Path, ...]) -> Trusted:
    """Return the keys of the files if there are any, else those of the folder; its revoked keys count."""
    if not key_files:
        return trusted(keys)
    revoked = trusted(keys).revoked if (keys / FILE).exists() else ()
    return Trusted(tuple(read_public(path) for path in key_files), revoked)
