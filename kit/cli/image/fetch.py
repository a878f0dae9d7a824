"""`speedrun image fetch`: download the files of an image."""

from __future__ import annotations

from pathlib import Path

import click

from kit.cli.image.options import json_option
from kit.cli.options import mirror_option, store_option
from kit.cli.terminal import Meter, emit_json, megabytes, note
from kit.core.facts import facts_root
from kit.core.store import Store
from kit.core.store_use import using
from kit.core.text import counted
from kit.image import acquire
from kit.image.fetch import default_fetchers
from kit.image.lock import read_lock
from kit.image.spec import read_spec


@click.command("fetch")
@click.argument("era")
@store_option
@mirror_option
@json_option
def command(era: str, store: Path, mirror: Path | None, as_json: bool) -> None:
    """Download the files of an image into the store.

    These are the packages in images/ERA/lock.json. An interrupted download is resumed.

    \b
    Examples:
      speedrun image fetch cpu
      speedrun image fetch torch-2.6.0 --mirror /mnt/wheels
    """
    lock = read_lock(read_spec(facts_root() / "images", era))
    with using(Store(store)):
        fetched = acquire.fetch(lock, Store(store), default_fetchers(mirror), Meter())
    note(f"{era}: {counted(len(lock.artifacts), 'file')} in {store}, {megabytes(fetched)} downloaded")
    if as_json:
        emit_json({"era": era, "files": len(lock.artifacts), "bytes": lock.size, "fetched_bytes": fetched})
