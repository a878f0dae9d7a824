"""`speedrun image lock`: write lock.json, or check that it is not stale."""

from __future__ import annotations

from pathlib import Path

import click

from kit.cli.image.options import json_option
from kit.cli.options import mirror_option, store_option
from kit.cli.terminal import Meter, emit_json, megabytes, note
from kit.core.facts import facts_root
from kit.core.store import Store
from kit.core.text import counted
from kit.image.digest import read_identity
from kit.image.fetch import default_fetchers
from kit.image.lock import lock_path, read_lock, write_lock
from kit.image.resolve import resolve
from kit.image.spec import read_spec


@click.command("lock")
@click.argument("era")
@click.option("--check", is_flag=True, help="Check whether lock.json is out of date, without the network.")
@store_option
@mirror_option
@json_option
def command(era: str, check: bool, store: Path, mirror: Path | None, as_json: bool) -> None:
    """Resolve an image's packages and write lock.json.

    Reads images/ERA/image.toml. Every file is pinned by sha256; no registry address is written.

    \b
    Examples:
      speedrun image lock cpu --check
      speedrun image lock cpu
    """
    spec = read_spec(facts_root() / "images", era)
    if check:
        locked = read_lock(spec)
        read_identity(spec, locked)
        note(f"{lock_path(spec)} and digest are up to date with {spec.source.name}")
    else:
        resolved = resolve(spec, Store(store), default_fetchers(mirror), Meter())
        locked = write_lock(spec, resolved.debs, resolved.wheels)
        note(f"wrote {lock_path(spec)}: {counted(len(locked.artifacts), 'file')}, {megabytes(locked.size)}")
    if as_json:
        emit_json({"era": era, "sha256": locked.sha256, "files": len(locked.artifacts), "bytes": locked.size})
