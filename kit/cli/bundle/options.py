"""Options that the commands of `speedrun bundle` share."""

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
    help="Trust this public key (PEM) instead of those in --keys; revoked keys stay revoked. Repeatable.",
)


bundle_only_option = click.option(
    "--bundle-only",
    is_flag=True,
    help="Do not check the files beside the bundle (step 6, and the log in step 7).",
)


def trusted_keys(keys: Path, key_files: tuple[Path, ...]) -> Trusted:
    """Return the keys in `key_files` or, if there are none, in `keys`; revocations in `keys` always count."""
    if not key_files:
        return trusted(keys)
    revoked = trusted(keys).revoked if (keys / FILE).exists() else ()
    return Trusted(tuple(read_public(path) for path in key_files), revoked)
