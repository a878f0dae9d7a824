"""`speedrun image fetch`: bring every file of an era's lock into the store."""

from __future__ import annotations

from pathlib import Path

import click

from kit.cli.image.options import json_option
from kit.cli.options import mirror_option, store_option
from kit.cli.terminal import Meter, emit_json, megabytes, note
from kit.core.facts import facts_root
from kit.core.store import Store
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
    """Bring every file of an era's lock into the store; resumes what broke off.

    \b
    Examples:
      speedrun image fetch cpu
      speedrun image fetch torch-2.6.0 --mirror /mnt/wheels
    """
    lock = read_lock(read_spec(facts_root() / "images", era))
    fetched = acquire.fetch(lock, Store(store), default_fetchers(mirror), Meter())
    note(f"{era}: {len(lock.artifacts)} files are in {store}, {megabytes(fetched)} of them new")
    if as_json:
        emit_json({"era": era, "files": len(lock.artifacts), "bytes": lock.size, "fetched_bytes": fetched})
