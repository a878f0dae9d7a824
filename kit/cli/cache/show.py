"""`speedrun cache show`: show what the store holds."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import click

from kit.cli.cache.contents import entry_document, format_day, format_time, upstream_files, use_document
from kit.cli.options import store_option
from kit.cli.terminal import emit_json, megabytes, note, say, table
from kit.core.store import Store
from kit.core.store_use import current_uses
from kit.core.text import one_line
from kit.diagnose.cache.image_removal import describe_uses
from kit.diagnose.cache.inventory import CacheInventory, CacheKind, is_store, take_inventory
from kit.diagnose.cache.removal import disk_bytes

WHAT = {
    CacheKind.DOWNLOADS: "wheels and Debian packages",
    CacheKind.IMAGES: "built images and their layers",
    CacheKind.LAYERS: "unpacked layers and root file systems, for runc; compiled Python files",
    CacheKind.DATA: "training data: FineWeb and synthetic",
    CacheKind.CANARY: "texts for the canary audit",
    CacheKind.COMPILED: "what the compilers made of records' scripts, for warm runs",
    CacheKind.SCRIPTS: "scripts of the records",
    CacheKind.TEMPORARY: "incomplete downloads and directories",
    CacheKind.OTHER: "other files; never removed",
}


@click.command("show")
@store_option
@click.option("--json", "as_json", is_flag=True, help="Print every entry as JSON.")
def command(store: Path, as_json: bool) -> None:
    """Show what the store holds, by kind.

    SIZE is disk space; a file with several links counts once, for the first kind. LAST USED is the newest
    entry's: the start of a run, or what the disk knows of the last access. IN USE counts the entries that a
    running command may need.

    \b
    Examples:
      speedrun cache show
      speedrun cache show --json
    """
    here = Store(store)
    found = take_inventory(here, current_uses(here), upstream_files())
    counted: set[tuple[int, int]] = set()
    sizes = {kind: disk_bytes(found.of_kind(kind), counted) for kind in CacheKind}
    if as_json:
        emit_json(_document(found, sizes))
        return
    if is_store(here):
        rows = [_row(found, kind, size) for kind, size in sizes.items() if found.of_kind(kind)]
        say(*table(("kind", "entries", "size", "last used", "in use", "contents"), rows))
        free = shutil.disk_usage(store).free
        total = megabytes(sum(sizes.values()))
        note(f"{total} in {one_line(str(store))}, {megabytes(free)} free on its disk")
    else:
        note(f"the store is empty: {one_line(str(store))}")
    if found.uses:
        note(f"in use by {describe_uses(found.uses)}")


def _row(found: CacheInventory, kind: CacheKind, size: int) -> tuple[str, ...]:
    entries = found.of_kind(kind)
    newest = max(entry.last_used for entry in entries)
    busy = sum(entry.in_use for entry in entries)
    return kind.value, str(len(entries)), megabytes(size), format_day(newest), str(busy or "-"), WHAT[kind]


def _document(found: CacheInventory, sizes: dict[CacheKind, int]) -> dict[str, Any]:
    return {
        "store": str(found.root),
        "bytes": sum(sizes.values()),
        "kinds": {
            kind.value: {
                "entries": len(entries),
                "bytes": sizes[kind],
                "last_used": format_time(max(entry.last_used for entry in entries)) if entries else None,
                "in_use": sum(entry.in_use for entry in entries),
            }
            for kind in CacheKind
            for entries in (found.of_kind(kind),)
        },
        "entries": [entry_document(entry) for entry in found.entries],
        "uses": [use_document(use) for use in found.uses],
    }
