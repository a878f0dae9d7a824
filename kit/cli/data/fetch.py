"""`speedrun data fetch`: download the data of a record."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from kit.cli.data.shards import (
    document,
    endpoint_option,
    held_out_shards_of,
    json_option,
    origin_line,
    record_option,
    shards_of,
)
from kit.cli.options import store_option
from kit.cli.terminal import Meter, emit_json, note, say_path
from kit.core.store import Store
from kit.core.store_use import using
from kit.data.fetch import fetch


@click.command("fetch")
@record_option
@click.option(
    "--mirror",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Directory with some or all of the shards; the others come from the Hub.",
)
@click.option("--held-out", is_flag=True, help="Also download the shards for --audit held-out.")
@endpoint_option
@store_option
@json_option
def command(
    record: int | str, mirror: Path | None, held_out: bool, endpoint: str | None, store: Path, as_json: bool
) -> None:
    """Download the data of a record into the store.

    Prints the directory of the shards. An interrupted download is resumed. Each shard is checked against the
    sha256 in records/fineweb10B.lock.json. Without this lock file, it is checked against the Hub or --mirror,
    and full runs report `data: unpinned`.

    \b
    Examples:
      speedrun data fetch --record 11
      speedrun data fetch --record 11 --held-out
      speedrun data fetch --record 1 --mirror /data/fineweb10B
    """
    dataset, names = shards_of(record)
    bring = partial(fetch, dataset, mirror=mirror, endpoint=endpoint, progress=Meter())
    with using(Store(store)):
        shards = bring(names, Store(store))
        note(origin_line(shards))
        others = bring(held_out_shards_of(record), Store(store)) if held_out else None
    if others is not None:
        note(f"held-out {origin_line(others)}")
    if as_json:
        more = {"held_out": document(others)} if others is not None else {}
        emit_json({"record": record, **document(shards), **more})
    else:
        say_path(shards.folder)
