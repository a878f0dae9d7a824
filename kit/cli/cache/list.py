"""`speedrun cache list`: list the compile caches in the store."""

from __future__ import annotations

from pathlib import Path

import click

from kit.cli.cache.compiled import compile_cache_document
from kit.cli.options import store_option
from kit.cli.terminal import emit_json, megabytes, note, say, table
from kit.core.store import Store
from kit.core.text import one_line
from kit.evaluate.compile_cache import SealedCache, all_caches


@click.command("list")
@store_option
@click.option("--json", "as_json", is_flag=True, help="Print the caches as JSON.")
def command(store: Path, as_json: bool) -> None:
    """List the compile caches in the store.

    The files are not compared with their sha256 here: every warm run does that before it starts.

    \b
    Examples:
      speedrun cache list
      speedrun cache list --json
    """
    caches = all_caches(Store(store))
    if as_json:
        emit_json({"caches": [compile_cache_document(cache) for cache in caches]})
    elif caches:
        heads = ("sha256", "record", "profile", "image", "hardware", "ranks", "size", "made at")
        say(*table(heads, [_row(cache) for cache in caches]))
    else:
        note(f"no compile caches in {one_line(str(store))}")


def _row(cache: SealedCache) -> tuple[str, ...]:
    manifest = cache.manifest
    return (
        cache.digest[:12],
        one_line(manifest.record),
        manifest.profile.value,
        one_line(manifest.era),
        one_line(manifest.key.hardware_text),
        str(manifest.key.world_size),
        megabytes(cache.size),
        one_line(manifest.made_at),
    )
