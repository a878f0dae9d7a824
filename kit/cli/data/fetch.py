"""`speedrun data fetch`: bring the shards of a record into the store."""

from __future__ import annotations

from pathlib import Path

import click

from kit.cli.data.shards import document, endpoint_option, json_option, origin_line, record_option, shards_of
from kit.cli.options import store_option
from kit.cli.terminal import Meter, emit_json, note, say_path
from kit.core.store import Store
from kit.data.fetch import fetch


@click.command("fetch")
@record_option
@click.option(
    "--mirror",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of shards that are here already, asked before the Hub.",
)
@endpoint_option
@store_option
@json_option
def command(record: int, mirror: Path | None, endpoint: str | None, store: Path, as_json: bool) -> None:
    """Bring the shards of a record into the store, and print the folder that holds them.

    A broken transfer is resumed. Every shard is compared with the sha256 in records/fineweb10B.lock.json; as
    long as there is no such lock, with what the Hub states (or with the files of --mirror), and then full
    runs say `data: unpinned`.

    \b
    Examples:
      speedrun data fetch --record 11
      speedrun data fetch --record 1 --mirror /data/fineweb10B
    """
    dataset, names = shards_of(record)
    shards = fetch(dataset, names, Store(store), mirror=mirror, endpoint=endpoint, progress=Meter())
    note(origin_line(shards))
    if as_json:
        emit_json({"record": record, **document(shards)})
    else:
        say_path(shards.folder)
