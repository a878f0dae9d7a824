"""`speedrun cache remove`: remove a compile cache from the store."""

from __future__ import annotations

from pathlib import Path

import click

from kit.cli.cache.compiled import compile_cache_document, describe_compile_cache
from kit.cli.options import store_option
from kit.cli.terminal import emit_json, note
from kit.core.store import Store
from kit.diagnose.cache.compile_cache_removal import remove_compile_cache


@click.command("remove")
@click.argument("sha256")
@store_option
@click.option("--json", "as_json", is_flag=True, help="Print what was removed as JSON.")
def command(sha256: str, store: Path, as_json: bool) -> None:
    """Remove a compile cache from the store.

    SHA256 is the digest of its manifest, or the beginning of it, as `speedrun cache list` shows it.

    Exit 3: there is no such cache. 5: a command is using the store, and nothing was removed.

    \b
    Examples:
      speedrun cache remove 1f2e3d4c5b6a
    """
    cache = remove_compile_cache(Store(store), sha256)
    note(f"removed: {describe_compile_cache(cache)}")
    if as_json:
        emit_json({"removed": compile_cache_document(cache)})
